"""The leaderboard in short, for a terminal. The report says the rest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from labelwright.files import read_json
from labelwright.statistics.intervals import Interval
from workbench.progress import Display, duration
from workbench.report.wording import percent

_COLUMNS = (
    "candidate",
    "accuracy %",
    "F1 %",
    "log loss",
    "ECE %",
    "valid %",
    "ms/row",
    "rows/s",
    "trained",
    "against the best",
)
# Left to the report where a line has no room, the least telling first.
_SPARE = ("rows/s", "trained", "log loss", "valid %", "F1 %")


def show_leaderboard(run: Path, display: Display) -> None:
    """Print the table and the verdict of a run's report.json."""
    report = read_json(run / "report.json")
    columns = list(_COLUMNS)
    rows = [_row(candidate) for candidate in report["candidates"]]
    for spare in _SPARE:
        widths = [max(len(row[i]) for row in [columns, *rows]) + 3 for i in range(len(columns))]
        if sum(widths) < display.console.width:
            break
        place = columns.index(spare)
        for row in (columns, *rows):
            del row[place]
    title = f"{report['recipe']}, test split ({report['splits']['test']} rows), calibrated"
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, justify="left" if column == "candidate" else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    display.console.print(table)
    display.say(report["verdict"]["text"])


def _row(candidate: Mapping[str, Any]) -> list[str]:
    if candidate["failed"]:
        return [candidate["name"], "failed", *["–"] * (len(_COLUMNS) - 2)]
    test, cost, generation = candidate["test"], candidate["cost"], candidate["generation"]
    ms = cost["ms_p50"]
    return [
        candidate["name"],
        percent(Interval(**test["accuracy"])),
        f"{100 * test['macro_f1']['value']:.1f}",
        f"{test['log_loss']['value']:.3f}" if "log_loss" in test else "–",
        f"{100 * test['ece']['value']:.1f}" if "ece" in test else "–",
        f"{100 * generation['valid']['value']:.0f}" if generation else "–",
        f"{ms:.2g}" if ms < 10 else f"{ms:.0f}",
        f"{cost['rows_per_second']:.0f}",
        duration(cost["seconds_to_train"]),
        candidate["standing"],
    ]
