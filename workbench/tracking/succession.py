"""Whether a newly exported bundle takes the champion's place: only where the same test rows tell the two apart.

A registered version carries which test rows it was right on (``right``, a bit a row, as hexadecimal digits) and a
digest of those rows. Versions that were measured on other rows, or not measured, cannot be told apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from labelwright.statistics.proportions import difference_interval

# The registry's names for the version to use, and for one that may be as good and is newer.
CHAMPION, CHALLENGER = "champion", "challenger"

Stands = Literal["better", "worse", "not told apart"]


def stands(new: Mapping[str, Any], old: Mapping[str, Any], groups: Sequence[str] | None) -> Stands:
    """How the new version stands to the old one, by a 95 % interval of the paired difference of their accuracies.

    Parameters
    ----------
    new, old : mapping
        ``test_rows``, a digest, and ``right``; both empty or missing for a version that was not measured.
    groups : sequence of str, optional
        Of the new version's test rows, where they have any.

    Examples
    --------
    >>> old = {"test_rows": "d", "right": bits([False] * 40)}
    >>> stands({"test_rows": "d", "right": bits([True] * 40)}, old, None)
    'better'
    >>> stands({"test_rows": "other", "right": bits([True] * 40)}, old, None)
    'not told apart'
    """
    rows = new.get("test_rows")
    if not rows or rows != old.get("test_rows"):
        return "not told apart"
    first, second = _right(str(new["right"])), _right(str(old["right"]))
    if len(first) != len(second) or (groups is not None and len(groups) != len(first)):
        return "not told apart"
    _, low, high = difference_interval(first - second, groups)
    return "better" if low > 0 else "worse" if high < 0 else "not told apart"


def bits(right: Sequence[bool]) -> str:
    """The number of rows, and a bit for each.

    >>> bits([True, False, True])
    '3:a0'
    """
    return f"{len(right)}:{np.packbits(np.array(right, dtype=bool)).tobytes().hex()}"


def _right(text: str) -> Any:
    n, _, digits = text.partition(":")
    packed = np.frombuffer(bytes.fromhex(digits), dtype=np.uint8)
    return np.unpackbits(packed, count=int(n)).astype(np.int64)
