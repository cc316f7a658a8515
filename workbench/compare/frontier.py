"""The efficient frontier of a comparison: which candidates no other beats in both accuracy and speed."""

from __future__ import annotations

import math
from collections.abc import Sequence

from workbench.compare.board import Entry

# Costs that differ by no more than this factor are taken for equal.
EQUAL = 1.1


def frontier(entries: Sequence[Entry]) -> tuple[str, ...]:
    """Names of the candidates that are more often right than every faster one, from fast to slow.

    Of candidates that are equally fast and equally often right, the first of the comparison stands for all. Candidates
    that failed, or whose milliseconds a row are not known, are not considered.
    """
    timed = [entry for entry in entries if entry.test and entry.cost.get("ms_p50") is not None]
    names, highest = [], -1.0
    for entry in sorted(timed, key=lambda entry: (speed(entry), -entry.test["accuracy"].value)):
        if entry.test["accuracy"].value > highest:
            highest = entry.test["accuracy"].value
            names.append(entry.name)
    return tuple(names)


def cheapest(entries: Sequence[Entry]) -> Entry:
    """The candidate of fewest milliseconds a row; of equal ones the smallest on disk; of those the most often right.

    Costs within a tenth of the lowest count as equal: times of the same work differ by that much from run to run.
    """
    for cost in ("ms_p50", "size_bytes"):
        least = min(_known(entry, cost) for entry in entries)
        entries = [entry for entry in entries if _known(entry, cost) <= EQUAL * least]
    return min(entries, key=lambda entry: -entry.test["accuracy"].value)


def speed(entry: Entry) -> float:
    """Milliseconds a row, median; infinite where not known."""
    return _known(entry, "ms_p50")


def _known(entry: Entry, cost: str) -> float:
    value = entry.cost.get(cost)
    return math.inf if value is None else value
