"""Whether a newly exported bundle takes the champion's place: only where the same test rows tell the two apart.

A registered version carries which test rows it was right on (``right``, a bit a row, as hexadecimal digits) and a
digest of those rows; where its task has prices also what each row cost (``costs``), a digest of the prices and how far
two of them lie apart (``span``). Versions that were measured on other rows or at other prices, or not measured, cannot
be told apart.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from labelwright.statistics.proportions import difference_interval, priced_difference_interval

# The registry's names for the version to use, and for one that may be as good and is newer.
CHAMPION, CHALLENGER = "champion", "challenger"
# What the registry takes of a version's tag, in characters: some 50,000 rows.
_LONGEST = 100_000

Stands = Literal["better", "worse", "not told apart"]


def stands(new: Mapping[str, Any], old: Mapping[str, Any], groups: Sequence[str] | None) -> Stands:
    """How the new version stands to the old one, by a 95 % interval of the paired difference of accuracies, or costs.

    Parameters
    ----------
    new, old : mapping
        ``test_rows``, a digest, and ``right``; both empty or missing for a version that was not measured. With prices
        ``prices``, a digest, ``span`` and ``costs``; missing in versions of before there were any.
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
    prices = new.get("prices") or ""
    if prices != (old.get("prices") or ""):
        return "not told apart"
    key, read = ("costs", _amounts) if prices else ("right", _right)
    if not new.get(key) or not old.get(key):
        return "not told apart"
    first, second = read(str(new[key])), read(str(old[key]))
    if len(first) != len(second) or (groups is not None and len(groups) != len(first)):
        return "not told apart"
    if prices:
        _, low, high = priced_difference_interval(second - first, float(new["span"]), groups)
    else:
        _, low, high = difference_interval(first - second, groups)
    return "better" if low > 0 else "worse" if high < 0 else "not told apart"


def amounts(costs: Sequence[float]) -> str:
    """The different amounts, which are few, and the place of each row's among them; empty where it is too long to keep.

    >>> amounts([0.0, 20.0, 0.0])
    '[0.0, 20.0] 0,1,0'
    """
    known = sorted(set(costs))
    place = {one: str(number) for number, one in enumerate(known)}
    text = f"{json.dumps(known)} {','.join(place[one] for one in costs)}"
    return text if len(text) <= _LONGEST else ""


def _amounts(text: str) -> Any:
    known, _, places = text.rpartition(" ")
    return np.array(json.loads(known), dtype=np.float64)[np.array(places.split(","), dtype=np.int64)]


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
