"""The tables of a tree: as candidates answer, and level by level; nowhere else."""

from __future__ import annotations

from dataclasses import replace

from comparison_fakes import make_report
from level_candidates import CANDIDATES, PLAIN, ROWS, board_of

from labelwright.data.task import Label, Task
from workbench.compare.asked.structured import with_structured
from workbench.compare.leaderboard import build
from workbench.report.markdown import markdown
from workbench.report.report import Report
from workbench.report.tables.asked.paths import paths

PATHS = {"1": "low > 1", "2": "low > 2", "3": "high > 3", "4": "high > 4"}
TREE = Task("t", "What?", tuple(map(Label, PATHS.values())), tree_separator=" > ")


def test_by_depth_and_level_by_level():
    rows = [replace(row, label=PATHS[row.label]) for row in ROWS]
    board = with_structured(build(CANDIDATES, rows, TREE.names, 200, 0), CANDIDATES, rows, TREE, 200, 0)
    report = make_report(board, rows, TREE.names)
    plain, downwards = paths(report)
    assert plain.values("candidate") == [one.name for one in report.scored]
    assert [column.name for column in plain.columns[1::3]] == [
        "right at depth 1 %",
        "right at depth 2 %",
        "hierarchical precision %",
        "hierarchical recall %",
        "hierarchical F1 %",
    ]
    assert downwards.full_title == "A tree of labels: level by level"
    for name, value in zip(plain.values("candidate"), plain.values("right at depth 2 %"), strict=True):
        assert value == f"{report.entry(name).accuracy:.1f}"
    assert "A tree of labels" in markdown(report)
    assert Report.from_json(report.to_json()) == report


def test_other_tasks_do_not_have_it():
    assert paths(make_report(board_of(PLAIN), ROWS, PLAIN.names)) == []
