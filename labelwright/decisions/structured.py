"""What answers are worth where labels have a structure: levels in order, a question at a time, or paths of a tree.

Who measures (``labelwright evaluate``, the comparison) takes these beside the metrics of every task. What is wrong by a
little and by a lot is told apart here and nowhere else; right and wrong stay what they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from labelwright.data.asked.classes import columns_of
from labelwright.data.asked.levels import level_values
from labelwright.data.task import Task
from labelwright.decisions.decision import Decision
from labelwright.statistics.hierarchical import paths_of, tree_metrics
from labelwright.statistics.intervals import Interval, bootstrap_intervals
from labelwright.statistics.metrics import Answers, Floats, Ints, Metric
from labelwright.statistics.ordered import ORDERED, levels_of

Kind = Literal["levels", "tree"]


@dataclass(frozen=True)
class Structured:
    """Answers to one question whose labels have a structure.

    Attributes
    ----------
    question : str
        Its name; empty where nothing else is asked.
    kind : {"levels", "tree"}
    rows : int64 ndarray of shape (n_answers,)
        Positions of the rows that it is asked of.
    answers : Answers
        As ``metrics`` need them.
    gold : int64 ndarray of shape (n_answers,)
    metrics : mapping of name to Metric
    """

    question: str
    kind: Kind
    rows: Ints
    answers: Answers
    gold: Ints
    metrics: Mapping[str, Metric]

    def groups(self, groups: Sequence[str] | None) -> list[str] | None:
        """The groups of its rows, of those of all rows."""
        return None if groups is None else [groups[row] for row in self.rows.tolist()]


def structured(task: Task, decision: Decision, probs: Floats, gold: Ints) -> list[Structured]:
    """Every question whose labels have a structure, and what was answered to it; none for a plain list of labels.

    A row on which the decision abstains counts by the label that it would have said, as everywhere.

    Parameters
    ----------
    probs : ndarray of shape (n_rows, n_labels or more)
        Columns behind the labels', of answers that are no label, count as no answer.
    gold : int ndarray of shape (n_rows,)
    """
    labels = probs[:, : len(task.names)]
    said = decision.decide(labels).choice
    if task.tree:
        paths = paths_of(labels, gold, task.tree.at, task.tree.lengths, said)
        return [Structured("", "tree", np.arange(len(gold)), paths, gold, tree_metrics(task.tree.depth))]
    return [
        _levels(name, labels[rows, columns], gold[rows] - columns.start, said[rows] - columns.start, rows, values)
        for name, columns, values in _scores(task)
        if len(rows := np.flatnonzero((gold >= columns.start) & (gold < columns.stop)))
    ]


def structured_metrics(
    task: Task, decision: Decision, probs: Floats, gold: Ints, groups: Sequence[str] | None = None
) -> dict[str, Interval]:
    """Their metrics with intervals, by name, behind the question's where several are asked; as ``structured``."""
    found: dict[str, Interval] = {}
    for one in structured(task, decision, probs, gold):
        measured = bootstrap_intervals(one.answers, one.gold, one.groups(groups), metrics=one.metrics)
        found |= {f"{one.question}: {key}" if one.question else key: value for key, value in measured.items()}
    return found


def _scores(task: Task) -> Iterator[tuple[str, slice, list[float]]]:
    """Of each question of levels its name, its columns, and what its levels count as."""
    if not task.points:
        if task.questions and task.questions[0].kind == "score":
            yield "", slice(0, len(task.names)), level_values(task.names)
        return
    for point, columns in zip(task.points, columns_of(task.points), strict=True):
        if task.questions[point.question].kind == "score":
            yield point.name, columns, level_values([answer.name for answer in point.answers])


def _levels(name: str, probs: Floats, gold: Ints, said: Ints, rows: Ints, values: Sequence[float]) -> Structured:
    said = np.where((probs > 0).any(axis=1), said, -1)
    return Structured(name, "levels", rows, levels_of(probs, gold, values, said), gold, ORDERED)
