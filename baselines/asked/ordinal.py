"""Levels in order: a classifier that knows which level lies between which, on sentence embeddings.

A candidate that takes levels for labels of a list has to learn from each level's own rows alone; here the rows of all
levels below a boundary stand against those of all above it (Frank and Hall 2001).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from baselines.base import Rows, TextClassifier
from baselines.embeddings import N_FOLDS, STRENGTHS
from labelwright.data.task import Task
from labelwright.errors import RecipeError
from labelwright.predictors.asked.ordinal import Ordinal, between
from labelwright.predictors.encoders.sentence_encoder import DEFAULT, open_encoder
from labelwright.statistics.calibration import group_folds


class OrdinalClassifier(TextClassifier):
    """A logistic regression for each boundary between two levels; the levels have what lies between.

    Their common strength is chosen by grouped cross-validation, by log loss.

    Parameters
    ----------
    encoder : str
        "minilm", or as in ``labelwright.predictors.encoders.sentence_encoder.open_encoder``.
    strengths : sequence of float, optional
        C, to choose from; those of ``baselines.embeddings`` by default.
    labels : sequence, optional
        The levels in rising order; without them those of ``y``, sorted. Those that ``y`` has not are left out.

    Attributes
    ----------
    strength_ : float
        The one chosen.
    """

    def __init__(
        self,
        encoder: str = DEFAULT,
        strengths: Sequence[float] | None = None,
        labels: Sequence[Any] | None = None,
        random_state: int = 0,
    ) -> None:
        self.encoder = encoder
        self.strengths = strengths
        self.labels = labels
        self.random_state = random_state

    def _train(self, rows: Rows) -> Ordinal:
        if self.strengths is not None and not (len(self.strengths) and all(one > 0 for one in self.strengths)):
            raise RecipeError(f"strengths = {self.strengths!r}: expected numbers above 0, one at least")
        classes = rows.classes.tolist()
        levels = classes if self.labels is None else [one for one in self.labels if one in classes]
        order = [classes.index(level) for level in levels]
        # From 0 for the lowest level that there is.
        place = np.empty(len(order), dtype=np.int64)
        place[order] = np.arange(len(order))
        gold = place[rows.gold]
        vectors = open_encoder(self.encoder).embed(rows.texts, remember=True, long_texts=rows.long_texts)
        self.strength_ = self._choose(vectors, gold, rows.groups)
        return Ordinal(self.encoder, *self._boundaries(self.strength_, vectors, gold, len(order)), order)

    def _choose(self, vectors: NDArray[np.float32], gold: NDArray[np.int64], groups: NDArray[np.int64] | None) -> float:
        """The strength of least log loss on rows that were not fitted on; the middle one of too few rows."""
        strengths = tuple(self.strengths or STRENGTHS["logreg"])
        middle, n_levels = strengths[len(strengths) // 2], int(gold.max()) + 1
        n_groups = len(gold) if groups is None else len(np.unique(groups))
        if len(strengths) == 1 or np.bincount(gold).min() < 2 or n_groups < N_FOLDS:
            return middle
        folds = group_folds(gold, None if groups is None else list(map(str, groups)), N_FOLDS, self.random_state)
        costs = np.zeros(len(strengths))
        for fold in range(N_FOLDS):
            inside = folds == fold
            if not inside.any() or len(np.unique(gold[~inside])) < n_levels:
                return middle
            for number, strength in enumerate(strengths):
                fitted = self._boundaries(strength, vectors[~inside], gold[~inside], n_levels)
                probs = between(vectors[inside], *fitted)
                costs[number] -= np.log(probs[np.arange(int(inside.sum())), gold[inside]]).sum()
        return strengths[int(np.argmin(costs))]

    def _boundaries(
        self, strength: float, vectors: NDArray[np.float32], gold: NDArray[np.int64], n_levels: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Weights (n_levels - 1, n_dimensions) and bias (n_levels - 1,)."""
        settings: dict[str, Any] = {"solver": "newton-cg", "max_iter": 100, "random_state": self.random_state}
        fitted = [LogisticRegression(C=strength, **settings).fit(vectors, gold > k) for k in range(n_levels - 1)]
        weights, bias = (np.stack([one.coef_[0] for one in fitted]), np.stack([one.intercept_[0] for one in fitted]))
        return weights.astype(np.float64), bias.astype(np.float64)


def minilm_ordinal(task: Task, seed: int) -> OrdinalClassifier:
    """Unfitted."""
    return OrdinalClassifier(random_state=seed)
