"""The leaderboard says its margin in the verdict's words."""

from __future__ import annotations

from dataclasses import replace

import pytest
from comparison_fakes import draw_candidates, homeowner_rows, make_board, make_report

from workbench.report.tables.leaderboard import leaderboard


@pytest.mark.parametrize(("margin", "said"), [(0.01, "at most 1 point,"), (0.025, "at most 2.5 points,")])
def test_one_point_is_no_points(margin: float, said: str) -> None:
    rows = homeowner_rows(12)
    labels = sorted({row.label for row in rows})
    board = make_board(draw_candidates(rows, labels)[:2], rows, labels)
    report = make_report(replace(board, verdict=replace(board.verdict, margin=margin)), rows, labels)
    assert said in leaderboard(report)[0].remarks[0]
