"""The report's tables: what they hold, as text, each in a file of its own.

A table is added by a file with one function of the report and a line in ``TABLES``; the renderers (Markdown, the page,
the terminal, MLflow) show whatever ``tables`` gives them. No markup is made here, and no statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from workbench.report.report import Report
from workbench.report.table import Table
from workbench.report.tables.by_label import by_label
from workbench.report.tables.confidence import confidence
from workbench.report.tables.costs import costs
from workbench.report.tables.leaderboard import leaderboard, left_out
from workbench.report.tables.made import made
from workbench.report.tables.paired import paired
from workbench.report.tables.rows import mistakes, suspects
from workbench.report.tables.stages import stages
from workbench.report.tables.trainings import learning, seeds

# In the report's order; those of one section stand together.
TABLES: tuple[Callable[[Report], Sequence[Table]], ...] = (
    leaderboard,
    costs,
    learning,
    seeds,
    paired,
    by_label,
    mistakes,
    suspects,
    confidence,
    stages,
    left_out,
    made,
)


def tables(report: Report) -> list[Table]:
    """Every table of a report; all of its faces show these."""
    return [table for make in TABLES for table in make(report)]
