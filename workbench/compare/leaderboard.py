"""From scored candidates to a leaderboard: metrics with intervals, paired tests against the best, spread over seeds.

Statistics only: nothing is scored here and nothing is written. All candidates are put on the same bootstrap resamples,
in one pass, so that differences are paired. Each candidate's probabilities are read once for what the metrics need of
them, so that many labels need not fit into memory many times. The types are ``workbench.compare.board``'s.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

import baselines
from labelwright.data.task import Example, Task, group_keys
from labelwright.decisions.decision import Decision
from labelwright.decisions.measured import costs
from labelwright.decisions.whole_rows import WholeRows, whole_rows
from labelwright.errors import DataError
from labelwright.statistics.intervals import Interval, Resampled, mean_interval, metric_intervals, resample, wilson
from labelwright.statistics.metrics import METRICS, Answers, Floats, Ints, checked, ece_floor, macro_f1
from workbench.compare.asked.joint import WANTED, joint, several
from workbench.compare.board import (
    QUALITY,
    QUALITY_OF_FREE,
    By,
    Difference,
    Entry,
    Generation,
    Leaderboard,
    Spread,
    TestRows,
)
from workbench.compare.candidate import Candidate, Repeat, is_second_name
from workbench.compare.details import answered, confidence, paid, promised
from workbench.compare.differences import TESTED, Spent, against_best, between, rows_to_tell, standing
from workbench.compare.kept.learnt import Augmented, Lesson, Sought
from workbench.compare.noise import suspects
from workbench.compare.together.gain import gain_of
from workbench.compare.verdict import frontier, judge, labels_without_rows, rank
from workbench.recipe.stages import DISTILLED, SYNTHETIC
from workbench.recipe.tables.compare import CompareTable
from workbench.recipe.tables.search import SEARCHED

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
    task: Task | None = None,
    wanted: str = WANTED,
) -> Leaderboard:
    """Put numbers to every candidate, and a verdict to all of them.

    The best candidate is that of highest test accuracy, where the recipe has prices that of least cost a test row; of
    equal ones that of lower log loss. Free text is best only where nothing else was scored: it has no probabilities and
    cannot be shipped. Nor is a cascade of one member alone, which that one is already.

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
        Share of accuracy within which a candidate is as good as the best; with prices so many ordinary mistakes a row.
    task : Task, optional
        Needed where several points are asked of a row, to say what is true of whole rows.
    wanted : str
        By which metric of ``labelwright.statistics.label_sets`` candidates are then held against each other.

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
    # All have the task's prices, but for free text, which decides nothing.
    decisions = [one.candidate.decision for one in scored.values() if one.candidate.decision.prices is not None]
    by: By = "cost" if decisions else "accuracy"
    spent, priced = None, dict[str, dict[str, Interval]]()
    if decisions:
        decision = decisions[0]
        spent = Spent({name: _spent(one, decision, gold, len(names)) for name, one in scored.items()}, decision.span)
        margin *= decision.mistake
        priced = {name: _priced(one.candidate, gold, groups, spent) for name, one in scored.items()}
    answers = {name: one.answers for name, one in scored.items()}
    samples = _resampled(scored, answers, gold, groups, len(names), n_resamples=resamples, seed=seed)
    raw_answers = {name: one.raw for name, one in scored.items() if one.raw is not None}
    raw = _resampled(scored, raw_answers, gold, groups, len(names), n_resamples=resamples, seed=seed)
    quality, before = _intervals(samples, answers, gold, groups), _intervals(raw, raw_answers, gold, groups)
    closed = [name for name in scored if scored[name].candidate.kind != "free"]
    own = [name for name in closed if not is_second_name(scored[name].candidate.together)]
    best = min(own or closed or list(scored), key=lambda name: rank(quality[name], priced.get(name)))

    tested = against_best(best, answers, samples, gold, groups, spent)
    leads = {name: one["cost"].turned if spent else one["accuracy"] for name, one in tested.items()}
    entries = [
        _entry(one, quality, before, tested, leads, best, seed, margin, answers, gold)
        if not one.failed
        else _described(one)
        for one in candidates
    ]
    entries = [
        one if one.failed else replace(
            one, promised=promised(scored[one.name].candidate, gold, groups), priced=priced.get(one.name, {})
        )
        for one in entries
    ]  # fmt: skip

    whole = dict[str, WholeRows]()
    if task is not None and task.points:
        for name, one in scored.items():
            whole[name] = whole_rows(test, one.candidate.probs, task, one.candidate.decision, groups)
        of_rows = joint(whole, wanted, resamples, seed)
        entries = [replace(one, joint=of_rows.get(one.name)) for one in entries]

    def compare(a: str, b: str) -> Difference:
        if b == best:
            return leads[a]
        if a == best:
            return leads[b].turned
        return between(a, b, len(scored) - 1, answers, samples, gold, groups, spent)

    numbered = {entry.name: entry for entry in entries if not entry.failed}

    def pair(a: str, b: str) -> Interval | None:
        return between(a, b, 1, answers, samples, gold, groups).value if b in numbered else None

    taught = {name: _lesson(scored[name].candidate, numbered, pair) for name in numbered}
    entries = [replace(one, lesson=taught.get(one.name)) for one in entries]
    entries = [
        replace(one, augmented=Augmented(learnt, pair(one.name, one.name.removeprefix(SYNTHETIC))))
        if one.name in numbered and (learnt := scored[one.name].candidate.written)
        else one
        for one in entries
    ]
    entries = [
        replace(one, sought=Sought(found, pair(one.name, one.name.removeprefix(SEARCHED))))
        if one.name in numbered and (found := scored[one.name].candidate.searched)
        else one
        for one in entries
    ]
    numbered = {entry.name: entry for entry in entries if not entry.failed}
    rows = TestRows(
        n_rows=len(test),
        n_groups=len(set(group_keys(test))),
        without_rows=labels_without_rows(test, names),
        own_choices=any(row.choices for row in test),
    )

    def to_tell(name: str) -> float:
        assert spent is not None
        return rows_to_tell(name, best, len(scored) - 1, margin, groups, spent)

    verdict = judge(
        list(numbered.values()), numbered[best], rows, len(names), margin, compare, to_tell if spent else None
    )
    by_name = {name: one.candidate for name, one in scored.items()}
    verdict = replace(verdict, gain=gain_of(list(numbered.values()), by_name, margin, compare, len(test), seed))
    doubters = {name: scored[name].candidate.probs for name in _doubters(list(numbered.values()), numbered[best])}
    told = dict.fromkeys(name for name in (verdict.ship, verdict.best, verdict.tuned) if name)
    chief = dict.fromkeys(name for name in (best, verdict.ship, verdict.tuned, verdict.best_baseline) if name)
    return Leaderboard(
        verdict=verdict,
        labels=tuple(names),
        test_rows=rows,
        candidates=tuple(entries),
        frontier=frontier(entries, by),
        tables={name: answered(scored[name].candidate, gold, names, test) for name in told},
        confidence={name: confidence(scored[name].candidate, gold) for name in chief if name in closed},
        ece_floor=ece_floor(scored[best].candidate.probs) if best in closed else None,
        suspects=suspects("test", test, doubters, names) if len(doubters) > 1 else (),
        several=several(task, whole, entries, scored[verdict.ship].candidate, wanted) if task and whole else None,
    )


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
            found.append(candidate.decision.read(*checked(probs, gold)))
        except DataError as error:
            raise _NotProbabilitiesError(f"what is no probability ({error})") from error
    calibrated, raw = found
    assert calibrated is not None
    return calibrated, raw


def _described(candidate: Candidate, **measured: Any) -> Entry:
    """A candidate as it is told: what its arrays gave, and what it brings itself, as far as that is a number."""
    free = candidate.generation
    n_rows = int(free.get("n_rows", 0))
    return Entry(
        name=candidate.name,
        kind=candidate.kind,
        about=candidate.about,
        step=candidate.step,
        failed=candidate.failed or None,
        zero_shot=_learns_nothing(candidate),
        calibration=dict(candidate.calibration),
        repeats=tuple(replace(one, scores=_finite(one.scores)) for one in candidate.repeats),
        curve=candidate.curve,
        cost=dict(candidate.cost),
        generation=Generation(n_rows, *(wilson(free[key], n_rows) for key in ("valid", "right"))) if free else None,
        outside=dict(candidate.outside) or None,
        steering=dict(candidate.steering) or None,
        together=candidate.together,
        **measured,
    )


def _entry(
    candidate: Candidate,
    quality: Mapping[str, Any],
    before: Mapping[str, Any],
    tested: Mapping[str, Any],
    leads: Mapping[str, Difference],
    best: str,
    seed: int,
    margin: float,
    answers: Mapping[str, Answers],
    gold: Ints,
) -> Entry:
    """A candidate with its numbers, and where it is not the best one with its differences to that."""
    name, test = candidate.name, quality[candidate.name]
    found = {"test": test, "raw": before.get(name, {}), "spread": _spread(candidate, test, seed)}
    if name == best:
        return _described(candidate, standing="best", **found)
    right, best_right = (answers[one].answer == gold for one in (name, best))
    return _described(
        candidate,
        n_only_this=int((right & ~best_right).sum()),
        n_only_best=int((best_right & ~right).sum()),
        standing=standing(leads[name], margin),
        against_best=tested[name],
        **found,
    )


def _spent(one: _Scored, decision: Decision, gold: Ints, n_labels: int) -> Floats:
    """What a candidate's answer to each test row cost; in free text one that is no label is none."""
    candidate = one.candidate
    if candidate.kind == "free":
        return decision.realised(gold, np.where(one.answers.answer < n_labels, one.answers.answer, -1))
    return paid(candidate, gold)


def _priced(candidate: Candidate, gold: Ints, groups: Sequence[str] | None, spent: Spent) -> dict[str, Interval]:
    """What a candidate's answers cost on average, and what they would have otherwise."""
    if candidate.kind == "free":
        return {"cost": mean_interval(spent.rows[candidate.name], groups)}
    return costs(candidate.decision, candidate.probs, gold, groups, candidate.away)


def _lesson(
    candidate: Candidate, numbered: Mapping[str, Entry], pair: Callable[[str, str], Interval | None]
) -> Lesson | None:
    """How a student stands to its teacher and to itself without the pool; None for who is none."""
    if (learnt := candidate.distilled) is None:
        return None
    name, teacher = candidate.name, numbered.get(learnt.teacher)
    ratio = teacher.ms / own if teacher and teacher.ms and (own := numbered[name].ms) else None
    return Lesson(learnt, ratio, pair(name, learnt.teacher), pair(name, name.removeprefix(DISTILLED)))


def _finite(scores: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in scores.items() if math.isfinite(value)}


def _learns_nothing(candidate: Candidate) -> bool:
    """It looks at no label of a training row."""
    if candidate.kind == "baseline":
        return bool(getattr(baselines.BASELINES.get(candidate.name), "zero_shot", False))
    if candidate.kind == "searched":
        return False  # dev rows chose its settings
    return set(candidate.name.partition("@")[0].split("+")) <= {"untuned", "free", "prior"}


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
    of_free["macro_f1"] = replace(METRICS["macro_f1"], measure=partial(macro_f1, n_labels=n_labels))
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


def _doubters(entries: Sequence[Entry], best: Entry) -> list[str]:
    """Whose word counts on a label: the best candidate and the best of those not known to be worse, one a family.

    Where no other family is near it, the best candidate of another family is heard, so that two must agree.
    """
    near = {one.name for one in entries if one.standing in ("as good", "not told apart")}
    heard: dict[str, str] = {}
    # Who is made of others, or learnt from one, says what they say.
    usable = [one for one in entries if one.kind not in ("free", "together", "distilled", "synthetic", "searched")]
    for one in sorted(usable, key=lambda one: (one is not best, one.name not in near, *rank(one.test, one.priced))):
        counts = one is best or one.name in near or len(heard) < 2
        if counts and len(heard) < _DOUBTERS:
            heard.setdefault(_family(one), one.name)
    return list(heard.values())


def _family(entry: Entry) -> str:
    """Candidates that share a base err alike: "minilm" of minilm-logreg, and one for all language models."""
    return entry.name.split("-")[0] if entry.kind == "baseline" else entry.kind
