"""Baselines: what a tuned model must beat. Scikit-learn classifiers over texts, one family a file.

All are ``baselines.base.TextClassifier``: ``fit``, ``predict``, ``predict_proba``, ``classes_`` (sorted), ``save``
and ``load`` without pickle. A new candidate is a factory in its family's file and a line in ``BASELINES``; families are
imported when asked for, so that one whose library is missing is one missing candidate.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from baselines import settings as may_set
from labelwright.data.task import Task
from labelwright.errors import DataError, RecipeError

if TYPE_CHECKING:
    from baselines.asked.points import PerPoint
    from baselines.base import TextClassifier


class Baseline(NamedTuple):
    """Where a candidate's factory lives, and what the candidate is, in a line for reports.

    Attributes
    ----------
    heavy : bool
        It trains a transformer: the comparison takes fewer seeds.
    zero_shot : bool
        It learns nothing from the rows but their labels.
    settings : mapping
        What a recipe may set of it.
    rows : {"labels", "choices", "levels", "tree", "any"}
        Whether it needs labels that all rows share, rows that bring their own choices, or labels with a structure.
    learns_soft : bool
        It can be a student: it learns from a teacher's probabilities as well as from labels.
    """

    module: str
    factory: str
    about: str
    heavy: bool = False
    zero_shot: bool = False
    settings: may_set.Settings = may_set.NONE
    rows: Literal["labels", "choices", "levels", "tree", "any"] = "labels"
    learns_soft: bool = False

    def __call__(self, task: Task, seed: int) -> TextClassifier:
        """An unfitted estimator. Raises LabelwrightError where the task does not allow it."""
        make: Callable[[Task, int], TextClassifier] = getattr(importlib.import_module(self.module), self.factory)
        return make(task, seed)


def _linear(factory: str, about: str) -> Baseline:
    return Baseline("baselines.linear", factory, about, settings=may_set.LINEAR, learns_soft=True)


def _embeddings(factory: str, about: str, zero_shot: bool = False, learns_soft: bool = False) -> Baseline:
    settings = may_set.NEAREST if zero_shot else may_set.EMBEDDINGS
    return Baseline(
        "baselines.embeddings", factory, about, zero_shot=zero_shot, settings=settings, learns_soft=learns_soft
    )


def _finetuned(factory: str, about: str, settings: may_set.Settings = may_set.FINETUNED) -> Baseline:
    return Baseline("baselines.finetuned", factory, about, heavy=True, settings=settings)


def _choices(
    factory: str, about: str, settings: may_set.Settings = may_set.OF_CHOICES, zero_shot: bool = False
) -> Baseline:
    return Baseline("baselines.asked.choices", factory, about, zero_shot=zero_shot, settings=settings, rows="choices")


def _local(factory: str, about: str) -> Baseline:
    return Baseline("baselines.asked.local", factory, about, settings=may_set.LOCAL, rows="tree")


BASELINES: Mapping[str, Baseline] = {
    "majority": Baseline("baselines.majority", "majority", "label shares of train", rows="any"),
    "sgd-ngrams": _linear("sgd_ngrams", "linear, words and pairs of words"),
    "sgd-chars": _linear("sgd_chars", "linear, 2 to 5 characters, hashed"),
    "minilm-nearest-name": _embeddings("minilm_nearest_name", "zero-shot, nearest label name", zero_shot=True),
    "minilm-nearest-description": _embeddings(
        "minilm_nearest_description", "zero-shot, nearest label name and description", zero_shot=True
    ),
    "minilm-logreg": _embeddings("minilm_logreg", "embeddings, logistic regression", learns_soft=True),
    "minilm-svm": _embeddings("minilm_svm", "embeddings, linear support vector machine"),
    "minilm-mlp": _embeddings("minilm_mlp", "embeddings, one hidden layer"),
    "minilm-knn": _embeddings("minilm_knn", "embeddings, nearest neighbours"),
    "minilm-kernel": _embeddings("minilm_kernel", "embeddings, ridge regression with a radial kernel"),
    "static-logreg": _embeddings(
        "static_logreg", "embeddings of words, averaged; logistic regression", learns_soft=True
    ),
    "encoder-ce": _finetuned("encoder_ce", "encoder, all weights, cross-entropy"),
    "encoder-supcon": _finetuned("encoder_supcon", "encoder, supervised contrastive loss"),
    "encoder-mixed": _finetuned("encoder_mixed", "encoder, half of each loss"),
    "encoder-lora": _finetuned("encoder_lora", "encoder, LoRA, cross-entropy"),
    "encoder-pairs": _finetuned("encoder_pairs", "encoder, contrastive pairs as in SetFit", may_set.PAIRS),
    "llm-head": _finetuned("llm_head", "classification head on the LLM, LoRA"),
    "entailment": Baseline(
        "baselines.zero_shot",
        "entailment",
        "zero-shot, natural language inference",
        zero_shot=True,
        settings=may_set.ENTAILMENT,
    ),
    "gliclass": Baseline(
        "baselines.zero_shot", "gliclass", "zero-shot, GLiClass", zero_shot=True, settings=may_set.GLICLASS
    ),
    "minilm-ordinal": Baseline(
        "baselines.asked.ordinal",
        "minilm_ordinal",
        "embeddings, a logistic regression a boundary between levels",
        settings=may_set.ORDINAL,
        rows="levels",
    ),
    "local-ngrams": _local("local_ngrams", "linear, a classifier at each node of the tree"),
    "local-minilm": _local("local_minilm", "embeddings, a logistic regression at each node of the tree"),
    "chance": _choices("chance", "every choice alike", may_set.NONE, zero_shot=True),
    "minilm-nearest-choice": _choices("minilm_nearest_choice", "choice nearest to the question", zero_shot=True),
    "pair-logreg": _choices("pair_logreg", "logistic regression on question and choice"),
}
_STRUCTURES = {"levels": 'levels in order ([task] kind = "score")', "tree": "labels that are paths ([task] tree)"}
# Not recipes' to set.
_GIVEN = ("labels", "separator", "random_state")


def make(name: str, task: Task, seed: int, settings: Mapping[str, Any] | None = None) -> TextClassifier | PerPoint:
    """An unfitted candidate, with its settings changed.

    A candidate to which a label's name means something, a zero-shot one or one of choices, knows the task's labels and
    refuses others.

    Raises
    ------
    DataError
        The candidate cannot do the task.
    RecipeError
        There is no such candidate, it has no such setting, or a setting is of another type or out of range.
    """
    if name not in BASELINES:
        raise RecipeError(f"there is no baseline {name!r}: expected one of {', '.join(BASELINES)}")
    if missing := needs(name, task.max_choices > 0, bool(task.points), task.structure):
        raise DataError(f"{name} needs {missing}: take it off the recipe")
    estimator = BASELINES[name](task, seed)
    known = {key: value for key, value in estimator.get_params(deep=False).items() if key not in _GIVEN}
    for key, value in (settings or {}).items():
        if key not in known:
            raise RecipeError(f"{name} has no setting {key!r}; it has {', '.join(known) or 'none'}")
        _check_type(f"{name}: {key}", value, known[key])
    faults: list[str] = []
    read = may_set.read_settings(name, getattr(BASELINES[name], "settings", {}), settings or {}, faults)
    if faults:
        raise RecipeError(f"{name}: {'; '.join(faults)}")
    # Lists, as the estimator has them again when it is loaded from JSON.
    estimator.set_params(**{key: list(value) if isinstance(value, tuple) else value for key, value in read.items()})
    if BASELINES[name].zero_shot or BASELINES[name].rows in ("choices", "levels", "tree"):
        estimator.set_params(labels=list(task.names))
    if task.points and BASELINES[name].rows != "any":
        # By name, as families are: who knows the list of candidates does not thereby depend on them.
        per_point: Callable[..., PerPoint] = importlib.import_module("baselines.asked.points").PerPoint
        return per_point(estimator, task.points)
    return estimator


def needs(name: str, has_choices: bool, has_points: bool = False, structure: str | None = "") -> str:
    """What a candidate needs of the rows that they have not; empty where it can answer them.

    Parameters
    ----------
    has_choices, has_points : bool
        Whether rows bring their own choices; whether several points are asked of each.
    structure : {"", "levels", "tree"}, optional
        Of the labels, as ``Task.structure``; None where that is not known.
    """
    if has_points and (BASELINES[name].heavy or BASELINES[name].zero_shot):
        return "one label a row, as it trains a transformer or reads labels by their names"
    rows = getattr(BASELINES[name], "rows", "labels")
    if rows in _STRUCTURES and structure is not None:
        return "" if structure == rows else _STRUCTURES[rows]
    if rows == "choices":
        return "" if has_choices else "rows with their own choices"
    return "labels that all rows share" if rows == "labels" and has_choices else ""


def _check_type(what: str, value: Any, default: Any) -> None:
    """A setting is of its default's type; a whole number will do for another, and None says nothing of the type."""
    for kind, name in ((bool, "true or false"), (str, "text"), (int, "a whole number"), (float, "a number")):
        if isinstance(default, kind):
            fits = isinstance(value, (int, float) if kind is float else kind)
            if not fits or (isinstance(value, bool) and kind is not bool):
                raise RecipeError(f"{what} = {value!r}: expected {name}, such as {default!r}")
            return
