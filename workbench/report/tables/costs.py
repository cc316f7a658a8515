"""Time, space and money, and what they buy."""

from __future__ import annotations

from labelwright.data.costs import amount
from workbench.compare.board import Entry
from workbench.compare.together.money import N_ROWS, with_person
from workbench.progress import duration
from workbench.report.report import Report
from workbench.report.table import CANDIDATE, COST, Cell, Column, Table, cost_a_row, metric
from workbench.wording import DASH, listed, megabytes, milliseconds, number

_TIMES = (
    "Milliseconds are of a batch of one row, rows/s in bulk. Size counts the base model or encoder. Trained: fitting, "
    "or all stages up to the candidate. Times are this machine's, one candidate at a time in a process of its own."
)

# Shares of the rows that a person answers, in percent.
_SHARES = (0, 1, 2, 5, 10, 20, 50)
_PERSON = (
    "The test rows that the candidate is least sure of go to a person, who is taken to be right; money is of the "
    "candidate for all rows and of the person for those."
)
_UNKNOWN = (
    "It takes a price in [money] candidates, or milliseconds and the price of an hour; of what is made of others, for "
    "every member."
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


def money(report: Report) -> list[Table]:
    """What answering a thousand rows costs; nothing where the recipe has no ``[money]``."""
    made = {
        CANDIDATE: lambda one: one.name,
        Column(_title()): lambda one: amount(report.money[one.name]),
        **({COST: cost_a_row} if report.by == "cost" else {}),
        Column("accuracy %"): lambda one: metric("accuracy", one.test["accuracy"]),
    }
    entries = [entry for entry in report.scored if entry.name in report.money]
    if not entries:
        return []
    said = f"No cheaper candidate {'is as often right' if report.by == 'accuracy' else 'costs as little in mistakes'}: "
    remarks = [f"{said}{listed(_frontier(report, entries))}. A cascade's money is a mean over the test rows."]
    if missing := [entry.name for entry in report.scored if entry.name not in report.money]:
        remarks.append(f"Not known: the money of {listed(missing)}. {_UNKNOWN}")
    return [Table.of_each("money", "Money", entries, made, remarks=remarks, plots=["money"])]


def person(report: Report) -> list[Table]:
    """What the candidate to ship comes to where a person answers some rows, one for each share of them."""
    name = report.verdict.ship
    if report.person is None or name not in report.money or name not in report.confidence:
        return []
    points, rows = with_person(report.confidence[name], report.money[name], report.person), []
    for share in _SHARES:
        # The first that hands over so many: of few rows, or many equal confidences, it is more.
        handed, spent, right = next(one for one in points if one[0] >= share / 100 - 1e-9)
        rows.append([Cell(f"{100 * handed:.1f}"), Cell(amount(spent)), Cell(f"{100 * right:.1f}")])
    columns = [Column("a person answers % of rows"), Column(_title()), Column("right on % of all rows")]
    title = "A person for the rest"
    return [Table("money", title, columns, rows, of=name, remarks=[_PERSON])]


def _rate(per_second: float | None) -> str:
    return number(per_second, "{:,.0f}" if (per_second or 0) >= 10 else "{:.1f}")


def _time(seconds: float | None) -> str:
    return DASH if seconds is None else duration(seconds)


def _title() -> str:
    return f"money, {N_ROWS:,} rows"


def _frontier(report: Report, entries: list[Entry]) -> list[str]:
    names, best = list[str](), float("-inf")
    for entry in sorted(entries, key=lambda one: (report.money[one.name], -one.merit(report.by))):
        if entry.merit(report.by) > best:
            names, best = [*names, entry.name], entry.merit(report.by)
    return names
