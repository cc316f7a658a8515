"""Levels in order: how far off every candidate is, and by how much it differs from the best one."""

from __future__ import annotations

from labelwright.statistics.ordered import ORDERED
from workbench.report.report import Report
from workbench.report.table import Table
from workbench.report.tables.asked.structured import of_question, questions_of

_LEGEND = (
    "Mean absolute error is the mean distance of the level that is said from the right one, in what levels count as; "
    "of the mean level, that of the mean of all levels, weighted by their probabilities. Kappa is 0 for answers that "
    "are independent of the right ones; Spearman ranks rows by their mean level. A row without an answer counts as the "
    "farthest level."
)


def ordered(report: Report) -> list[Table]:
    """A table for each question of ordered levels; none where there is none."""
    return [
        of_question(report, question, ORDERED, "ordered", "Levels in order", _LEGEND)
        for question in questions_of(report, "levels")
    ]
