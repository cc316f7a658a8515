"""A tree of labels: how far down every candidate is right, as it answers and level by level."""

from __future__ import annotations

from dataclasses import replace

from labelwright.statistics.hierarchical import tree_metrics
from workbench.report.report import Report
from workbench.report.table import Table
from workbench.report.tables.asked.structured import of_question, questions_of

_LEGEND = (
    "Right at a depth: the label that is said lies under the right node there. Hierarchical precision, recall and F1 "
    "count the nodes on the paths of all rows, each label's own among them (Kiritchenko et al. 2005)."
)
_LEVEL_BY_LEVEL = (
    "From the same probabilities: at each node the child is taken whose labels have the most probability together, in "
    "place of the likeliest label of all."
)
_PREFIX = "level_by_level"


def paths(report: Report) -> list[Table]:
    """As it answers, and level by level; none where labels are no paths."""
    found = []
    for question in questions_of(report, "tree"):
        best = report.entry(report.verdict.best).structured[question]
        depth = max(int(name.rpartition("_")[2]) for name in best.metrics if name.startswith("right_at_"))
        metrics = tree_metrics(depth)
        plain = {name: one for name, one in metrics.items() if not name.startswith(_PREFIX)}
        found.append(of_question(report, question, plain, "tree", "A tree of labels", _LEGEND))
        downwards = {name: one for name, one in metrics.items() if name.startswith(_PREFIX)}
        table = of_question(report, question, downwards, "tree", "A tree of labels", _LEVEL_BY_LEVEL)
        found.append(replace(table, of="level by level"))
    return found
