"""What the report says of searched settings: what was found, what that brings on test, and every trial."""

from __future__ import annotations

from dataclasses import replace

import pytest
from comparison_fakes import draw_candidates, homeowner_rows, make_board, make_report

from labelwright.statistics.intervals import Interval
from workbench.compare.kept.learnt import Sought
from workbench.compare.searched.found import Searched, Trial
from workbench.report.markdown import markdown
from workbench.report.report import Report
from workbench.report.tables import trainings
from workbench.report.tables.trainings import searches

CANDIDATES = (("sgd-chars", "baseline", 4.6, 0.4, 3, 0.5), ("searched-sgd-chars", "searched", 4.7, 0.4, 3, 0.5))
PLAIN = Trial({}, Interval(0.7, 0.6, 0.8), 1.25, 2.0)
TRIALS = (
    Trial({"alpha": 0.000123456, "longest": 4, "strengths": [0.5]}, Interval(0.72, 0.62, 0.81), 1.0, 30.0),
    Trial({"alpha": 1.0, "longest": 5, "strengths": [2.0]}, seconds=1.0, failed="ValueError: <b>no</b>"),
    Trial({"alpha": 0.5, "longest": 3, "strengths": [1.0]}, Interval(0.71, 0.61, 0.8), 1.1, 40.0),
)
FOUND = Searched("log_loss", {"alpha": "1e-06 to 1, by factors", "longest": "3 to 5"}, PLAIN, TRIALS, 0, 108)


@pytest.fixture(scope="module")
def report() -> Report:
    rows = homeowner_rows(90)
    labels = sorted({row.label for row in rows})
    board = make_board(draw_candidates(rows, labels, CANDIDATES), rows, labels)
    plain, other = board.candidates
    sought = Sought(FOUND, Interval(0.011, -0.02, 0.042))
    return make_report(replace(board, candidates=(plain, replace(other, sought=sought))), rows, labels, curves={})


def test_a_search_says_what_it_found_and_what_that_brings(report: Report) -> None:
    whole, of_trials = searches(report)
    (row,) = whole.rows
    assert [" ".join(cell).strip() for cell in row] == [
        "searched-sgd-chars", "alpha = 0.000123, longest = 4, strengths = [0.5]", "72.0 [62.0, 81.0]",
        "70.0 [60.0, 80.0]", "1.000", "1.250", "3", "1 min 11 s", "+1.1 [-2.0, +4.2]",
    ]  # fmt: skip
    assert (
        "chosen by log loss on 108 dev rows, within alpha: 1e-06 to 1, by factors; longest: 3 to 5." in whole.remarks[1]
    )
    assert [row[0].value for row in of_trials.rows] == ["as it is", "1", "2", "3"]
    assert [row[-1].value for row in of_trials.rows] == ["–", "best", "–", "–"]
    assert of_trials.rows[2][1].about == "ValueError: <b>no</b>"
    assert "<b>no" not in markdown(report), "what a library says is no markup"


def test_trials_that_were_given_up_are_counted_and_say_where(report: Report) -> None:
    plain, other = report.candidates
    given_up = replace(TRIALS[2], share=0.125, way=(1.1,))
    found = replace(FOUND, trials=(replace(TRIALS[0], way=(1.5, 1.2)), TRIALS[1], given_up))
    whole, of_trials = searches(replace(report, candidates=(plain, replace(other, sought=Sought(found)))))
    assert " ".join(whole.rows[0][6]) == "3 1 given up"
    assert "5. 1 of 3 trials were given up: having learnt a share of train" in whole.remarks[1]
    assert [row[-1].value for row in of_trials.rows] == ["–", "best", "–", "given up at 12.5 % of train"]
    assert not any("given up" in said for said in searches(report)[0].remarks)


def test_where_no_trial_was_better_it_says_so(report: Report) -> None:
    plain, other = report.candidates
    worse = replace(FOUND, plain=replace(PLAIN, log_loss=0.9))
    found = replace(report, candidates=(plain, replace(other, sought=Sought(worse))))
    assert "No trial was better on dev than the candidate as it is." in searches(found)[0].remarks[1]
    assert "No trial was better" not in searches(report)[0].remarks[1]


def test_of_a_long_search_the_records_are_shown(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainings, "_MOST_TRIALS", 2)
    _, table = searches(report)
    assert [row[0].value for row in table.rows] == ["as it is", "1"]
    assert table.remarks == ["Of 3 trials those that were the best so far."]


def test_it_is_read_back_as_it_was(report: Report) -> None:
    again = Report.from_json(report.to_json())
    assert again.entry("searched-sgd-chars").sought == report.entry("searched-sgd-chars").sought
    given_up = replace(FOUND, trials=(TRIALS[0], replace(TRIALS[2], share=0.125, way=(None, 1.1))))
    plain, other = report.candidates
    pruned = replace(report, candidates=(plain, replace(other, sought=Sought(given_up))))
    assert Report.from_json(pruned.to_json()).entry("searched-sgd-chars").sought == Sought(given_up)


def test_where_nothing_was_searched_nothing_is_said(report: Report) -> None:
    alone = replace(report, candidates=tuple(replace(one, sought=None) for one in report.candidates))
    (table,) = searches(alone)
    assert (table.rows, table.remarks, table.nothing) == ([], [], "")
