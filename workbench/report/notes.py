"""The report as notes beside runs: the verdict with a short leaderboard for the whole, a few lines for a candidate."""

from __future__ import annotations

from dataclasses import replace

from labelwright.plain_text import escaped
from labelwright.statistics.metrics import METRICS
from workbench.compare.board import Entry
from workbench.report.markdown import markdown_table, verdict_markdown
from workbench.report.report import Report
from workbench.report.table import CANDIDATE, COST, LONGEST
from workbench.report.tables.leaderboard import leaderboard
from workbench.wording import megabytes, milliseconds, parts, percent

# The leaderboard's columns that a narrow page has room for.
_COLUMNS = (
    CANDIDATE.name,
    COST.name,
    METRICS["accuracy"].title,
    METRICS["log_loss"].title,
    "ms/row",
    "size",
    "against the best",
)
# Candidates that a note has room for: the store's limit is some thousand characters.
_N_ROWS = 30


def run_note(report: Report) -> str:
    """The verdict, and the leaderboard, the best on test first."""
    (table,) = leaderboard(report)
    places = [place for place, column in enumerate(table.columns) if column.name in _COLUMNS]
    scored = {entry.name: entry.merit(report.by) for entry in report.scored}
    rows = sorted((row for row in table.rows if row[0].value in scored), key=lambda row: -scored[row[0].value])
    short = replace(
        table,
        columns=[table.columns[place] for place in places],
        rows=[[row[place] for place in places] for row in rows[:_N_ROWS]],
    )
    left = len(report.candidates) - len(short.rows)
    more = f"and {left} more, in the report, which has the rest as well." if left else ""
    return "\n\n".join(part for part in (verdict_markdown(report), markdown_table(short), more) if part)


def candidate_note(entry: Entry) -> str:
    """What a candidate is, how it does on test, and what it costs."""
    cost = (
        f"{' '.join(parts(entry.priced['cost'], is_share=False))} a row at the recipe's prices, "
        if entry.priced
        else ""
    )
    what = "rows" if entry.joint is None else "answers"
    return "  \n".join(
        [
            f"**{escaped(entry.name)}**: {escaped(entry.about, LONGEST['text'])}",
            f"Test: {cost}right on {percent(entry.test['accuracy'])} % of the {what}; against the best: "
            f"{entry.standing}.",
            f"Costs {milliseconds(entry.ms)} ms a row, {megabytes(entry.cost.get('size_bytes'))}.",
        ]
    )
