"""The efficient frontier of a comparison: which candidates no other beats in both accuracy and speed."""

from __future__ import annotations

import math
from collections.abc import Sequence

from workbench.compare.board import Line

# Costs that differ by no more than this factor are taken for equal.
EQUAL = 1.1


def frontier(lines: Sequence[Line]) -> tuple[str, ...]:
    """Names of the candidates that are more often right than every faster one, from fast to slow.

    Of candidates that are equally fast and equally often right, the first of the comparison stands for all. Candidates
    that failed, or whose milliseconds a row are not known, are not considered.
    """
    timed = [line for line in lines if line.test and line.candidate.cost.get("ms_p50") is not None]
    names, highest = [], -1.0
    for line in sorted(timed, key=lambda line: (speed(line), -line.test["accuracy"].value)):
        if line.test["accuracy"].value > highest:
            highest = line.test["accuracy"].value
            names.append(line.candidate.name)
    return tuple(names)


def cheapest(lines: Sequence[Line]) -> Line:
    """The line of fewest milliseconds a row; of equal ones the smallest on disk; of those the one most often right.

    Costs within a tenth of the lowest count as equal: times of the same work differ by that much from run to run.
    """
    for cost in ("ms_p50", "size_bytes"):
        least = min(_known(line, cost) for line in lines)
        lines = [line for line in lines if _known(line, cost) <= EQUAL * least]
    return min(lines, key=lambda line: -line.test["accuracy"].value)


def speed(line: Line) -> float:
    """Milliseconds a row, median; infinite where not known."""
    return _known(line, "ms_p50")


def _known(line: Line, cost: str) -> float:
    value = line.candidate.cost.get(cost)
    return math.inf if value is None else value
