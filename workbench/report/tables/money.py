"""Accuracy against money: what every candidate's answers cost, and what a person's help costs and brings."""

from __future__ import annotations

from workbench.compare.board import Entry
from workbench.compare.together.money import N_ROWS, with_person
from workbench.report.report import Report
from workbench.report.table import CANDIDATE, COST, Cell, Column, Table, cost_a_row, metric
from workbench.wording import listed, price

# Shares of the rows that a person answers, in percent.
_SHARES = (0, 1, 2, 5, 10, 20, 50)
_PERSON = (
    "The test rows that the candidate is least sure of go to a person, who is taken to be right; money is of the "
    "candidate for all rows and of the person for those."
)


def money(report: Report) -> list[Table]:
    """What a thousand rows cost; nothing where the recipe has no prices."""
    made = {
        CANDIDATE: lambda one: one.name,
        Column(_title()): lambda one: price(report.money[one.name]),
        **({COST: cost_a_row} if report.by == "cost" else {}),
        Column("accuracy %"): lambda one: metric("accuracy", one.test["accuracy"]),
    }
    entries = [entry for entry in report.scored if entry.name in report.money]
    if not entries:
        return []
    said = f"No cheaper candidate {'is as often right' if report.by == 'accuracy' else 'costs as little in mistakes'}: "
    remarks = [f"{said}{listed(_frontier(report, entries))}. A cascade's money is a mean over the test rows."]
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
        rows.append([Cell(f"{100 * handed:.1f}"), Cell(price(spent)), Cell(f"{100 * right:.1f}")])
    columns = [Column("a person answers % of rows"), Column(_title()), Column("right on % of all rows")]
    title = "A person for the rest"
    return [Table("money", title, columns, rows, of=name, remarks=[_PERSON])]


def _title() -> str:
    return f"money, {N_ROWS:,} rows"


def _frontier(report: Report, entries: list[Entry]) -> list[str]:
    names, best = list[str](), float("-inf")
    for entry in sorted(entries, key=lambda one: (report.money[one.name], -one.merit(report.by))):
        if entry.merit(report.by) > best:
            names, best = [*names, entry.name], entry.merit(report.by)
    return names
