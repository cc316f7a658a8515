"""What ordered levels count as: numbers, for whoever takes their mean or asks how far two of them lie apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def level_values(names: Sequence[str]) -> list[float]:
    """What levels count as: the numbers that all of them are, or else 1, 2, 3 … in their order.

    >>> level_values(["1", "3", "10"]), level_values(["low", "high"])
    ([1.0, 3.0, 10.0], [1.0, 2.0])
    """
    try:
        values = [float(name) for name in names]
    except ValueError:
        values = []
    rises = bool(np.isfinite(values).all() and (np.diff(values) > 0).all())
    return values if values and rises else [float(place) for place in range(1, len(names) + 1)]
