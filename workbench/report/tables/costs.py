"""Time, space, and what they buy."""

from __future__ import annotations

from workbench.progress import duration
from workbench.report.report import Report
from workbench.report.table import CANDIDATE, Column, Table, cells
from workbench.wording import DASH, listed, megabytes, milliseconds, number

_COLUMNS = (
    Column("what it is", "words"), Column("accuracy %"), Column("ms/row, median"), Column("95th percentile"),
    Column("rows/s"), Column("size"), Column("peak memory"), Column("trained"), Column("prompt tokens"),
    Column("on the frontier"),
)  # fmt: skip


def costs(report: Report) -> list[Table]:
    """What every candidate costs to train and to run, with the efficient ones named."""
    rows = []
    for entry in report.scored:
        cost, trained = entry.cost, entry.cost.get("seconds_to_train")
        per_second = cost.get("rows_per_second")
        rows.append(
            cells(
                entry.name,
                entry.about,
                f"{entry.accuracy:.1f}",
                milliseconds(cost.get("ms_p50")),
                milliseconds(cost.get("ms_p95")),
                number(per_second, "{:,.0f}" if (per_second or 0) >= 10 else "{:.1f}"),
                megabytes(cost.get("size_bytes")),
                megabytes(cost.get("peak_memory_bytes")),
                DASH if trained is None else duration(trained),
                number(cost.get("prompt_tokens")),
                "yes" if entry.name in report.frontier else "",
            )
        )
    remarks = [
        "Milliseconds are of a batch of one row, rows/s in bulk. Size counts the base model or encoder. Trained: "
        "fitting, or all stages up to the candidate. Times are this machine's, one candidate at a time in a process of "
        "its own."
    ]
    if report.frontier:
        remarks.insert(0, f"No faster candidate is as often right: {listed(report.frontier)}.")
    return [Table("cost", "Cost", [CANDIDATE, *_COLUMNS], rows, remarks=remarks, plots=["cost"])]
