"""Which rows belong to no label at all, though the likeliest label has to be one: a score, and what lies below it.

The idea: a classifier that must choose among its labels is often sure of itself on rows that are about none of them,
since confidence only says which label is nearer than the others. How near the row is to anything that was taught is
another question, and each answers what the other cannot. So the score is their product, in [0, 1]:

    score(x) = certainty(x) * nearness(x) ** 2
    certainty = 1 - H(P(. | x)) / log K             of the calibrated probabilities of K labels
    nearness  = the mean cosine of x to the three nearest vectors of a sketch of the train rows, 0 where it is below 0

Which score it is was fixed by ``python -m bench.decisions.scope`` on datasets with labels left out, and rows of other
datasets; nobody's rows out of scope are needed. Where there is no encoder it is the certainty alone.

Where some such rows are there to teach, they make a "none of these": a logistic regression that tells their vectors
from those of rows in scope. Alone it knows only what it was shown, and calls anything new one of the labels
(``python -m bench.decisions.none_of_these``), so it is one factor more: score(x) * P(in scope | x). Whether it is used,
calib rows say. Fitted by ``optimizers.scope``; kept in the bundle, vectors without texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from labelwright.predictors.encoders.sentence_encoder import open_encoder
from labelwright.statistics.metrics import Floats

Vectors = NDArray[np.float32]
N_NEAREST = 3
POWER = 2


class Preference(NamedTuple):
    """What calib rows said of the score with and without a trained "none of these".

    Attributes
    ----------
    n_taught, n_calib : int
        Rows out of scope that taught it, and that were asked.
    score, trained : float
        AUROC without it and with it: how often a calib row in scope has more than one out of scope.
    """

    n_taught: int
    n_calib: int
    score: float
    trained: float


def _nothing() -> Vectors:
    return np.zeros(0, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Scope:
    """What tells rows that belong to no label.

    Attributes
    ----------
    threshold : float
        Rows whose score is below it are out of scope; minus infinity where the calib rows were too few to say.
    kept : float
        The share of rows in scope that are to stay above it.
    n_rows : int
        Calib rows, all in scope, that the threshold is taken of.
    encoder : str
        As in ``labelwright.predictors.encoders.sentence_encoder.open_encoder``; empty where certainty alone is asked.
    vectors : float32 ndarray of shape (n_vectors, n_dimensions)
        The sketch: unit vectors.
    none : float32 ndarray of shape (n_dimensions + 1,)
        Weights and, last, the bias of the trained "none of these"; empty where there is none, or calib prefers to do
        without.
    preference : Preference, optional
        Why; None where too few rows out of scope were there to teach and to choose.
    """

    threshold: float
    kept: float
    n_rows: int
    encoder: str
    vectors: Vectors
    none: Vectors = field(default_factory=_nothing)
    preference: Preference | None = None

    def open(self) -> None:
        """Load the encoder now, for who wants to know whether it is there before rows come.

        Raises
        ------
        MissingExtraError, ModelError
            As ``labelwright.predictors.encoders.sentence_encoder.open_encoder``.
        """
        if self.encoder and np.isfinite(self.threshold):
            open_encoder(self.encoder)

    def outside(self, texts: Sequence[str], probs: Floats) -> NDArray[np.bool_]:
        """Which rows are out of scope, bool of shape (n_rows,); ``probs`` (n_rows, n_labels) are calibrated."""
        if np.isneginf(self.threshold):
            return np.zeros(len(probs), dtype=bool)
        found: NDArray[np.bool_] = self.scores(texts, probs) < self.threshold
        return found

    def scores(self, texts: Sequence[str], probs: Floats) -> Floats:
        """How sure it is that each row is in scope, (n_rows,), in [0, 1]."""
        if not self.encoder or not len(texts):
            return certainty(probs)
        vectors = open_encoder(self.encoder).embed(list(texts))
        found = both(certainty(probs), nearness(vectors, self.vectors))
        return found * in_scope(vectors, self.none) if self.none.size else found


def certainty(probs: Floats) -> Floats:
    """1 - H(P) / log K, (n_rows,): 1 where one label has it all, 0 where all are alike or there is no answer."""
    probs = np.asarray(probs, dtype=np.float64)
    entropy = -(probs * np.log(np.maximum(probs, 1e-300))).sum(axis=1)
    found: Floats = np.where(probs.any(axis=1), 1 - entropy / np.log(probs.shape[1]), 0.0)
    return np.clip(found, 0.0, 1.0)


def nearness(vectors: Vectors, sketch: Vectors) -> Floats:
    """The mean cosine of each vector to the ``N_NEAREST`` nearest of a sketch, (n_rows,), in [0, 1]."""
    n = min(N_NEAREST, len(sketch))
    cosines = np.partition(np.asarray(vectors @ sketch.T, dtype=np.float64), -n, axis=1)[:, -n:]
    return np.clip(cosines.mean(axis=1), 0.0, 1.0)


def in_scope(vectors: Vectors, none: Vectors) -> Floats:
    """P(in scope) of each vector by a trained "none of these", (n_rows,), both kinds of rows being equally frequent."""
    logits = np.asarray(vectors @ none[:-1] + none[-1], dtype=np.float64)
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -500, 500))))


def both(sure: Floats, near: Floats) -> Floats:
    """The score of certainty and nearness."""
    return sure * near**POWER
