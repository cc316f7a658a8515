"""Who answers in candidates that are made of others, and with which rows."""

from __future__ import annotations

from workbench.compare.board import Entry
from workbench.compare.candidate import Asking
from workbench.report.report import Report
from workbench.report.table import CANDIDATE, NOTHING, Cell, Column, Table
from workbench.wording import listed, milliseconds, number

_HOW = {"log": "log-probabilities", "probability": "probabilities"}
_LEGEND = (
    "Weights are chosen on dev, thresholds on calib; the numbers are of the test rows. A level answers rows that it "
    "is sure enough of, the next one the rest. Milliseconds of a cascade are a mean over the test rows, its levels' as "
    "they were timed alone; members that read rows through one encoder share its pass."
)


def together(report: Report) -> list[Table]:
    """Every level of every ensemble and cascade."""
    rows = [
        _row(entry, level, number)
        for entry in report.scored
        if entry.together
        for number, level in enumerate(entry.together.levels)
    ]
    columns = [CANDIDATE, Column("asks", "text"), Column("answers where sure to"), Column("answers % of rows")]
    columns += [Column("right on % of them"), Column("ms/row")]
    plots = ["cascade"] if any(entry.together and entry.together.curve for entry in report.scored) else []
    return [Table("together", "Several together", columns, rows, remarks=[_LEGEND] if rows else [], plots=plots)]


def _row(entry: Entry, level: Asking, place: int) -> list[Cell]:
    assert entry.together is not None
    members = [f"{name} {weight:.0%}" if len(level.weights) > 1 else name for name, weight in level.weights.items()]
    return [
        Cell(entry.name, f"level {place + 1}" if len(entry.together.levels) > 1 else ""),
        Cell(listed(members), f"mean of {_HOW[entry.together.mean]}" if len(members) > 1 else ""),
        NOTHING if level.threshold is None else Cell(f"{level.threshold:.3f}"),
        Cell(f"{100 * level.share:.1f}"),
        Cell(number(None if level.accuracy is None else 100 * level.accuracy, "{:.1f}")),
        Cell(milliseconds(entry.ms)) if place == 0 else NOTHING,
    ]
