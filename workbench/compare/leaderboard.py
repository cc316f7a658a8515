"""From scored rungs to a leaderboard: metrics with intervals, paired tests against the best rung, spread over seeds.

Statistics only: nothing is scored here and nothing is written. All rungs are put on the same bootstrap resamples, in
one pass, so that differences are paired. Each rung's probabilities are read once for what the metrics need of them, so
that many labels need not fit into memory many times. The types are ``workbench.compare.board``'s.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from labelwright.data.task import Example
from labelwright.errors import DataError
from labelwright.statistics.intervals import Interval, Resampled, metric_intervals, resample
from labelwright.statistics.metrics import METRICS, Answers, Ints, answers_of, checked
from workbench.compare.board import (
    QUALITY,
    QUALITY_OF_FREE,
    Difference,
    Leaderboard,
    Line,
    Spread,
    Standing,
    Suspect,
    Verdict,
)
from workbench.compare.candidate import Repeat, Rung
from workbench.compare.differences import TESTED, against_best, between, standing
from workbench.compare.frontier import frontier
from workbench.compare.noise import suspects
from workbench.compare.verdict import judge, rank
from workbench.recipe.recipe import CompareTable

__all__ = ["QUALITY", "Difference", "Leaderboard", "Line", "Spread", "Suspect", "Verdict", "build"]

# How many rungs at most must doubt a label: with more, one that is often wrong would acquit too many rows.
_DOUBTERS = 3

Samples = dict[str, dict[str, Resampled]]


@dataclass(frozen=True)
class _Scored:
    """A rung that can be measured, and what the metrics need of its probabilities; ``raw`` is None for free text."""

    rung: Rung
    answers: Answers
    raw: Answers | None


def build(
    rungs: Sequence[Rung],
    test: Sequence[Example],
    names: Sequence[str],
    resamples: int,
    seed: int,
    margin: float = CompareTable.margin,
) -> Leaderboard:
    """Put numbers and words to every rung.

    The best rung is that of highest test accuracy, of equal ones that of lower log loss. Free text is best only where
    nothing else was scored: it has no probabilities and cannot be shipped.

    Parameters
    ----------
    rungs : sequence of Rung
        In the order of the ladder; at least one that did not fail. Their names differ. One whose probabilities are none
        (NaN) has failed.
    test : sequence of n_test Example
        The rows behind ``Rung.probs``, one or more. Groups are drawn whole where the rows have them.
    names : sequence of str
        The labels, in the order of the columns.
    resamples : int
        Bootstrap resamples.
    seed : int
        The run's: that of the resamples, and the one by which the rungs' own splits were dealt.
    margin : float
        Share of accuracy within which a rung is as good as the best.

    Raises
    ------
    DataError
        No test rows; no rung was scored; or probabilities that do not fit rows and labels.
    """
    if not test:
        raise DataError("there are no test rows, so there is nothing to compare: give [splits] test a share")
    gold = np.array([names.index(str(row.label)) for row in test], dtype=np.int64)
    groups = _groups(test)
    rungs, scored = _measurable(rungs, gold, names)
    if not scored:
        reasons = "; ".join(f"{rung.name}: {rung.failed}" for rung in rungs)
        raise DataError(f"none of {len(rungs)} rungs could be scored, so there is nothing to compare ({reasons})")
    answers = {name: one.answers for name, one in scored.items()}
    samples = _resampled(scored, answers, gold, groups, len(names), n_resamples=resamples, seed=seed)
    raw_answers = {name: one.raw for name, one in scored.items() if one.raw is not None}
    raw = _resampled(scored, raw_answers, gold, groups, len(names), n_resamples=resamples, seed=seed)
    quality, before = _intervals(samples, answers, gold, groups), _intervals(raw, raw_answers, gold, groups)
    closed = [name for name in scored if scored[name].rung.kind != "free"]
    best = min(closed or list(scored), key=lambda name: rank(quality[name]))

    tested = against_best(best, answers, samples, gold, groups)
    lines = [
        _line(rung, quality, before, tested, best, seed, margin, answers, gold) if not rung.failed else Line(rung)
        for rung in rungs
    ]

    def compare(a: Rung, b: Rung) -> Difference:
        if b.name == best:
            return tested[a.name]["accuracy"]
        if a.name == best:
            return _turned(tested[b.name]["accuracy"])
        return between(a.name, b.name, len(scored) - 1, answers, samples, gold, groups)

    numbered = [line for line in lines if line.test]
    (first,) = (line for line in numbered if line.rung.name == best)
    verdict = judge(numbered, first, gold, names, margin, compare)
    doubters = {line.rung.name: line.rung.probs for line in _doubters(numbered, first)}
    found = suspects("test", test, doubters, names) if len(doubters) > 1 else ()
    return Leaderboard(tuple(lines), verdict, gold, found, frontier(lines))


def _measurable(rungs: Sequence[Rung], gold: Ints, names: Sequence[str]) -> tuple[list[Rung], dict[str, _Scored]]:
    """All rungs, those failed whose probabilities are none; and by name those that can be measured."""
    every, scored = [], {}
    for rung in rungs:
        if not rung.failed:
            try:
                scored[rung.name] = _Scored(rung, *_read(rung, gold, len(names)))
            except _NotProbabilitiesError as error:
                rung = Rung(rung.name, rung.kind, rung.about, rung.step, failed=f"it answered with {error}")
        every.append(rung)
    return every, scored


class _NotProbabilitiesError(DataError):
    """A rung's numbers are of the right shape and are no probabilities."""


def _read(rung: Rung, gold: Ints, n_labels: int) -> tuple[Answers, Answers | None]:
    """What the metrics need of a rung's probabilities, calibrated and before."""
    is_free = rung.kind == "free"
    found: list[Answers | None] = []
    for probs in (rung.probs, None if is_free else rung.raw):
        if probs is None or (found and not probs.size):
            found.append(None)
            continue
        expected = (len(gold), n_labels + is_free)
        if probs.shape != expected:
            raise DataError(
                f"{rung.name}: probabilities of shape {probs.shape} for {len(gold)} test rows and {n_labels} labels: "
                f"expected {expected}"
            )
        try:
            found.append(answers_of(*checked(probs, gold)))
        except DataError as error:
            raise _NotProbabilitiesError(f"what is no probability ({error})") from error
    calibrated, raw = found
    assert calibrated is not None
    return calibrated, raw


def _line(
    rung: Rung,
    quality: Mapping[str, Any],
    before: Mapping[str, Any],
    tested: Mapping[str, Any],
    best: str,
    seed: int,
    margin: float,
    answers: Mapping[str, Answers],
    gold: Ints,
) -> Line:
    """A rung with its numbers, and where it is not the best one with its differences to that."""
    name, test = rung.name, quality[rung.name]
    spread, raw = _spread(rung, test, seed), before.get(name, {})
    if name == best:
        return Line(rung, test, raw, spread=spread, standing="best")
    right, best_right = (answers[one].answer == gold for one in (name, best))
    stands: Standing = standing(tested[name]["accuracy"], margin)
    only_this, only_best = int((right & ~best_right).sum()), int((best_right & ~right).sum())
    return Line(rung, test, raw, only_this, only_best, tested[name], spread, stands)


def _turned(one: Difference) -> Difference:
    value, low, high = one.value
    return Difference(Interval(-value, -high, -low), one.p_value, one.p_holm)


def _groups(test: Sequence[Example]) -> list[str] | None:
    """The rows' groups, a row without one being a group of its own; None where no row has one."""
    if all(row.group is None for row in test):
        return None
    return [row.group if row.group is not None else f"\0{row.id}" for row in test]


def _resampled(
    scored: Mapping[str, _Scored],
    answers: Mapping[str, Answers],
    gold: Ints,
    groups: Sequence[str] | None,
    n_labels: int,
    **settings: Any,
) -> Samples:
    """Every metric of every rung; of free text those that need no probabilities, its last column being no label."""
    metrics = {name: METRICS[name] for name in QUALITY}
    of_free = {name: METRICS[name] for name in QUALITY_OF_FREE}
    of_free["macro_f1"] = partial(METRICS["macro_f1"], n_labels=n_labels)
    found: Samples = {}
    for is_free, measured in ((False, metrics), (True, of_free)):
        part = {name: one for name, one in answers.items() if (scored[name].rung.kind == "free") == is_free}
        if part:
            found |= resample(part, gold, groups, metrics=measured, **settings)
    return found


def _intervals(
    samples: Samples, answers: Mapping[str, Answers], gold: Ints, groups: Sequence[str] | None
) -> dict[str, dict[str, Interval]]:
    return {name: metric_intervals(found, answers[name].answer == gold, groups) for name, found in samples.items()}


def _spread(rung: Rung, test: Mapping[str, Interval], seed: int) -> dict[str, Spread]:
    """Mean and deviation over the rung and its repeats: those on its own split, and those on other splits."""
    own = {name: test[name].value for name in TESTED if name in test}
    sides: dict[str, list[Repeat]] = {
        "split fixed": [one for one in rung.repeats if one.split_seed == seed],
        "split varied": [one for one in rung.repeats if one.split_seed != seed],
    }
    spread = {}
    for side, repeats in sides.items():
        scores = [own, *(repeat.scores for repeat in repeats)]
        if len(scores) < 2:
            continue
        told = {name: [one.get(name, math.nan) for one in scores] for name in own}
        told = {name: values for name, values in told.items() if np.isfinite(values).all()}
        spread[side] = Spread(
            n=len(scores),
            mean={name: float(np.mean(values)) for name, values in told.items()},
            sd={name: float(np.std(values, ddof=1)) for name, values in told.items()},
        )
    return spread


def _doubters(lines: Sequence[Line], best: Line) -> list[Line]:
    """Whose word counts on a label: the best rung and the best of those not known to be worse, one a family.

    Where no other family is near it, the best rung of another family is heard, so that two must agree.
    """
    near = {line.rung.name for line in lines if line.standing in ("as good", "not told apart")}
    heard: dict[str, Line] = {}
    usable = [line for line in lines if line.rung.kind != "free"]
    for line in sorted(usable, key=lambda line: (line is not best, line.rung.name not in near, *rank(line.test))):
        counts = line is best or line.rung.name in near or len(heard) < 2
        if counts and len(heard) < _DOUBTERS:
            heard.setdefault(_family(line.rung), line)
    return list(heard.values())


def _family(rung: Rung) -> str:
    """Rungs that share a base err alike: "minilm" of minilm-logreg, and one for all language models."""
    return rung.name.split("-")[0] if rung.kind == "baseline" else rung.kind
