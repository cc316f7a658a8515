"""The candidates that matter most, label by label."""

from __future__ import annotations

from workbench.compare.board import Answered
from workbench.report.report import Report
from workbench.report.table import Column, Make, Table

_N_PAIRS = 10
_MADE: dict[Column, Make] = {
    Column("label", "words"): lambda one: one.label,
    Column("rows"): lambda one: str(one.n_rows),
    Column("answered"): lambda one: str(one.n_predicted),
    Column("precision %"): lambda one: f"{100 * one.precision:.0f}",
    Column("recall %"): lambda one: f"{100 * one.recall:.0f}",
    Column("F1 %"): lambda one: f"{100 * one.f1:.0f}",
}


def by_label(report: Report) -> list[Table]:
    """Scores of every label, the hardest on top, and the labels that are taken for each other."""
    plots = {report.verdict.ship: "confusion-shipped", report.verdict.best: "confusion"}
    return [
        Table.of_each(
            "labels",
            "Labels",
            sorted((label for label in one.labels if label.n_rows or label.n_predicted), key=lambda label: label.f1),
            _MADE,
            of=name,
            about=_confused(one),
            plots=[plots[name]] if name in plots else [],
            is_folded=True,
        )
        for name, one in report.tables.items()
    ]


def _confused(one: Answered) -> str:
    """The pairs of labels that are taken for each other most."""
    if not one.n_wrong:
        return "No row is confused."
    pairs = sorted((pair for pair in one.confusion if pair[0] != pair[1]), key=lambda pair: -pair[2])[:_N_PAIRS]
    # Of many single mistakes none is more telling than the others.
    least = 1 if one.n_wrong <= len(pairs) else 2
    said = [f"{one.labels[i].label} taken for {one.labels[j].label} ({n})" for i, j, n in pairs if n >= least]
    return f"Most often confused: {'; '.join(said)}." if said else "No pair of labels is confused more than once."
