"""What every candidate without a prompt has in common: scikit-learn's contract over a predictor.

A family's estimator stores its settings and says how to train (``_train``); checking, columns, saving and loading are
here. What is trained is a ``labelwright.predictors.protocol.Predictor``, so that what is measured is what ships.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from baselines.soft import SoftRows, read_soft
from labelwright.data.arrays import encoded_labels, texts_of
from labelwright.errors import BundleError, DataError, RecipeError
from labelwright.files import folder_bytes
from labelwright.predictors.encoders.long_texts import LongTexts
from labelwright.predictors.protocol import Predictor
from labelwright.predictors.store import load_predictor, save_predictor

_FILE = "estimator.json"


@dataclass(frozen=True)
class Rows:
    """Training rows as a family gets them.

    Attributes
    ----------
    texts : list of str
    gold : int64 array (n_rows,)
        Positions in ``classes``.
    classes : ndarray of shape (n_labels,)
        Sorted.
    groups : int64 array (n_rows,), optional
        Rows of one group (paraphrases) belong on one side of any inner split.
    eval_texts, eval_gold
        Rows that choose (early stopping) and do not teach; empty where none were given.
    long_texts : LongTexts
        What happens to texts of more tokens than an encoder reads, and how many there were.
    soft : SoftRows, optional
        More rows to learn from, with a teacher's probabilities in place of a label.
    """

    texts: list[str]
    gold: NDArray[np.int64]
    classes: NDArray[Any]
    groups: NDArray[np.int64] | None = None
    eval_texts: tuple[str, ...] = ()
    eval_gold: NDArray[np.int64] | None = None
    long_texts: LongTexts = field(default_factory=LongTexts)
    soft: SoftRows | None = None


class TextClassifier(ClassifierMixin, BaseEstimator):
    """A scikit-learn classifier over texts.

    Subclasses store their parameters in ``__init__``, ``labels`` and ``random_state`` among them, and implement
    ``_train``. Parameters must be what JSON can hold.

    Attributes
    ----------
    classes_ : ndarray of shape (n_labels,)
        The labels of ``y``, sorted: the columns of ``predict_proba``.
    predictor_ : Predictor
    n_shortened_ : int
        Texts that were shortened in training, for the encoder reads only so many tokens.
    """

    # What happens to texts of more tokens than an encoder reads, as in ``labelwright.engines.settings.EngineSettings``.
    # No parameter: it changes no row that fits, and is said by the recipe for the language model as well.
    long_rows: str = "head"
    # Whether ``_train`` learns from ``Rows.soft``.
    learns_soft: ClassVar[bool] = False
    labels: Sequence[Any] | None
    random_state: int

    def fit(
        self,
        X: Any,  # noqa: N803
        y: Any,
        *,
        groups: Any = None,
        eval_set: tuple[Any, Any] | None = None,
        soft: tuple[Any, Any, Any] | None = None,
    ) -> Self:
        """Learn from labelled texts.

        Parameters
        ----------
        X : sequence of str, of length n_rows
        y : sequence of labels, of length n_rows
            At least two different ones.
        groups : sequence of n_rows, optional
            Rows of one group stay on one side of inner splits; a row whose group is None is alone.
        eval_set : (texts, labels), optional
            Rows for early stopping, where the family does that; those whose label is not in ``y`` are left out.
        soft : (texts, labels, probabilities), optional
            More texts with a teacher's probabilities, (n_texts, n_labels), where the family can learn from those.

        Returns
        -------
        self

        Raises
        ------
        DataError
            Other lengths, fewer than two labels, something that is not text, a label outside ``labels``.
        RecipeError
            A parameter out of range; soft rows for a family that does not learn from them.
        """
        if soft is not None and not self.learns_soft:
            raise RecipeError(f"{type(self).__name__} cannot learn from probabilities: give it rows with labels alone")
        texts = texts_of(X)
        classes, gold = encoded_labels(y, len(texts), self.labels)
        long_texts = LongTexts(self.long_rows)
        eval_rows = _eval_rows(eval_set, classes)
        numbers, taught = _group_numbers(groups, len(texts)), read_soft(soft, classes)
        rows = Rows(texts, gold, classes, numbers, *eval_rows, long_texts, taught)
        self.predictor_: Predictor = self._train(rows)
        self.n_shortened_ = long_texts.n_shortened
        self.classes_ = classes
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float64]:  # noqa: N803
        """Probabilities of shape (n_rows, n_labels), columns as in ``classes_``."""
        check_is_fitted(self, "predictor_")
        texts = texts_of(X)
        return self.predictor_.probabilities(texts) if texts else np.empty((0, len(self.classes_)))

    def predict(self, X: Any) -> NDArray[Any]:  # noqa: N803
        """The most probable label of each text, shape (n_rows,)."""
        best = self.predict_proba(X).argmax(axis=1)
        labels: NDArray[Any] = self.classes_[best]
        return labels

    def save(self, folder: Path | str) -> None:
        """Write the fitted estimator as files, without pickle; ``load`` gives identical probabilities."""
        check_is_fitted(self, "predictor_")
        folder = Path(folder)
        save_predictor(self.predictor_, self.classes_, folder)
        about = {"class": type(self).__name__, "params": self.get_params(deep=False)}
        text = json.dumps(about, ensure_ascii=False, indent=1, default=_plain)
        (folder / _FILE).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path | str) -> Self:
        """Read what ``save`` of the same class wrote; what only training knew is not among it.

        Raises
        ------
        BundleError
            Another class's files, damaged ones, or none.
        """
        path = Path(folder) / _FILE
        if not path.is_file():
            raise BundleError(f"{folder}: no {_FILE}; expected a folder written by {cls.__name__}.save")
        try:
            about = json.loads(path.read_text(encoding="utf-8"))
            written_by, params = about["class"], dict(about["params"])
        except (ValueError, KeyError, TypeError) as error:
            raise BundleError(f"{path}: not as {cls.__name__}.save writes it ({error!r}); save it again") from error
        if written_by != cls.__name__:
            raise BundleError(f"{path}: written by {written_by}, not {cls.__name__}: load it with that")
        unknown = sorted(set(params) - set(cls._get_param_names()))
        if unknown:
            raise BundleError(f"{path}: {cls.__name__} has no parameter {unknown[0]!r}: written by another version")
        estimator = cls(**params)
        estimator.predictor_, labels = load_predictor(Path(folder))
        estimator.classes_ = np.array(labels)
        return estimator

    def size_bytes(self) -> int:
        """What it needs on disk: the files that ship, and the models they refer to."""
        check_is_fitted(self, "predictor_")
        with tempfile.TemporaryDirectory() as folder:
            save_predictor(self.predictor_, self.classes_, Path(folder))
            return folder_bytes(Path(folder)) + self.predictor_.external_bytes()

    def _train(self, rows: Rows) -> Predictor:
        raise NotImplementedError

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        tags.input_tags.one_d_array = True
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "predictor_")


def _plain(value: Any) -> Any:
    """Numpy's numbers and arrays, which parameter searches set, as JSON's."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise BundleError(f"a parameter is a {type(value).__name__}: expected text, numbers, lists or mappings of them")


def _group_numbers(groups: Any, n_rows: int) -> NDArray[np.int64] | None:
    if groups is None:
        return None
    if len(groups) != n_rows:
        raise DataError(f"{len(groups)} groups for {n_rows} rows: expected one a row")
    numbers: dict[Any, int] = {}
    # A row without a group is keyed by an object of its own.
    keys = [object() if group is None else group for group in groups]
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def _eval_rows(
    eval_set: tuple[Any, Any] | None, classes: NDArray[Any]
) -> tuple[tuple[str, ...], NDArray[np.int64] | None]:
    if eval_set is None:
        return (), None
    place = {label: k for k, label in enumerate(classes.tolist())}
    texts, labels = texts_of(eval_set[0]), list(eval_set[1])
    if len(texts) != len(labels):
        raise DataError(f"eval_set has {len(texts)} texts and {len(labels)} labels: expected one label a text")
    kept = [(text, place[label]) for text, label in zip(texts, labels, strict=True) if label in place]
    return tuple(text for text, _ in kept), np.array([k for _, k in kept], dtype=np.int64)
