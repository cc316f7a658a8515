"""Time, space, and what they buy."""

from __future__ import annotations

from workbench.progress import duration
from workbench.report.report import Report
from workbench.report.table import CANDIDATE, COST, Column, Table, cost_a_row
from workbench.wording import DASH, listed, megabytes, milliseconds, number

_TIMES = (
    "Milliseconds are of a batch of one row, rows/s in bulk. Size counts the base model or encoder. Trained: fitting, "
    "or all stages up to the candidate. Times are this machine's, one candidate at a time in a process of its own."
)


def costs(report: Report) -> list[Table]:
    """What every candidate costs to train and to run, with the efficient ones named."""
    made = {
        CANDIDATE: lambda one: one.name,
        Column("what it is", "words"): lambda one: one.about,
        **({COST: lambda one: cost_a_row(one).value} if report.by == "cost" else {}),
        Column("accuracy %"): lambda one: f"{one.accuracy:.1f}",
        Column("ms/row, median"): lambda one: milliseconds(one.cost.get("ms_p50")),
        Column("95th percentile"): lambda one: milliseconds(one.cost.get("ms_p95")),
        Column("rows/s"): lambda one: _rate(one.cost.get("rows_per_second")),
        Column("size"): lambda one: megabytes(one.cost.get("size_bytes")),
        Column("peak memory"): lambda one: megabytes(one.cost.get("peak_memory_bytes")),
        Column("trained"): lambda one: _time(one.cost.get("seconds_to_train")),
        Column("prompt tokens"): lambda one: number(one.cost.get("prompt_tokens")),
        Column("on the frontier"): lambda one: "yes" if one.name in report.frontier else "",
    }
    as_good = "is as often right" if report.by == "accuracy" else "costs as little a row"
    fastest = [f"No faster candidate {as_good}: {listed(report.frontier)}."] if report.frontier else []
    return [Table.of_each("cost", "Cost", report.scored, made, remarks=[*fastest, _TIMES], plots=["cost"])]


def _rate(per_second: float | None) -> str:
    return number(per_second, "{:,.0f}" if (per_second or 0) >= 10 else "{:.1f}")


def _time(seconds: float | None) -> str:
    return DASH if seconds is None else duration(seconds)
