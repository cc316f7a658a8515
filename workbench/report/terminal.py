"""The leaderboard in short, for a terminal. The report says the rest."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table as RichTable
from rich.text import Text

from labelwright.plain_text import printable
from workbench.progress import Display
from workbench.report.report import Report
from workbench.report.table import COST, Table
from workbench.report.tables.costs import costs
from workbench.report.tables.joint import rows as whole_rows
from workbench.report.tables.joint import sets
from workbench.report.tables.leaderboard import leaderboard
from workbench.report.verdict_words import rows_words, words
from workbench.wording import DASH

# In order, and those left to the report where a line has no room, the least telling first.
_SHOWN = (
    COST.name, "accuracy %", "macro-F1 %", "log loss", "ECE %", "valid labels %", "ms/row", "rows/s", "trained",
    "against the best",
)  # fmt: skip
_SPARE = ("rows/s", "trained", "log loss", "valid labels %", "macro-F1 %")


def show_leaderboard(report: Report, display: Display) -> None:
    """Print the table and the verdict."""
    display.console.print(terminal_table(report, display.console.width))
    for table in (*whole_rows(report), *sets(report)):
        display.console.print(plain_table(table, display.console.width))
    display.say(words(report).text)


def plain_table(table: Table, width: int) -> RichTable:
    """A table of numbers by candidate: without intervals, and without its last columns, where a line has no room."""
    rows = [[printable(" ".join(cell).rstrip()) for cell in row] for row in table.rows]
    titles = [printable(column.name) for column in table.columns]
    if _width([titles, *rows]) >= width:
        rows = [[printable(cell.value) for cell in row] for row in table.rows]
    while len(titles) > 2 and _width([titles, *rows]) >= width:
        titles, rows = titles[:-1], [row[:-1] for row in rows]
    shown = RichTable(title=Text(printable(table.full_title)), title_justify="left")
    for place, name in enumerate(titles):
        shown.add_column(Text(name), justify="right" if place else "left", no_wrap=True)
    for row in rows:
        shown.add_row(*map(Text, row))
    return shown


def _width(rows: Sequence[Sequence[str]]) -> int:
    return sum(max(map(len, column)) + 3 for column in zip(*rows, strict=True))


def terminal_table(report: Report, width: int) -> RichTable:
    """The leaderboard's main columns, as many as there is room for; nothing in it drives the terminal."""
    found: dict[str, dict[str, str]] = {}
    for table in (*leaderboard(report), *costs(report)):
        for column in table.columns:
            by_name = dict(zip(table.values("candidate"), table.values(column.name), strict=True))
            found.setdefault(column.name, by_name)
    (board,) = leaderboard(report)
    with_intervals = [place for place, one in enumerate(board.columns) if one.name in (COST.name, "accuracy %")]
    for row in board.rows:
        for place in with_intervals if len(row) > 2 else with_intervals[:1]:
            found[board.columns[place].name][row[0].value] = " ".join(row[place]) if len(row) > 2 else row[1].value
    names = [printable(name) for name in found.pop("candidate")]
    columns = {one: [by_name.get(name, DASH) for name in found["accuracy %"]] for one, by_name in found.items()}
    shown = {name: columns[name] for name in _SHOWN if name in columns}
    for spare in _SPARE:
        if sum(max(map(len, (title, *values))) + 3 for title, values in [("candidate", names), *shown.items()]) < width:
            break
        del shown[spare]
    rows = rows_words(report).replace("test row", "row")
    title = Text(printable(f"{report.recipe}, test split ({rows}), calibrated"))
    shown_table = RichTable(title=title, title_justify="left")
    for name in ("candidate", *shown):
        shown_table.add_column(name, justify="left" if name == "candidate" else "right", no_wrap=True)
    for row in zip(names, *shown.values(), strict=True):
        shown_table.add_row(*map(Text, row))
    return shown_table
