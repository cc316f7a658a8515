"""What the candidates' confidence is worth: before calibration and after, and on rows that have no right label."""

from __future__ import annotations

from workbench.compare.board import QUALITY
from workbench.report.report import Report
from workbench.report.table import CANDIDATE, Column, Make, Table, metrics
from workbench.wording import DASH, number

_TITLE = "Confidence"
_BEFORE: dict[Column, Make] = {
    CANDIDATE: lambda one: one.name,
    **metrics(QUALITY, lambda one: one.raw, "raw "),
    Column("calibration", "words"): lambda one: str(one.calibration.get("variant", DASH)),
    Column("temperature"): lambda one: number(one.calibration.get("temperature"), "{:.3g}"),
    Column("log loss on calib, before"): lambda one: number(one.calibration.get("log_loss_before"), "{:.3f}"),
    Column("after"): lambda one: number(one.calibration.get("log_loss_after"), "{:.3f}"),
}
_OUTSIDE: dict[Column, Make] = {
    CANDIDATE: lambda one: one.name,
    Column("AUROC"): lambda one: f"{one.outside['auroc']:.3f}",
    Column("answered all the same %"): lambda one: f"{100 * one.outside['accepted']:.1f}",
    Column("rows"): lambda one: f"{one.outside['n_rows']:.0f}",
}


def confidence(report: Report) -> list[Table]:
    """Every metric before calibration with what calibration did; and rows out of scope."""
    raw = [entry for entry in report.scored if entry.raw]
    return [
        Table.of_each(
            "confidence",
            _TITLE,
            raw,
            _BEFORE,
            of="before calibration",
            remarks=["Fitted on the calib rows; log loss on them, cross-validated."] if raw else [],
            plots=["reliability", "risk-coverage"],
            is_folded=True,
        ),
        Table.of_each(
            "confidence",
            _TITLE,
            [entry for entry in report.scored if entry.outside],
            _OUTSIDE,
            of="rows out of scope",
            about="Rows that have no right label. AUROC: how often such a row gets less confidence than a test row, "
            "0.5 is a guess. Answered all the same: share of them above the confidence at which 95 % of the test "
            "rows are answered.",
        ),
    ]
