"""What a fitted small classifier must be able to do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray


class Predictor(Protocol):
    """Texts to probabilities.

    Attributes
    ----------
    kind : str
        Its name in ``labelwright.predictors.store.KINDS``.
    """

    kind: ClassVar[str]

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Shape (n_texts, n_labels), rows in order, each summing to 1; columns in the order of the saved labels."""
        ...

    def save(self, folder: Path) -> None:
        """Write what ``load`` needs into an existing folder."""
        ...

    @classmethod
    def load(cls, folder: Path) -> Predictor:
        """Read what ``save`` wrote. Raises LabelwrightError where a file or a package is missing."""
        ...

    def external_bytes(self) -> int:
        """Bytes of the files that it needs besides its own folder: a shared encoder, a model by id."""
        ...


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows of probabilities from rows of logits, in float64."""
    weights = np.exp(np.asarray(logits, dtype=np.float64) - logits.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)
