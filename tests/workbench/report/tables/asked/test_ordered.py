"""The table of levels: shown where levels are asked, and nowhere else, on every face."""

from __future__ import annotations

from comparison_fakes import make_report
from level_candidates import NAMES, PLAIN, ROWS, TASK, board_of

from workbench.report.markdown import markdown
from workbench.report.report import Report
from workbench.report.tables import tables
from workbench.report.tables.asked.ordered import ordered


def test_every_candidate_is_there_beside_the_best():
    report = make_report(board_of(TASK), ROWS, NAMES)
    (table,) = ordered(report)
    assert table in tables(report)
    assert table.values("candidate") == [one.name for one in report.scored]
    place = [column.name for column in table.columns].index("mean absolute error")
    for name, row in zip(table.values("candidate"), table.rows, strict=True):
        found = report.entry(name).structured[""]
        value = found.metrics["mean_absolute_error"]
        assert row[place] == (f"{value.value:.3f}", f"[{value.low:.3f}, {value.high:.3f}]")
        assert (row[place + 1].value == "–") == (name == report.verdict.best)
    assert "Levels in order" in markdown(report)
    assert Report.from_json(report.to_json()) == report


def test_other_tasks_do_not_have_it():
    assert ordered(make_report(board_of(PLAIN), ROWS, NAMES)) == []
