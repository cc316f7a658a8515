"""Whole rows under every candidate: metrics with intervals, differences to the best by one, what thresholds gained.

All candidates are put on the same resamples, so that differences are paired, as those of the leaderboard are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from labelwright.data.task import Task
from labelwright.decisions.whole_rows import Told, WholeRows
from labelwright.statistics.intervals import LEVEL, Interval, Resampled, holm, resampled
from labelwright.statistics.label_sets import SET_METRICS, per_label, resampled_sets, set_intervals
from labelwright.statistics.label_thresholds import HALF, said_from
from labelwright.statistics.proportions import share_interval
from workbench.compare.board import Difference, Entry, Joint, LabelScores, LabelsOf, Several
from workbench.compare.candidate import Candidate
from workbench.compare.differences import TOLD_APART, agreeing

# By what candidates are held against each other where the recipe maximises nothing.
WANTED = "micro_f1"


def joint(rows: Mapping[str, WholeRows], wanted: str, n_resamples: int, seed: int) -> dict[str, Joint]:
    """What is true of whole rows, by candidate.

    Parameters
    ----------
    rows : mapping of candidate to WholeRows
        All of the same rows.
    wanted : str
        One of ``labelwright.statistics.label_sets.SET_METRICS``, of which higher is better.
    """
    first = next(iter(rows.values()))
    found = {name: Joint(share_interval(one.exact, one.groups), {}) for name, one in rows.items()}
    for place, told in enumerate(first.questions):
        groups, own = first.groups_of(told), {name: one.questions[place] for name, one in rows.items()}
        question = told.question.name
        if told.sets is None:
            for name, one in found.items():
                right = {"exact_match": share_interval(own[name].exact, groups)}
                found[name] = replace(one, questions={**one.questions, question: right})
            continue
        sets = {name: one.sets for name, one in own.items() if one.sets is not None}
        samples = resampled_sets(sets, groups, n_resamples=n_resamples, seed=seed)
        against = _against_best({name: one[wanted] for name, one in samples.items()})
        for name, one in found.items():
            numbers = set_intervals(sets[name], samples[name], groups)
            gained = _gained(own[name], groups, wanted, n_resamples, seed)
            found[name] = replace(
                one,
                questions={**one.questions, question: numbers},
                against_best={**one.against_best, **({question: against[name]} if name in against else {})},
                gained={**one.gained, **({question: gained} if gained else {})},
            )
    return found


def several(
    task: Task, rows: Mapping[str, WholeRows], entries: Sequence[Entry], ships: Candidate, wanted: str
) -> Several:
    """How many rows there are, who is best by the wanted metric, and the labels of the candidate to ship."""
    whole, questions = rows[ships.name], {}
    numbers = {one.name: one.joint.questions for one in entries if one.joint is not None}
    from_ = ships.said_from or (HALF,) * len(task.points)
    for told in whole.questions:
        if told.sets is None:
            continue
        name, number = told.question.name, task.questions.index(told.question)
        scores = per_label(told.sets, [label.name for label in told.question.labels])
        own = tuple(one for point, one in zip(task.points, from_, strict=True) if point.question == number)
        best = max(numbers, key=lambda candidate, name=name: numbers[candidate][name][wanted].value)  # type: ignore[misc]
        questions[name] = LabelsOf(len(told.rows), best, tuple(LabelScores(**one) for one in scores), own)
    return Several(whole.n_rows, wanted, questions)


def _against_best(samples: Mapping[str, Resampled]) -> dict[str, Difference]:
    """Every other candidate minus the first one of highest value; intervals hold for all together, p after Holm."""
    best = max(samples, key=lambda name: samples[name].value)
    differences = {name: one.minus(samples[best]) for name, one in samples.items() if name != best}
    p_values = {name: one.p_value() for name, one in differences.items()}
    corrected, level = holm(p_values), 1 - TOLD_APART / max(1, len(differences))
    return {
        name: Difference(agreeing(one.interval(level), corrected[name]), p_values[name], corrected[name])
        for name, one in differences.items()
    }


def _gained(told: Told, groups: Sequence[str] | None, wanted: str, n_resamples: int, seed: int) -> Interval | None:
    """What its thresholds gained; None where all labels are said from a half on."""
    assert told.sets is not None
    half = said_from(told.sets, np.full(told.sets.gold.shape[1], HALF))
    if (half.said == told.sets.said).all():
        return None
    metric, now = SET_METRICS[wanted], told.sets
    measures = {"now": lambda weights: metric(now, weights), "half": lambda weights: metric(half, weights)}
    found = resampled(measures, len(now.gold), groups, n_resamples=n_resamples, seed=seed)
    return found["now"].minus(found["half"]).interval(LEVEL)
