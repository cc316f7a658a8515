"""The report's tables: what they hold, as text, each in a file of its own.

A table is added by a file with one function of the report and a line in ``TABLES``; the renderers (Markdown, the page,
the terminal, MLflow) show whatever ``tables`` gives them. No markup is made here, and no statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module

from workbench.report.report import Report
from workbench.report.table import Table

# Files of this folder, each with the function in it that makes its tables; in the report's order, and those of one
# section together.
TABLES = (
    "leaderboard.leaderboard",
    "joint.rows",
    "joint.sets",
    "joint.labels",
    "joint.said_from",
    "costs.costs",
    "costs.money",
    "costs.person",
    "together.together",
    "together.hosted",
    "together.distilled",
    "asked.ordered.ordered",
    "asked.paths.paths",
    "trainings.learning",
    "trainings.synthetic",
    "trainings.searches",
    "trainings.seeds",
    "paired.paired",
    "by_label.by_label",
    "rows.mistakes",
    "rows.suspects",
    "rows.steering",
    "decisions.promises",
    "decisions.prices",
    "confidence.confidence",
    "stages.stages",
    "leaderboard.left_out",
    "stages.made",
)


def tables(report: Report) -> list[Table]:
    """Every table of a report; all of its faces show these."""
    return [table for name in TABLES for table in _maker(name)(report)]


def _maker(name: str) -> Callable[[Report], Sequence[Table]]:
    file, _, function = name.rpartition(".")
    maker: Callable[[Report], Sequence[Table]] = getattr(import_module(f"{__name__}.{file}"), function)
    return maker
