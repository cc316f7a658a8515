"""Several points asked of every row: a classifier of the same family for each, one against the rest for labels.

What is fitted is a ``labelwright.predictors.asked.points.PerPoint``; rows come as the house has them, a text with its
point behind it, and every classifier reads the text alone.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils.validation import check_is_fitted

from baselines.base import TextClassifier
from labelwright.data.asked.classes import classes_of_rows
from labelwright.data.asked.questions import Point, split_put
from labelwright.errors import DataError
from labelwright.files import folder_bytes
from labelwright.predictors.asked.points import PerPoint as Fitted
from labelwright.predictors.encoders.sentence_encoder import one_pass
from labelwright.predictors.prior import Prior
from labelwright.predictors.protocol import Predictor
from labelwright.predictors.store import save_predictor


class PerPoint(ClassifierMixin, BaseEstimator):
    """One classifier a point.

    Parameters
    ----------
    each : TextClassifier
        Not fitted; every point gets a copy.
    points : sequence of Point

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes of all points, in their order.
    predictor_ : labelwright.predictors.asked.points.PerPoint
    n_shortened_ : int
        Texts that were shortened in training, of the point with the most.
    """

    long_rows: str = "head"

    def __init__(self, each: TextClassifier, points: Sequence[Point]) -> None:
        self.each = each
        self.points = points

    def fit(self, X: Sequence[str], y: Sequence[str], *, groups: Any = None, eval_set: Any = None) -> Self:  # noqa: N803
        """Learn each point from the rows that have an answer to it.

        Where all of these have the same answer, that is the answer. Parameters as in ``TextClassifier.fit``.

        Raises
        ------
        DataError
            A point without rows, or a text that asks none of the points.
        """
        parts: list[tuple[Predictor, Sequence[str]]] = []
        shortened = [0]
        of_point, held = self._by_point(X, y, groups), self._by_point(*(eval_set or ((), ())))
        with one_pass():
            self._fit_each(of_point, held, parts, shortened, groups is not None)
        self.predictor_ = Fitted(parts)
        self.classes_ = np.array(self.predictor_.labels)
        self.n_shortened_ = max(shortened)
        return self

    def _fit_each(
        self,
        of_point: Sequence[tuple[list[str], list[str], list[Any]]],
        held: Sequence[tuple[list[str], list[str], list[Any]]],
        parts: list[tuple[Predictor, Sequence[str]]],
        shortened: list[int],
        grouped: bool,
    ) -> None:
        for number, point in enumerate(self.points):
            texts, labels, own = of_point[number]
            if not texts:
                raise DataError(f"no train row has an answer to {point.name!r}: add some, or ask something else")
            if len(set(labels)) == 1:
                shares = np.array([float(one == labels[0]) for one in point.classes])
                parts.append((Prior(shares), point.classes))
                continue
            estimator = clone(self.each)
            estimator.long_rows = self.long_rows
            estimator.fit(texts, labels, groups=own if grouped else None, eval_set=held[number][:2])
            parts.append((estimator.predictor_, list(estimator.classes_)))
            shortened.append(estimator.n_shortened_)

    def predict_proba(self, X: Sequence[str]) -> NDArray[np.float64]:  # noqa: N803
        """(n_texts, n_classes), columns as in ``classes_``; 0 for the classes of points that a text does not ask."""
        check_is_fitted(self, "predictor_")
        classes = [name for point in self.points for name in point.classes]
        asked = classes_of_rows(X, len(classes), False, self.points)
        place = [classes.index(name) for name in self.classes_]
        probs = self.predictor_.probabilities([split_put(text, self.points)[0] for text in X])
        probs = np.where(np.asarray(asked)[:, place], probs, 0.0)
        return np.asarray(probs / probs.sum(axis=1, keepdims=True))

    def predict(self, X: Sequence[str]) -> NDArray[Any]:  # noqa: N803
        """The likeliest class of each text's point, shape (n_texts,)."""
        found: NDArray[Any] = self.classes_[self.predict_proba(X).argmax(axis=1)]
        return found

    def size_bytes(self) -> int:
        """What it needs on disk: the files that ship, and the models they refer to."""
        with tempfile.TemporaryDirectory() as folder:
            save_predictor(self.predictor_, self.classes_, Path(folder))
            return folder_bytes(Path(folder)) + self.predictor_.external_bytes()

    def _by_point(
        self, texts: Sequence[str], labels: Sequence[str], groups: Any = None
    ) -> list[tuple[list[str], list[str], list[Any]]]:
        found: list[tuple[list[str], list[str], list[Any]]] = [([], [], []) for _ in self.points]
        for number, (text, label) in enumerate(zip(texts, labels, strict=True)):
            row, place = split_put(text, self.points)
            own = None if groups is None else groups[number]
            for kept, one in zip(found[place], (row, label, own), strict=True):
                kept.append(one)
        return found
