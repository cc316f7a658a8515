"""The efficient frontier of a ladder: which rungs no other beats in both accuracy and speed."""

from __future__ import annotations

import math
from collections.abc import Sequence

from workbench.board import Line


def frontier(lines: Sequence[Line]) -> tuple[str, ...]:
    """Names of the rungs that are more often right than every faster one, from fast to slow.

    Of rungs that are equally fast and equally often right, the first of the ladder stands for all. Rungs that failed,
    or whose milliseconds a row are not known, are not considered.
    """
    timed = [line for line in lines if line.test and line.rung.cost.get("ms_p50") is not None]
    names, highest = [], -1.0
    for line in sorted(timed, key=lambda line: (speed(line), -line.test["accuracy"].value)):
        if line.test["accuracy"].value > highest:
            highest = line.test["accuracy"].value
            names.append(line.rung.name)
    return tuple(names)


def cheapest(lines: Sequence[Line]) -> Line:
    """The line of fewest milliseconds a row; of equal ones the smallest on disk."""
    return min(lines, key=lambda line: (speed(line), _known(line, "size_bytes")))


def speed(line: Line) -> float:
    """Milliseconds a row, median; infinite where not known."""
    return _known(line, "ms_p50")


def _known(line: Line, cost: str) -> float:
    value = line.rung.cost.get(cost)
    return math.inf if value is None else value
