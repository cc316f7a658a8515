"""From scored rungs to a leaderboard: metrics with intervals, paired tests against the best row, the verdict.

Statistics only: nothing is scored here and nothing is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from labelwright.intervals import Interval, PairedTest, bootstrap_differences, bootstrap_intervals, paired_test
from labelwright.metrics import METRICS
from labelwright.task import Example
from workbench.compare import Rung

# The quality metrics of the table, in its order, with their direction.
QUALITY = {"accuracy": "higher", "macro_f1": "higher", "log_loss": "lower", "brier": "lower", "ece": "lower"}
_METRICS = {name: METRICS[name] for name in QUALITY}


@dataclass(frozen=True)
class Line:
    """One row of the leaderboard.

    Attributes
    ----------
    test : dict of str to Interval
        The metrics of ``QUALITY`` on the test rows, 95 % intervals; empty for a rung that failed.
    against_best : PairedTest, optional
        This rung (a) against the best one (b); None for the best itself.
    p_holm : float, optional
        The test's p-value, corrected for the number of rungs tested (Holm 1979).
    """

    rung: Rung
    test: dict[str, Interval]
    against_best: PairedTest | None = None
    p_holm: float | None = None


@dataclass(frozen=True)
class Verdict:
    """Whether the tuned model is worth it. ``difference`` is best baseline minus tuned model, in accuracy."""

    text: str
    best: str
    tuned: str | None = None
    best_baseline: str | None = None
    difference: Interval | None = None
    p_value: float | None = None


@dataclass(frozen=True)
class Leaderboard:
    """Lines in the order of the ladder, and the verdict."""

    lines: tuple[Line, ...]
    verdict: Verdict
    gold: np.ndarray

    def line(self, name: str) -> Line:
        """The line of a rung."""
        return next(line for line in self.lines if line.rung.name == name)


def build(
    rungs: Sequence[Rung], test: Sequence[Example], names: Sequence[str], resamples: int, seed: int
) -> Leaderboard:
    """Put numbers to every rung.

    Parameters
    ----------
    test : sequence of Example
        The rows behind ``Rung.probs``. Groups are drawn whole where the rows have them.
    """
    gold = np.array([names.index(row.label) for row in test])
    # A row without a group is a group of its own.
    groups = [row.group if row.group is not None else f"\0{row.id}" for row in test]
    settings: dict[str, Any] = {"n_resamples": resamples, "seed": seed}
    scored = [rung for rung in rungs if not rung.failed]
    quality = {
        rung.name: bootstrap_intervals(rung.probs, gold, groups, metrics=_METRICS, **settings) for rung in scored
    }
    best = min(scored, key=lambda rung: (-quality[rung.name]["accuracy"].value, quality[rung.name]["log_loss"].value))
    tests = {
        rung.name: paired_test(rung.probs, best.probs, gold, groups, **settings) for rung in scored if rung is not best
    }
    corrected = holm({name: test.p_value for name, test in tests.items()})
    lines = tuple(
        Line(rung, quality.get(rung.name, {}), tests.get(rung.name), corrected.get(rung.name)) for rung in rungs
    )
    return Leaderboard(lines, _verdict(scored, quality, best, gold, groups, settings), gold)


def holm(p_values: dict[str, float]) -> dict[str, float]:
    """Holm's step-down correction: the k-th smallest of m is multiplied by m - k + 1, order kept.

    >>> holm({"a": 0.01, "b": 0.04, "c": 0.03})
    {'a': 0.03, 'c': 0.06, 'b': 0.06}
    """
    corrected: dict[str, float] = {}
    largest = 0.0
    for k, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        largest = max(largest, min(1.0, p_values[name] * (len(p_values) - k)))
        corrected[name] = largest
    return corrected


def percent(interval: Interval, signed: bool = False) -> str:
    """An interval as percent, its ends in brackets.

    >>> percent(Interval(0.8712, 0.81, 0.92))
    '87.1 [81.0, 92.0]'
    """
    sign = "+" if signed else ""
    value, low, high = (100 * one for one in interval)
    return f"{value:{sign}.1f} [{low:{sign}.1f}, {high:{sign}.1f}]"


def _verdict(
    scored: Sequence[Rung], quality: dict[str, dict[str, Interval]], best: Rung, gold: Any, groups: Any, settings: Any
) -> Verdict:
    tuned = next((rung for rung in reversed(scored) if rung.kind == "llm"), None)
    rivals = [rung for rung in scored if rung.kind == "baseline"]
    if tuned is None or not rivals:
        value = percent(quality[best.name]["accuracy"])
        missing = "no baseline ran, so" if not rivals else "no model ran, so"
        text = (
            f"{missing} nothing can be said about which is worth it; the best row is {best.name}, accuracy {value} %."
        )
        return Verdict(text[0].upper() + text[1:], best.name)
    rival = min(rivals, key=lambda rung: (-quality[rung.name]["accuracy"].value, quality[rung.name]["log_loss"].value))
    difference = bootstrap_differences(
        rival.probs, tuned.probs, gold, groups, metrics={"accuracy": METRICS["accuracy"]}, **settings
    )["accuracy"]
    p_value = paired_test(rival.probs, tuned.probs, gold, groups, **settings).p_value
    mine, theirs = (100 * quality[rung.name]["accuracy"].value for rung in (tuned, rival))
    noise = difference.low <= 0 <= difference.high
    sure = "the interval holds 0, so this may be chance" if noise else "the interval leaves out 0"
    label = "the untuned model" if tuned.step == "0-untuned" else f"the tuned model ({tuned.name})"
    label = label[0].upper() + label[1:]
    if difference.value > 0:
        text = (
            f"A baseline beats {label[0].lower()}{label[1:]}: {rival.name} {theirs:.1f} % against {mine:.1f} % on "
            f"test, ahead by {_points(difference)}; {sure}."
        )
    elif difference.value < 0:
        other = Interval(-difference.value, -difference.high, -difference.low)
        text = (
            f"{label} beats every baseline: {mine:.1f} % against {theirs:.1f} % of {rival.name} on test, "
            f"ahead by {_points(other)}; {sure}."
        )
    else:
        text = (
            f"{label} and the baseline {rival.name} are equally often right on test, {mine:.1f} % each "
            f"(difference {_points(difference)}): take the cheaper one."
        )
    return Verdict(text, best.name, tuned.name, rival.name, difference, p_value)


def _points(difference: Interval) -> str:
    low, high = 100 * difference.low, 100 * difference.high
    return f"{100 * difference.value:.1f} points of accuracy, 95 % interval {low:.1f} to {high:.1f}"
