"""Levels in order on sentence embeddings: the chance of being above each level, and what lies between.

After Frank and Hall 2001, "A Simple Approach to Ordinal Classification": one binary classifier for each boundary
between two levels says how probable it is that a text lies above it; a level has what lies between its two boundaries.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from labelwright.errors import BundleError
from labelwright.predictors.encoders.long_texts import LongTexts
from labelwright.predictors.encoders.sentence_encoder import open_encoder
from labelwright.reading import AGAIN, read_object, read_tensors

_FILE = "encoder.json"
_BOUNDARIES = "boundaries.safetensors"
# What boundaries that cross leave of a level: unlikely, not impossible.
_LEAST = 1e-6


class Ordinal:
    """A logistic regression a boundary between levels.

    Parameters
    ----------
    encoder : str
        As in ``sentence_encoder.open_encoder``.
    weights : array (n_levels - 1, n_dimensions)
    bias : array (n_levels - 1,)
        P(above boundary k) = 1 / (1 + exp(-(vector . weights[k] + bias[k]))).
    order : sequence of n_levels int
        The column of each level, from the lowest to the highest.
    """

    kind: ClassVar[str] = "ordinal"

    def __init__(
        self, encoder: str, weights: NDArray[np.float64], bias: NDArray[np.float64], order: Sequence[int]
    ) -> None:
        self.encoder = encoder
        self.weights = np.asarray(weights, dtype=np.float64)
        self.bias = np.asarray(bias, dtype=np.float64)
        self.order = [int(one) for one in order]
        self.long_texts = LongTexts()

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Shape (n_texts, n_levels), columns as ``order`` has them."""
        vectors = open_encoder(self.encoder).embed(texts, long_texts=self.long_texts)
        found = between(vectors, self.weights, self.bias)
        columns = np.empty_like(found)
        columns[:, self.order] = found
        return columns

    def save(self, folder: Path) -> None:
        """Write the boundaries, the order and the encoder's name."""
        tensors = {"weights": np.ascontiguousarray(self.weights), "bias": np.ascontiguousarray(self.bias)}
        save_file(tensors, folder / _BOUNDARIES)
        about = {"encoder": self.encoder, "order": self.order}
        (folder / _FILE).write_text(json.dumps(about) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Ordinal:
        """Read them. Raises BundleError where they are damaged."""
        about = read_object(folder / _FILE)
        found = read_tensors(folder / _BOUNDARIES, {"weights": 2, "bias": 1})
        order, n_levels = about["order"], len(found["bias"]) + 1
        fits = isinstance(order, list) and sorted(order) == list(range(n_levels))
        if not fits or len(found["weights"]) != n_levels - 1:
            raise BundleError(f"{folder}: levels and boundaries do not fit together; {AGAIN}")
        return cls(about["encoder"], found["weights"], found["bias"], order)

    def external_bytes(self) -> int:
        """Bytes of the encoder's files."""
        return open_encoder(self.encoder).size_bytes()


def between(
    vectors: NDArray[np.float32], weights: NDArray[np.float64], bias: NDArray[np.float64]
) -> NDArray[np.float64]:
    """What lies between boundaries, (n_rows, n_levels), from the lowest level to the highest.

    Where a higher boundary is more probable than a lower one, both are taken down to the lower one's, so that no level
    has less than nothing.
    """
    above = 1 / (1 + np.exp(-np.clip(vectors.astype(np.float64) @ weights.T + bias, -500, 500)))
    above = np.minimum.accumulate(above, axis=1)
    ends = np.hstack([np.ones((len(above), 1)), above, np.zeros((len(above), 1))])
    found = -np.diff(ends, axis=1) + _LEAST
    return np.asarray(found / found.sum(axis=1, keepdims=True))
