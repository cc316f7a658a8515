"""``together.json``: a plan and its members as a file. The members' bundles lie beside it, a folder each, by number."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from labelwright.engines.together.plan import MEANS, Level, Plan
from labelwright.errors import BundleError
from labelwright.reading import AGAIN, read_object
from labelwright.settings import shown

FILE = "together.json"
# More say no more, and whoever wrote the file may be anyone.
MOST_MEMBERS = 32
_MOST_LEVELS = 8


class Members(NamedTuple):
    """A plan, and its members in the plan's order: what they are called, and where their bundles lie."""

    plan: Plan
    names: tuple[str, ...]
    folders: tuple[Path, ...]


def write_plan(plan: Plan, names: Sequence[str], folder: Path) -> Members:
    """Write the file into an existing folder; returns what ``read_plan`` will give.

    Raises
    ------
    BundleError
        Too many members, or none.
    """
    if not 1 <= len(names) <= MOST_MEMBERS:
        raise BundleError(f"{len(names)} members: expected 1 to {MOST_MEMBERS} that answer together")
    levels = [{"weights": list(level.weights), "threshold": level.threshold} for level in plan.levels]
    content = {"mean": plan.mean, "members": list(names), "levels": levels}
    (folder / FILE).write_bytes((json.dumps(content, ensure_ascii=False, indent=1) + "\n").encode())
    return read_plan(folder)


def read_plan(folder: Path) -> Members:
    """What ``write_plan`` wrote. Opens no member.

    Raises
    ------
    BundleError
        A file that is missing or damaged, or says something that does not fit together: in one line.
    """
    path = folder / FILE
    content = read_object(path)
    try:
        names, mean = content["members"], content["mean"]
        if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
            raise ValueError("members are not names")
        if not 1 <= len(names) <= MOST_MEMBERS:
            raise ValueError(f"{len(names)} members, expected 1 to {MOST_MEMBERS}")
        if mean not in MEANS:
            raise ValueError(f"mean is {shown(mean)}, expected one of {', '.join(MEANS)}")
        levels = content["levels"]
        if not isinstance(levels, list) or not 1 <= len(levels) <= _MOST_LEVELS:
            raise ValueError(f"expected a list of 1 to {_MOST_LEVELS} levels")
        plan = Plan(tuple(_level(one, len(names)) for one in levels), mean)
    except (LookupError, TypeError, ValueError) as error:
        reason = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
        raise BundleError(f"{path}: {reason}; {AGAIN}") from error
    return Members(plan, tuple(names), tuple(folder / str(number) for number in range(len(names))))


def _level(value: Any, n_members: int) -> Level:
    if not isinstance(value, Mapping):
        raise ValueError("a level is not an object")
    weights, threshold = value["weights"], value["threshold"]
    if not isinstance(weights, list) or len(weights) != n_members or not all(map(_is_number, weights)):
        raise ValueError(f"a level's weights are not {n_members} numbers")
    if min(weights) < 0 or not 0 < sum(weights) < math.inf:
        raise ValueError("a level's weights are not 0 or more, one of them above 0")
    if not _is_number(threshold) or not 0 <= threshold <= 1:
        raise ValueError(f"a level's threshold is {shown(threshold)}, expected a probability")
    return Level(tuple(map(float, weights)), float(threshold))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
