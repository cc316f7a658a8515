"""Scores of engines that name a winner and nothing else."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# What all other options share, so that a wrong answer costs a finite log loss.
REST = 1e-6


def one_hot(chosen: NDArray[np.int64], n_options: int) -> NDArray[np.float64]:
    """Log-probabilities (n_rows, n_options): nearly all on the chosen option, ``REST`` on the others together."""
    if n_options == 1:
        return np.zeros((len(chosen), 1))
    scores = np.full((len(chosen), n_options), np.log(REST / (n_options - 1)))
    scores[np.arange(len(chosen)), chosen] = np.log1p(-REST)
    return scores
