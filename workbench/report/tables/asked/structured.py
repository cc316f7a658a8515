"""What tables of labels with a structure share: a metric a column, and how each differs from the best one's."""

from __future__ import annotations

from collections.abc import Mapping

from labelwright.statistics.metrics import Metric
from workbench.compare.board import Entry, Structure
from workbench.report.report import Report
from workbench.report.table import CANDIDATE, NOTHING, Cell, Column, Table
from workbench.wording import p_value, parts

_DIFFERENCES = (
    "In brackets 95 % intervals, bootstrapped, whole groups together. Differences are paired; their intervals hold for "
    "all candidates together (Bonferroni), their p-values are corrected over the candidates (Holm)."
)


def questions_of(report: Report, kind: Structure) -> list[str]:
    """The questions of a kind, by name."""
    best = report.entry(report.verdict.best)
    return [name for name, one in best.structured.items() if one.kind == kind]


def of_question(
    report: Report, question: str, metrics: Mapping[str, Metric], section: str, title: str, legend: str
) -> Table:
    """Every candidate's metrics of a question, and these minus those of the best candidate."""
    best, columns = report.verdict.best, [CANDIDATE]
    for metric in metrics.values():
        plain = metric.title.removesuffix(" %")
        columns += [Column(metric.title), Column(f"{plain} minus {best}'s"), Column(f"{plain}: p, Holm")]
    entries = [entry for entry in report.scored if question in entry.structured]
    rows = [_row(entry, question, metrics) for entry in entries]
    n_rows = entries[0].structured[question].n_rows
    about = f"{n_rows} test rows, all of which have a right answer to it." if question else ""
    return Table(section, title, columns, rows, of=question, about=about, remarks=[legend, _DIFFERENCES])


def _row(entry: Entry, question: str, metrics: Mapping[str, Metric]) -> list[Cell]:
    found, row = entry.structured[question], [Cell(entry.name)]
    for name, metric in metrics.items():
        if name not in found.metrics:
            row += [NOTHING] * 3
            continue
        row.append(Cell(*parts(found.metrics[name], metric.is_share)))
        difference = found.to_best.get(name)
        row += (
            [Cell(*parts(difference.value, metric.is_share, signed=True)), Cell(p_value(difference.p_holm))]
            if difference
            else [NOTHING] * 2
        )
    return row
