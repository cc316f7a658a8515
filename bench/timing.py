"""Ratios of times: sides measured in turn, each round giving one ratio.

A machine's speed drifts and other processes come and go. Two sides measured one right after the other share most of
that, so each round's ratio is worth more than either time, and the median over rounds more than any of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Side:
    """One side of a comparison: what was measured in each round, in ``unit``."""

    unit: str
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle value."""
        return median(self.values)

    def as_json(self) -> dict[str, Any]:
        """Unit, median and every value."""
        return {"unit": self.unit, "median": self.median, "values": list(self.values)}


@dataclass(frozen=True)
class Measurement:
    """One number of the bench, with both sides it came from.

    Attributes
    ----------
    value, low, high : float
        Median, least and greatest over the rounds; a measurement that takes another value says so.
    goal : float, optional
        What the value should at least be, or with ``at_most`` at most; None where there is no goal.
    sides : mapping
        What was compared, by name.
    facts : mapping
        How it was measured: row counts, settings, and what was observed on the way.
    """

    name: str
    value: float
    unit: str
    low: float
    high: float
    goal: float | None = None
    sides: Mapping[str, Side] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    at_most: bool = False

    @property
    def reached(self) -> bool | None:
        """Whether the goal is reached; None where there is none."""
        if self.goal is None:
            return None
        return self.value <= self.goal if self.at_most else self.value >= self.goal

    def as_json(self) -> dict[str, Any]:
        """What ``results.json`` holds of it."""
        return {
            "value": self.value,
            "unit": self.unit,
            "min": self.low,
            "max": self.high,
            "goal": self.goal,
            "goal_is": None if self.goal is None else "at most" if self.at_most else "at least",
            "reached": self.reached,
            "sides": {name: side.as_json() for name, side in self.sides.items()},
            "facts": dict(self.facts),
        }


def seconds_of(call: Callable[[], object]) -> float:
    """Wall-clock seconds of one call."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def take_turns(calls: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Call every side once a round, in the order given (A B A B …), and collect the numbers they return."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            taken[name].append(call())
    return taken


def pairwise(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """The ratio of each round."""
    return [a / b for a, b in zip(above, below, strict=True)]


def ratio(
    name: str,
    ratios: Sequence[float],
    *,
    sides: Mapping[str, Side],
    goal: float | None = None,
    unit: str = "x",
    facts: Mapping[str, Any] | None = None,
    at_most: bool = False,
) -> Measurement:
    """A measurement whose value is the median of the rounds' ratios."""
    return Measurement(name, median(ratios), unit, min(ratios), max(ratios), goal, sides, facts or {}, at_most)
