"""What a candidate learnt besides train rows, and what that brought it on test, paired: types alone."""

from __future__ import annotations

from dataclasses import dataclass

from labelwright.statistics.intervals import Interval
from workbench.compare.candidate import Distilled, Written
from workbench.compare.searched.found import Searched


@dataclass(frozen=True)
class Lesson:
    """What a student came to: how it stands to its teacher, and to itself without the pool.

    Attributes
    ----------
    learnt : Distilled
    cost_ratio : float, optional
        Milliseconds a row of the teacher's over its own.
    to_teacher, to_plain : Interval, optional
        Its accuracy on test minus that of the teacher, and of the same baseline that learnt train rows alone; paired,
        each with 95 % by itself. None where that one has no numbers.
    """

    learnt: Distilled
    cost_ratio: float | None = None
    to_teacher: Interval | None = None
    to_plain: Interval | None = None


@dataclass(frozen=True)
class Augmented:
    """What synthetic rows brought a candidate.

    Attributes
    ----------
    learnt : Written
    to_plain : Interval, optional
        Its accuracy on test minus that of the same baseline that learnt train rows alone; paired, with 95 % by itself.
        None where that one has no numbers.
    """

    learnt: Written
    to_plain: Interval | None = None


@dataclass(frozen=True)
class Sought:
    """What a search of a candidate's settings brought.

    Attributes
    ----------
    found : Searched
    to_plain : Interval, optional
        Its accuracy on test minus that of the same baseline as the recipe has it; paired, with 95 % by itself. None
        where that one has no numbers.
    """

    found: Searched
    to_plain: Interval | None = None
