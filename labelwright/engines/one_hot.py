"""Scores of engines that name a winner and nothing else, or not even that."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# What all other options share, so that a wrong answer costs a finite log loss.
REST = 1e-6


def one_hot(chosen: NDArray[np.int64], n_options: int) -> NDArray[np.float64]:
    """Log-probabilities (n_rows, n_options): nearly all on the chosen option, ``REST`` on the others together.

    A row of which nothing usable was said, -1 in ``chosen``, has the same score for every option (``unanswered``).
    """
    if n_options == 1:
        return np.zeros((len(chosen), 1))
    scores = np.full((len(chosen), n_options), np.log(REST / (n_options - 1)))
    scores[np.arange(len(chosen)), chosen] = np.log1p(-REST)
    scores[chosen < 0] = -np.log(n_options)
    return scores


def unanswered(scores: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(n_rows,): whether a row of such scores names no winner."""
    return (scores == scores[:, :1]).all(axis=1) & (scores.shape[1] > 1)
