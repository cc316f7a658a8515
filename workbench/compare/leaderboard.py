"""From scored candidates to a leaderboard: metrics with intervals, paired tests against the best, spread over seeds.

Statistics only: nothing is scored here and nothing is written. All candidates are put on the same bootstrap resamples,
in one pass, so that differences are paired. Each candidate's probabilities are read once for what the metrics need of
them, so that many labels need not fit into memory many times. The types are ``workbench.compare.board``'s.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from labelwright.data.task import Example, group_keys
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
from workbench.compare.candidate import Candidate, Repeat
from workbench.compare.differences import TESTED, against_best, between, standing
from workbench.compare.frontier import frontier
from workbench.compare.noise import suspects
from workbench.compare.verdict import judge, rank
from workbench.recipe.recipe import CompareTable

__all__ = ["QUALITY", "Difference", "Leaderboard", "Line", "Spread", "Suspect", "Verdict", "build"]

# How many candidates at most must doubt a label: with more, one that is often wrong would acquit too many rows.
_DOUBTERS = 3

Samples = dict[str, dict[str, Resampled]]


@dataclass(frozen=True)
class _Scored:
    """A candidate that can be measured, and what metrics need of its probabilities; ``raw`` is None for free text."""

    candidate: Candidate
    answers: Answers
    raw: Answers | None


def build(
    candidates: Sequence[Candidate],
    test: Sequence[Example],
    names: Sequence[str],
    resamples: int,
    seed: int,
    margin: float = CompareTable.margin,
) -> Leaderboard:
    """Put numbers and words to every candidate.

    The best candidate is that of highest test accuracy, of equal ones that of lower log loss. Free text is best only
    where nothing else was scored: it has no probabilities and cannot be shipped.

    Parameters
    ----------
    candidates : sequence of Candidate
        In the comparison's order; at least one that did not fail. Their names differ. One whose probabilities are none
        (NaN) has failed.
    test : sequence of n_test Example
        The rows behind ``Candidate.probs``, one or more. Groups are drawn whole where the rows have them.
    names : sequence of str
        The labels, in the order of the columns.
    resamples : int
        Bootstrap resamples.
    seed : int
        The run's: that of the resamples, and the one by which the candidates' own splits were dealt.
    margin : float
        Share of accuracy within which a candidate is as good as the best.

    Raises
    ------
    DataError
        No test rows; no candidate was scored; or probabilities that do not fit rows and labels.
    """
    if not test:
        raise DataError("there are no test rows, so there is nothing to compare: give [splits] test a share")
    gold = np.array([names.index(str(row.label)) for row in test], dtype=np.int64)
    groups = _groups(test)
    candidates, scored = _measurable(candidates, gold, names)
    if not scored:
        reasons = "; ".join(f"{candidate.name}: {candidate.failed}" for candidate in candidates)
        raise DataError(
            f"none of {len(candidates)} candidates could be scored, so there is nothing to compare ({reasons})"
        )
    answers = {name: one.answers for name, one in scored.items()}
    samples = _resampled(scored, answers, gold, groups, len(names), n_resamples=resamples, seed=seed)
    raw_answers = {name: one.raw for name, one in scored.items() if one.raw is not None}
    raw = _resampled(scored, raw_answers, gold, groups, len(names), n_resamples=resamples, seed=seed)
    quality, before = _intervals(samples, answers, gold, groups), _intervals(raw, raw_answers, gold, groups)
    closed = [name for name in scored if scored[name].candidate.kind != "free"]
    best = min(closed or list(scored), key=lambda name: rank(quality[name]))

    tested = against_best(best, answers, samples, gold, groups)
    lines = [
        _line(candidate, quality, before, tested, best, seed, margin, answers, gold)
        if not candidate.failed
        else Line(candidate)
        for candidate in candidates
    ]

    def compare(a: Candidate, b: Candidate) -> Difference:
        if b.name == best:
            return tested[a.name]["accuracy"]
        if a.name == best:
            return _turned(tested[b.name]["accuracy"])
        return between(a.name, b.name, len(scored) - 1, answers, samples, gold, groups)

    numbered = [line for line in lines if line.test]
    (first,) = (line for line in numbered if line.candidate.name == best)
    verdict = judge(numbered, first, gold, names, margin, compare)
    doubters = {line.candidate.name: line.candidate.probs for line in _doubters(numbered, first)}
    found = suspects("test", test, doubters, names) if len(doubters) > 1 else ()
    return Leaderboard(tuple(lines), verdict, gold, found, frontier(lines))


def _measurable(
    candidates: Sequence[Candidate], gold: Ints, names: Sequence[str]
) -> tuple[list[Candidate], dict[str, _Scored]]:
    """All candidates, those failed whose probabilities are none; and by name those that can be measured."""
    every, scored = [], {}
    for candidate in candidates:
        if not candidate.failed:
            try:
                scored[candidate.name] = _Scored(candidate, *_read(candidate, gold, len(names)))
            except _NotProbabilitiesError as error:
                candidate = Candidate(
                    candidate.name, candidate.kind, candidate.about, candidate.step, failed=f"it answered with {error}"
                )
        every.append(candidate)
    return every, scored


class _NotProbabilitiesError(DataError):
    """A candidate's numbers are of the right shape and are no probabilities."""


def _read(candidate: Candidate, gold: Ints, n_labels: int) -> tuple[Answers, Answers | None]:
    """What the metrics need of a candidate's probabilities, calibrated and before."""
    is_free = candidate.kind == "free"
    found: list[Answers | None] = []
    for probs in (candidate.probs, None if is_free else candidate.raw):
        if probs is None or (found and not probs.size):
            found.append(None)
            continue
        expected = (len(gold), n_labels + is_free)
        if probs.shape != expected:
            raise DataError(
                f"{candidate.name}: probabilities of shape {probs.shape} for {len(gold)} test rows and {n_labels} "
                "labels: "
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
    candidate: Candidate,
    quality: Mapping[str, Any],
    before: Mapping[str, Any],
    tested: Mapping[str, Any],
    best: str,
    seed: int,
    margin: float,
    answers: Mapping[str, Answers],
    gold: Ints,
) -> Line:
    """A candidate with its numbers, and where it is not the best one with its differences to that."""
    name, test = candidate.name, quality[candidate.name]
    spread, raw = _spread(candidate, test, seed), before.get(name, {})
    if name == best:
        return Line(candidate, test, raw, spread=spread, standing="best")
    right, best_right = (answers[one].answer == gold for one in (name, best))
    stands: Standing = standing(tested[name]["accuracy"], margin)
    only_this, only_best = int((right & ~best_right).sum()), int((best_right & ~right).sum())
    return Line(candidate, test, raw, only_this, only_best, tested[name], spread, stands)


def _turned(one: Difference) -> Difference:
    value, low, high = one.value
    return Difference(Interval(-value, -high, -low), one.p_value, one.p_holm)


def _groups(test: Sequence[Example]) -> list[str] | None:
    """The rows' groups; None where no row has one, for then rows are drawn in their own order."""
    return None if all(row.group is None for row in test) else group_keys(test)


def _resampled(
    scored: Mapping[str, _Scored],
    answers: Mapping[str, Answers],
    gold: Ints,
    groups: Sequence[str] | None,
    n_labels: int,
    **settings: Any,
) -> Samples:
    """Every metric of every candidate; of free text those without probabilities, the last column being no label."""
    metrics = {name: METRICS[name] for name in QUALITY}
    of_free = {name: METRICS[name] for name in QUALITY_OF_FREE}
    of_free["macro_f1"] = partial(METRICS["macro_f1"], n_labels=n_labels)
    found: Samples = {}
    for is_free, measured in ((False, metrics), (True, of_free)):
        part = {name: one for name, one in answers.items() if (scored[name].candidate.kind == "free") == is_free}
        if part:
            found |= resample(part, gold, groups, metrics=measured, **settings)
    return found


def _intervals(
    samples: Samples, answers: Mapping[str, Answers], gold: Ints, groups: Sequence[str] | None
) -> dict[str, dict[str, Interval]]:
    return {name: metric_intervals(found, answers[name].answer == gold, groups) for name, found in samples.items()}


def _spread(candidate: Candidate, test: Mapping[str, Interval], seed: int) -> dict[str, Spread]:
    """Mean and deviation over the candidate and its repeats: those on its own split, and those on other splits."""
    own = {name: test[name].value for name in TESTED if name in test}
    sides: dict[str, list[Repeat]] = {
        "split fixed": [one for one in candidate.repeats if one.split_seed == seed],
        "split varied": [one for one in candidate.repeats if one.split_seed != seed],
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
    """Whose word counts on a label: the best candidate and the best of those not known to be worse, one a family.

    Where no other family is near it, the best candidate of another family is heard, so that two must agree.
    """
    near = {line.candidate.name for line in lines if line.standing in ("as good", "not told apart")}
    heard: dict[str, Line] = {}
    usable = [line for line in lines if line.candidate.kind != "free"]
    for line in sorted(usable, key=lambda line: (line is not best, line.candidate.name not in near, *rank(line.test))):
        counts = line is best or line.candidate.name in near or len(heard) < 2
        if counts and len(heard) < _DOUBTERS:
            heard.setdefault(_family(line.candidate), line)
    return list(heard.values())


def _family(candidate: Candidate) -> str:
    """Candidates that share a base err alike: "minilm" of minilm-logreg, and one for all language models."""
    return candidate.name.split("-")[0] if candidate.kind == "baseline" else candidate.kind
