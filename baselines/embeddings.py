"""Sentence embeddings as classifiers: the nearest label text without training, and trained heads on top.

Heads' settings and the strengths to choose from come from cross-validation on the train rows of homeowner, banking77
and HINT3 sofmattress. A warm start from one strength to the next saves nothing: the solver takes the last solution for
good enough and stays there.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.svm import LinearSVC

from baselines.base import Rows, TextClassifier
from baselines.soft import SoftRows, soft_cost, texts_of_both, weighted
from labelwright.data.task import Task, normalise
from labelwright.errors import DataError, RecipeError
from labelwright.predictors.embeddings import EmbeddingHead, NearestLabel, head_probabilities
from labelwright.predictors.encoders.sentence_encoder import DEFAULT, open_encoder
from labelwright.statistics.calibration import group_folds

logger = logging.getLogger(__name__)

Head = Literal["logreg", "svm", "mlp", "knn", "kernel"]
# The encoder was trained with cosines multiplied by 20 before the softmax (its model card), so 1/20 is its own scale.
TEMPERATURE = 0.05
# Tried for each head, from weak to strong; the middle one where there are too few rows to choose.
STRENGTHS: Mapping[str, tuple[float, ...]] = {
    "logreg": (3.0, 10.0, 30.0, 100.0),  # C
    "svm": (0.1, 1.0, 10.0),  # C
    "mlp": (1e-1, 1e-2, 1e-4),  # alpha
    "knn": (15, 7, 3, 1),  # n_neighbors
    "kernel": (3.0, 10.0, 30.0),  # 1 / alpha
}
# Of the radial kernel exp(-gamma d^2), from wide to narrow; unit vectors lie at most 2 apart.
WIDTHS = (0.5, 1.0, 2.0)
# The kernel of more rows is not made: of 10,000 it is 400 MB, and is solved in the time of four MLPs.
MOST_KERNEL_ROWS = 10_000
# What a right label's score of 1 is as a logit, before calibration, which finds its own.
_KERNEL_LOGIT = 10.0
# Made of the embedded encoder, so that it is there without a hub; "model2vec:minishlab/potion-base-8M" is another.
STATIC_MODEL = f"model2vec:{DEFAULT}"
N_FOLDS = 3
# Of the soft rows one in so many says which strength is nearest to the teacher.
N_SOFT_FOLDS = 5
# Held-out rows after which no further fold is: what tells one strength from another is then larger than the noise.
ENOUGH_ROWS = 2000


class EmbeddingClassifier(TextClassifier):
    """A head on sentence embeddings, its strength and, of a kernel, width chosen by grouped cross-validation.

    Chosen by log loss where the head has probabilities worth the name ("logreg", "mlp"), else by accuracy. Of many
    rows only some folds are held out, see ``ENOUGH_ROWS``. Where there are soft rows, the strength is the one that
    comes nearest to the teacher on a fifth of them that it was not fitted on. Nearest neighbours and kernels take no
    weights.

    Parameters
    ----------
    head : {"logreg", "svm", "mlp", "knn", "kernel"}
        Multinomial logistic regression; linear support vector machine, one against the rest; one hidden layer of 128;
        nearest neighbours by cosine, weighted by distance; ridge regression on the labels with a radial kernel (a least
        squares support vector machine, Suykens and Vandewalle 1999), of ``MOST_KERNEL_ROWS`` rows at most.
    encoder : str
        "minilm", or as in ``labelwright.predictors.encoders.sentence_encoder.open_encoder``.
    strengths : sequence of float, optional
        To choose from: C, C, alpha, n_neighbors, 1 / alpha; ``STRENGTHS`` by default.
    widths : sequence of float, optional
        Of the kernel, to choose from: gamma; ``WIDTHS`` by default. Other heads have none.

    Attributes
    ----------
    strength_ : float
        The one chosen.
    width_ : float
        Likewise, of a kernel: the width first, at the middle one of the strengths.
    """

    learns_soft = True

    def __init__(
        self,
        head: Head = "logreg",
        encoder: str = DEFAULT,
        strengths: Sequence[float] | None = None,
        widths: Sequence[float] | None = None,
        labels: Sequence[Any] | None = None,
        random_state: int = 0,
    ) -> None:
        self.head = head
        self.encoder = encoder
        self.strengths = strengths
        self.widths = widths
        self.labels = labels
        self.random_state = random_state

    def _train(self, rows: Rows) -> EmbeddingHead:
        if self.head not in STRENGTHS:
            raise RecipeError(f"head = {self.head!r}: expected one of {', '.join(STRENGTHS)}")
        if self.strengths is not None and not (len(self.strengths) and all(one > 0 for one in self.strengths)):
            raise RecipeError(f"strengths = {self.strengths!r}: expected numbers above 0, one at least")
        if self.widths is not None and not (len(self.widths) and all(one > 0 for one in self.widths)):
            raise RecipeError(f"widths = {self.widths!r}: expected numbers above 0, one at least")
        if self.widths is not None and self.head != "kernel":
            raise RecipeError(f'widths are of head = "kernel", and this is {self.head!r}: leave them out')
        if rows.soft is not None and self.head in ("knn", "kernel"):
            raise RecipeError(f"head = {self.head!r} cannot learn from probabilities: expected logreg, svm or mlp")
        texts = texts_of_both(rows.texts, rows.soft)
        vectors = open_encoder(self.encoder).embed(texts, remember=True, long_texts=rows.long_texts)
        if rows.soft is not None and len(rows.soft.texts):
            return self._of_soft(vectors, rows, rows.soft)
        strengths = tuple(self.strengths or STRENGTHS[self.head])
        if self.head == "kernel":
            middle = strengths[len(strengths) // 2]
            self.width_ = self._choose(tuple(self.widths or WIDTHS), vectors, rows, partial(self._kernel, middle))
        self.strength_ = self._choose(strengths, vectors, rows, self._fitted_head)
        return EmbeddingHead(self.encoder, self._fitted_head(self.strength_, vectors, rows.gold))

    def _of_soft(self, vectors: NDArray[np.float32], rows: Rows, soft: SoftRows) -> EmbeddingHead:
        """The head that learnt labelled and soft rows; ``vectors`` are of both, in that order."""
        strengths = tuple(self.strengths or STRENGTHS[self.head])
        gold, n_labelled, probs = rows.gold, len(rows.gold), soft.probs
        # Where students learn the labelled rows' own texts, rows of a group would stand on both sides of the choice.
        groups = rows.texts if rows.groups is None else [str(one) for one in rows.groups]
        group_of = {normalise(text): group for text, group in zip(rows.texts, groups, strict=True)}
        soft_groups = [group_of.get(normalise(text), text) for text in soft.texts]
        held_groups = set(list(dict.fromkeys(soft_groups))[N_SOFT_FOLDS - 1 :: N_SOFT_FOLDS])
        held = np.array([group in held_groups for group in soft_groups], dtype=bool)
        apart = np.array([group not in held_groups for group in groups], dtype=bool)

        def fitted(strength: float, labelled: NDArray[np.bool_], kept: NDArray[np.bool_]) -> Any:
            row, labels, weight = weighted(gold[labelled], probs[kept])
            inside = np.concatenate([labelled, kept])
            return self._fitted_head(strength, vectors[inside][row], labels, weight)

        self.strength_ = strengths[len(strengths) // 2]
        has_all = len(np.unique(weighted(gold[apart], probs[~held]).gold)) == probs.shape[1]
        if len(strengths) > 1 and held.any() and has_all:
            unseen = vectors[n_labelled:][held]
            heads = (fitted(one, apart, ~held) for one in strengths)
            costs = [soft_cost(head_probabilities(head, unseen), probs[held]) for head in heads]
            self.strength_ = strengths[int(np.argmin(costs))]
            logger.info("%s: strengths %s are %s from the teacher", self.head, strengths, np.round(costs, 4))
        labelled, kept = np.ones(n_labelled, dtype=bool), np.ones(len(probs), dtype=bool)
        return EmbeddingHead(self.encoder, fitted(self.strength_, labelled, kept))

    def _choose(
        self, options: tuple[float, ...], vectors: NDArray[np.float32], rows: Rows, fit: Callable[..., Any]
    ) -> float:
        """Of strengths, or widths, the one whose heads do best on rows that they were not fitted on."""
        fewest = np.bincount(rows.gold).min()
        n_groups = len(rows.texts) if rows.groups is None else len(np.unique(rows.groups))
        if len(options) == 1 or fewest < 2 or n_groups < N_FOLDS:
            return options[len(options) // 2]
        names = None if rows.groups is None else [str(one) for one in rows.groups]
        folds = group_folds(rows.gold, names, N_FOLDS, self.random_state)
        costs, n_held_out = np.zeros(len(options)), 0
        for fold in range(N_FOLDS):
            inside = folds == fold
            if len(np.unique(rows.gold[~inside])) < 2:
                return options[len(options) // 2]
            costs += [self._cost(partial(fit, one), vectors, rows, inside) for one in options]
            n_held_out += int(inside.sum())
            if n_held_out >= ENOUGH_ROWS:
                break
        best = int(np.argmin(costs))
        logger.info(
            "%s: %s cost %s a row, chosen %g",
            self.head,
            options,
            np.round(costs / n_held_out, 4),
            options[best],
        )
        return options[best]

    def _cost(
        self, fit: Callable[..., Any], vectors: NDArray[np.float32], rows: Rows, inside: NDArray[np.bool_]
    ) -> float:
        """Summed over the rows inside, by a head that was fitted on the others: log loss, or errors."""
        head = fit(vectors[~inside], rows.gold[~inside])
        probs = np.zeros((int(inside.sum()), len(rows.classes)))
        # A label of which all rows are inside has no column.
        probs[:, head.classes_] = head_probabilities(head, vectors[inside])
        gold = rows.gold[inside]
        if self.head in ("logreg", "mlp"):
            return -float(np.log(np.clip(probs[np.arange(len(gold)), gold], 1e-6, 1)).sum())
        return float((probs.argmax(axis=1) != gold).sum())

    def _fitted_head(
        self,
        strength: float,
        vectors: NDArray[np.float32],
        gold: NDArray[np.int64],
        weight: NDArray[np.float64] | None = None,
    ) -> Any:
        if self.head == "kernel":
            return self._kernel(strength, self.width_, vectors, gold)
        # Nearest neighbours take none.
        weights = {} if weight is None else {"sample_weight": weight}
        with warnings.catch_warnings():
            # The number of passes is a setting like others, and what it leaves to be gained is not worth the time.
            warnings.simplefilter("ignore", ConvergenceWarning)
            head = self._head(strength, len(gold))
            if weights and self.head == "logreg":
                # Of a row that stands there several times the default solver needs half the time.
                head.set_params(solver="lbfgs")
            head.fit(vectors, gold, **weights)
        # Left over from an MLP's training, and not among the types that skops lets through.
        head.__dict__.pop("_optimizer", None)
        return head

    def _kernel(self, strength: float, width: float, vectors: NDArray[np.float32], gold: NDArray[np.int64]) -> Any:
        """Scikit-learn's regression of every label's column of 0 and 1, as logits; it knows the labels it has seen."""
        if len(gold) > MOST_KERNEL_ROWS:
            chance, first = np.random.default_rng(self.random_state), np.unique(gold, return_index=True)[1]
            others = np.setdiff1d(np.arange(len(gold)), first)
            drawn = chance.choice(others, MOST_KERNEL_ROWS - len(first), replace=False)
            kept = np.sort(np.concatenate([first, drawn]))
            vectors, gold = vectors[kept], gold[kept]
        labels, columns = np.unique(gold, return_inverse=True)
        scores = _KERNEL_LOGIT * np.eye(len(labels), dtype=np.float32)[columns]
        # In float32: half the memory and time, and alpha is far above its rounding.
        head = KernelRidge(alpha=1 / strength, kernel="rbf", gamma=width).fit(vectors, scores)
        # Many large coefficients cancel out: summed in float64, a row's answer does not hang on who is asked with it.
        head.dual_coef_ = head.dual_coef_.astype(np.float64)
        head.classes_ = labels
        return head

    def _head(self, strength: float, n_rows: int) -> Any:
        if self.head == "logreg":
            # Twice as fast here as the default solver, and nearer to the optimum.
            return LogisticRegression(C=strength, solver="newton-cg", max_iter=100, random_state=self.random_state)
        if self.head == "svm":
            return LinearSVC(C=strength, random_state=self.random_state)
        if self.head == "mlp":
            steps: dict[str, Any] = {"learning_rate_init": 5e-3, "max_iter": 50, "tol": 1e-3}
            return MLPClassifier((128,), alpha=strength, **steps, random_state=self.random_state)
        return KNeighborsClassifier(min(int(strength), n_rows), metric="cosine", weights="distance")


class NearestLabelClassifier(TextClassifier):
    """Zero-shot: softmax(cosine(text, label text) / temperature). Takes the labels from ``y``, and nothing else.

    ``y`` must hold the label names themselves: scikit-learn's ``cross_val_predict`` turns them into numbers first.

    Parameters
    ----------
    descriptions : mapping of label to str, optional
        Added to the label's name; names alone are compared without it.
    encoder : str
        As in ``EmbeddingClassifier``.
    temperature : float, above 0
    """

    def __init__(
        self,
        descriptions: Mapping[str, str] | None = None,
        encoder: str = DEFAULT,
        temperature: float = TEMPERATURE,
        labels: Sequence[Any] | None = None,
        random_state: int = 0,
    ) -> None:
        self.descriptions = descriptions
        self.encoder = encoder
        self.temperature = temperature
        self.labels = labels
        self.random_state = random_state

    def _train(self, rows: Rows) -> NearestLabel:
        if self.temperature <= 0:
            raise RecipeError(f"temperature = {self.temperature}: expected a number above 0")
        texts = [self._label_text(str(name)) for name in rows.classes]
        return NearestLabel(self.encoder, open_encoder(self.encoder).embed(texts), self.temperature)

    def _label_text(self, name: str) -> str:
        description = (self.descriptions or {}).get(name, "")
        words = name.replace("_", " ")
        return f"{words}: {description}" if description else words


def minilm_nearest_name(task: Task, seed: int) -> NearestLabelClassifier:
    """Unfitted. Compares with label names alone."""
    return NearestLabelClassifier(random_state=seed)


def minilm_nearest_description(task: Task, seed: int) -> NearestLabelClassifier:
    """Unfitted. Compares with label names and descriptions. Raises DataError where no label has one."""
    descriptions = {label.name: label.description for label in task.labels if label.description}
    if not descriptions:
        raise DataError(
            'no label has a description: write [task] labels as {name = "…", description = "…"}, or leave '
            "minilm-nearest-description out"
        )
    return NearestLabelClassifier(descriptions, random_state=seed)


def minilm_logreg(task: Task, seed: int) -> EmbeddingClassifier:
    """Unfitted."""
    return EmbeddingClassifier("logreg", random_state=seed)


def minilm_svm(task: Task, seed: int) -> EmbeddingClassifier:
    """Unfitted."""
    return EmbeddingClassifier("svm", random_state=seed)


def minilm_mlp(task: Task, seed: int) -> EmbeddingClassifier:
    """Unfitted."""
    return EmbeddingClassifier("mlp", random_state=seed)


def minilm_kernel(task: Task, seed: int) -> EmbeddingClassifier:
    """Unfitted."""
    return EmbeddingClassifier("kernel", random_state=seed)


def static_logreg(task: Task, seed: int) -> EmbeddingClassifier:
    """Unfitted. On a static model, which is made of MiniLM once, see ``STATIC_MODEL``."""
    return EmbeddingClassifier("logreg", STATIC_MODEL, random_state=seed)


def minilm_knn(task: Task, seed: int) -> EmbeddingClassifier:
    """Unfitted."""
    return EmbeddingClassifier("knn", random_state=seed)
