"""Always the same probabilities: label shares, or a single label. What any classifier must beat first."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from labelwright.errors import BundleError
from labelwright.reading import AGAIN, read_json

_FILE = "prior.json"


class Prior:
    """Answers every text with the same shares.

    Parameters
    ----------
    shares : ndarray of shape (n_labels,)
        Summing to 1.
    """

    kind: ClassVar[str] = "prior"

    def __init__(self, shares: NDArray[np.float64]) -> None:
        self._shares = np.asarray(shares, dtype=np.float64)

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """The shares, once a text: shape (n_texts, n_labels)."""
        return np.tile(self._shares, (len(texts), 1))

    def save(self, folder: Path) -> None:
        """Write the shares."""
        (folder / _FILE).write_text(json.dumps(self._shares.tolist()) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Prior:
        """Read the shares. Raises BundleError where they are none."""
        shares = read_json(folder / _FILE)
        if not isinstance(shares, list) or not all(isinstance(one, int | float) and one >= 0 for one in shares):
            raise BundleError(f"{folder / _FILE}: expected a list of shares; {AGAIN}")
        return cls(np.array(shares, dtype=np.float64))

    def external_bytes(self) -> int:
        """Nothing else is needed."""
        return 0
