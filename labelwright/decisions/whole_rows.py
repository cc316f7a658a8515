"""Rows of several points, put together again: what was right and said of each, and what that comes to with intervals.

A row stands once a point among the examples (``labelwright.data.asked``), so that shares of examples are shares of
*answers*. Here is what is true of *rows*: the labels that a question of any labels gave them, and whether all answers
to a row are right. Used by the calibrate stage, ``labelwright evaluate`` and the comparison.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from labelwright.data.asked.questions import YES, Question
from labelwright.data.asked.rows import rejoined
from labelwright.data.task import Example, Task
from labelwright.decisions.decision import Decision
from labelwright.statistics.intervals import N_RESAMPLES, Interval
from labelwright.statistics.label_sets import Bools, LabelSets, resampled_sets, set_intervals
from labelwright.statistics.metrics import Floats, Ints
from labelwright.statistics.proportions import share_interval


@dataclass(frozen=True)
class Told:
    """The rows that have an answer to one question, and what was said of them.

    Attributes
    ----------
    question : Question
    rows : int64 ndarray of shape (n_own_rows,)
        Positions of these among all rows.
    exact : bool ndarray of shape (n_own_rows,)
        Whether all that was asked by the question is right.
    sets : LabelSets, optional
        Of a question that takes any of its labels: the labels right and said.
    """

    question: Question
    rows: Ints
    exact: Bools
    sets: LabelSets | None = None


@dataclass(frozen=True)
class WholeRows:
    """Rows with what was said of them.

    Attributes
    ----------
    n_rows, n_answers : int
        Rows, and examples that they stand as.
    groups : list of str, optional
        The group of each row; None where none was given.
    exact : bool ndarray of shape (n_rows,)
        Whether all answers to the row that are known are right.
    questions : tuple of Told
        In the task's order; without those that no row has an answer to.
    """

    n_rows: int
    n_answers: int
    groups: list[str] | None
    exact: Bools
    questions: tuple[Told, ...]

    def groups_of(self, told: Told) -> list[str] | None:
        """The groups of a question's own rows."""
        return None if self.groups is None else [self.groups[row] for row in told.rows.tolist()]


def whole_rows(
    examples: Sequence[Example],
    probs: Floats,
    task: Task,
    decision: Decision,
    groups: Sequence[str] | None = None,
) -> WholeRows:
    """Examples of a task with several points, put together to rows.

    A row on which the decision abstains counts by what it would have said, as in all metrics.

    Parameters
    ----------
    examples : sequence of n_examples Example
    probs : ndarray of shape (n_examples, n_classes)
    groups : sequence of n_examples, optional
        The group of each example; those of a row are of one.

    Raises
    ------
    DataError
        As ``labelwright.data.asked.rows.rejoined``, or a label that is none of the task's classes.
    """
    points, found = task.points, rejoined(examples, task.points)
    row, point = np.array(found.row, dtype=np.int64), np.array(found.point, dtype=np.int64)
    column = {name: place for place, name in enumerate(task.names)}
    gold = np.array([column[example.label] for example in examples], dtype=np.int64)
    choice = decision.decide(probs).choice
    shape = len(found.first), len(points)
    known, right, answered = (np.zeros(shape, dtype=bool) for _ in range(3))
    at = row, point
    known[at], right[at], answered[at] = True, choice == gold, choice >= 0
    yes = np.array([column.get(one.class_of(YES), 0) for one in points])[point]
    is_gold, is_said, of_yes = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool), np.zeros(shape)
    is_gold[at], is_said[at], of_yes[at] = gold == yes, choice == yes, probs[np.arange(len(probs)), yes]
    questions = []
    for number, question in enumerate(task.questions):
        places = np.flatnonzero([one.question == number for one in points])
        rows = np.flatnonzero(known[:, places].any(axis=1))
        if not len(rows):
            continue
        own = np.ix_(rows, places)
        sets = LabelSets(is_gold[own], is_said[own], of_yes[own], known[own], answered[own])
        exact = np.asarray((right[own] | ~known[own]).all(axis=1))
        questions.append(Told(question, rows, exact, sets if question.kind == "labels" else None))
    of_rows = None if groups is None else [groups[i] for i in found.first]
    exact = np.asarray((right | ~known).all(axis=1))
    return WholeRows(shape[0], len(examples), of_rows, exact, tuple(questions))


def joint_metrics(
    whole: WholeRows, n_resamples: int = N_RESAMPLES, seed: int = 0
) -> tuple[Interval, Mapping[str, Mapping[str, Interval]]]:
    """Exact match of whole rows, and by question its metrics on rows, each with a 95 % interval.

    Of a question that takes any of its labels these are ``labelwright.statistics.label_sets.SET_METRICS``; of others
    ``exact_match`` alone, the share of rows with the right answer.
    """
    found: dict[str, Mapping[str, Interval]] = {}
    for told in whole.questions:
        groups = whole.groups_of(told)
        if told.sets is None:
            found[told.question.name] = {"exact_match": share_interval(told.exact, groups)}
            continue
        resampled = resampled_sets({"": told.sets}, groups, n_resamples=n_resamples, seed=seed)[""]
        found[told.question.name] = set_intervals(told.sets, resampled, groups)
    return share_interval(whole.exact, whole.groups), found
