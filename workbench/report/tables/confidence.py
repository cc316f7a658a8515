"""What the candidates' confidence is worth: before calibration and after, and on rows that have no right label."""

from __future__ import annotations

from workbench.compare.board import QUALITY
from workbench.report.report import Report
from workbench.report.table import CANDIDATE, METRICS, Cell, Column, Table, cells, metrics
from workbench.wording import DASH, number

_TITLE = "Confidence"


def confidence(report: Report) -> list[Table]:
    """Every metric before calibration with what calibration did; and rows out of scope."""
    columns = [CANDIDATE, *(Column(f"raw {METRICS[name].title}") for name in QUALITY), Column("calibration", "words")]
    columns += [Column(name) for name in ("temperature", "log loss on calib, before", "after")]
    rows = [
        [
            Cell(entry.name),
            *metrics(QUALITY, entry.raw),
            Cell(str(entry.calibration.get("variant", DASH))),
            Cell(number(entry.calibration.get("temperature"), "{:.3g}")),
            *(Cell(number(entry.calibration.get(f"log_loss_{when}"), "{:.3f}")) for when in ("before", "after")),
        ]
        for entry in report.scored
        if entry.raw
    ]
    outside = [
        cells(entry.name, f"{one['auroc']:.3f}", f"{100 * one['accepted']:.1f}", f"{one['n_rows']:.0f}")
        for entry in report.scored
        if (one := entry.outside)
    ]
    return [
        Table(
            "confidence",
            _TITLE,
            columns,
            rows,
            of="before calibration",
            remarks=["Fitted on the calib rows; log loss on them, cross-validated."] if rows else [],
            plots=["reliability", "risk-coverage"],
            is_folded=True,
        ),
        Table(
            "confidence",
            _TITLE,
            [CANDIDATE, Column("AUROC"), Column("answered all the same %"), Column("rows")],
            outside,
            of="rows out of scope",
            about="Rows that have no right label. AUROC: how often such a row gets less confidence than a test row, "
            "0.5 is a guess. Answered all the same: share of them above the confidence at which 95 % of the test "
            "rows are answered.",
        ),
    ]
