"""``report.md``: the report in words and tables, its first line the verdict."""

from __future__ import annotations

import re

from labelwright.plain_text import escaped
from workbench.report.limits import limits
from workbench.report.plots.captions import pictures
from workbench.report.report import Report
from workbench.report.table import LONGEST, Cell, Column, Table
from workbench.report.tables import tables
from workbench.report.verdict_words import words
from workbench.wording import DASH

# Our own sentences name candidates, files and labels.
_LONGEST_SENTENCE = 2000


def markdown(report: Report) -> str:
    """The report as Markdown."""
    drawn = pictures(report)
    parts = [verdict_markdown(report)]
    parts.append(f"# {escaped(report.recipe)}, run {escaped(report.run)}")
    for table in tables(report):
        if table.rows:
            parts += [f"## {escaped(table.full_title)}", _sentence(table.about), markdown_table(table)]
            parts += map(_sentence, table.remarks)
            parts.append(" ".join(f"![{drawn[name].title}](plots/{name}.png)" for name in table.plots if name in drawn))
    if report.prompt:
        parts += ["## The prompt", _fenced(report.prompt)]
    parts += ["## Limits", "\n".join(f"- {_sentence(one)}" for one in limits(report))]
    return "\n\n".join(part for part in parts if part) + "\n"


def verdict_markdown(report: Report) -> str:
    """The verdict in words; labels are quoted in it, and markup in one stays text."""
    return re.sub(r'"[^"]*"', lambda found: escaped(found.group()), words(report).text)


def markdown_table(table: Table) -> str:
    """One table, every text in it escaped."""
    lines = [[escaped(column.name) for column in table.columns], ["---"] * len(table.columns)]
    for row in table.rows:
        n_missing = len(table.columns) - len(row)
        cells = [Cell(cell.value) for cell in row] if n_missing else row
        lines.append([_cell(*pair) for pair in zip(cells, table.columns, strict=False)] + [DASH] * n_missing)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(cell: Cell, column: Column) -> str:
    if column.kind == "number":
        return f"{cell.value} {cell.about}".rstrip()
    # What a candidate is has a column of its own in the table of costs.
    about = f" ({cell.about})" if cell.about and column.kind != "candidate" else ""
    return escaped(cell.value + about, LONGEST[column.kind])


def _sentence(text: str) -> str:
    return escaped(text, _LONGEST_SENTENCE)


def _fenced(text: str) -> str:
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}\n{text}\n{fence}"
