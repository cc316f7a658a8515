"""Temperature and per-label bias on the option log-probabilities. Fitted on the calib split only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Calibration:
    """P = softmax(scores / temperature + bias).

    Attributes
    ----------
    temperature : float
        Above 0; 1 leaves the scores as they are.
    bias : tuple of float
        One a label, in label order; empty for none.
    """

    temperature: float = 1.0
    bias: tuple[float, ...] = ()

    def apply(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probabilities of shape (n_rows, n_labels) from log-scores of the same shape."""
        logits = scores / self.temperature
        if self.bias:
            logits = logits + np.asarray(self.bias)
        logits = logits - logits.max(axis=1, keepdims=True)
        weights = np.exp(logits)
        return weights / weights.sum(axis=1, keepdims=True)
