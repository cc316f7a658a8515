"""What the report says, shows and draws of ensembles and cascades."""

from __future__ import annotations

from dataclasses import replace

import pytest
from comparison_fakes import draw_candidates, homeowner_rows, make_board, make_report

from labelwright.statistics.intervals import Interval
from workbench.compare.board import Gain
from workbench.compare.candidate import Asking, Hosted, Together
from workbench.report.plots.captions import pictures
from workbench.report.plots.cascade import cascade as draw
from workbench.report.report import Report
from workbench.report.tables.together import hosted, together
from workbench.report.verdict_words import words

SINGLES = (("sgd-ngrams", "baseline", 4.6, 0.4, 3, 0.5), ("minilm-logreg", "baseline", 5.6, 6.2, 91, 9))
WHOLE = (("ensemble", "together", 5.9, 6.8, 94, 9), ("cascade", "together", 5.7, 0.5, 94, 9))
MEAN = {"sgd-ngrams": 0.25, "minilm-logreg": 0.75}
MADE = {
    "ensemble": Together((Asking(MEAN, None, 1.0, 0.9),), "log"),
    "cascade": Together(
        (Asking({"sgd-ngrams": 1.0}, 0.913, 0.62, 0.97), Asking(MEAN, None, 0.38, 0.8)), "log", "ensemble",
        ((0.4, 0.7), (2.9, 0.88), (6.8, 0.9)),
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def report() -> Report:
    rows = homeowner_rows(90)
    labels = sorted({row.label for row in rows})
    board = make_board(draw_candidates(rows, labels, (*SINGLES, *WHOLE)), rows, labels)
    entries = [replace(one, together=MADE.get(one.name)) for one in board.candidates]
    entries[-1] = replace(entries[-1], cost={**entries[-1].cost, "ms_mean": 2.94})
    gain = Gain("ensemble", "minilm-logreg", Interval(0.022, -0.01, 0.05), "chance", Interval(0.016, 0.004, 0.028), 20)
    board = replace(board, candidates=tuple(entries), verdict=replace(board.verdict, gain=gain))
    return make_report(board, rows, labels, curves={})


def test_every_level_says_whom_it_asks_and_what_it_answers(report):
    (table,) = together(report)
    rows = [[cell.value for cell in row] for row in table.rows]
    assert rows == [
        ["ensemble", "sgd-ngrams 25% and minilm-logreg 75%", "–", "100.0", "90.0", "6.8"],
        ["cascade", "sgd-ngrams", "0.913", "62.0", "97.0", "2.9"],
        ["cascade", "sgd-ngrams 25% and minilm-logreg 75%", "–", "38.0", "80.0", "–"],
    ]
    assert table.plots == ["cascade"]


def test_where_nobody_is_together_nothing_is_said(report):
    alone = replace(report, candidates=tuple(replace(one, together=None) for one in report.candidates))
    (table,) = together(alone)
    assert (table.rows, table.nothing, "cascade" in pictures(alone)) == ([], "", False)


def test_the_verdict_says_what_is_gained_what_it_costs_and_who_is_never_asked(report):
    text = words(report).text
    accuracy = {one.name: f"{one.accuracy:.1f}" for one in report.scored}
    assert (
        f"Several together (ensemble) are right on {accuracy['ensemble']} %, the best single candidate (minilm-logreg) "
        f"on {accuracy['minilm-logreg']}: ahead by 2.2 points of accuracy, 95 % interval -1.0 to 5.0, this may be "
        "chance; they cost 6.8 ms a row against 6.2. "
        "Over 20 splits they gain 1.6 points of accuracy, 95 % interval 0.4 to 2.8."
    ) in text
    assert (
        f"In the cascade 62 % of the rows never reach ensemble: right on {accuracy['cascade']} % at 2.9 ms a row on "
        f"average, ensemble has {accuracy['ensemble']} at 6.8 ms."
    ) in text


def test_an_ensemble_of_others_than_the_cascades_is_not_taken_for_its_last_level(report):
    other = replace(MADE["ensemble"], levels=(Asking({"sgd-ngrams": 0.6, "minilm-logreg": 0.4}, None, 1.0, 0.9),))
    entries = tuple(replace(one, together=other) if one.name == "ensemble" else one for one in report.candidates)
    changed = replace(report, candidates=entries)
    assert "ms a row on average." in words(changed).text
    assert "ensemble, on test" not in {text.get_text() for one in draw(changed).legends for text in one.get_texts()}


HOSTED = Hosted(
    "far/model", 0.6, 45, 18, 0.2, 15, 8, 2, 1, Interval(0.912, 0.85, 0.95), Interval(0.034, 0.012, 0.056),
    n_in=900, n_out=90,
)  # fmt: skip


def passing_on(report: Report, hosted: Hosted, **changes: object) -> Report:
    made = replace(MADE["cascade"], hosted=hosted)
    entries = tuple(replace(one, together=made) if one.name == "cascade" else one for one in report.candidates)
    return replace(report, candidates=entries, **changes)


def test_what_a_model_elsewhere_brings_is_a_table_and_a_sentence(report):
    assert hosted(report)[0].rows == []
    # A fifth of the rows is passed on, and all of those but one of eighteen are paid for again.
    told = passing_on(report, HOSTED, money={"cascade": 0.5, "hosted": 10.0}, person=300.0)
    (table,) = hosted(told)
    assert [cell.value for cell in table.rows[0]] == [
        "cascade", "far/model", "0.600", "20.0", "15", "8", "2", "1", "91.2", "+3.4", "2.39",
    ]  # fmt: skip
    assert table.rows[0][1].about == "chosen on 45 calib rows; 900 tokens in, 90 out"
    assert (
        "Passed on to far/model, 20.0 % of the rows are right on 15 of 18 in place of 8; 3 without a label are left to "
        "a person: the cascade with it is right on 91.2 [85.0, 95.0] % and gains 3.4 points of accuracy, 95 % interval "
        "1.2 to 5.6."
    ) in words(told).text
    assert Report.from_json(told.to_json()) == told
    assert hosted(passing_on(report, HOSTED))[0].rows[0][-1].value == "–", "nobody said what it costs"


def test_where_nothing_is_passed_on_it_is_said_why(report):
    none = replace(HOSTED, n_rows=0, share=0.0, n_right=0, n_right_before=0, n_no_label=0, n_refused=0)
    sure = words(passing_on(report, none)).text
    assert "The cascade is sure enough of every test row: none is passed on to far/model." in sure
    never = words(passing_on(report, replace(none, threshold=0.0))).text
    assert "No row is passed on to far/model: on 45 calib rows it does not surely gain." in never


def test_the_cascades_price_is_its_mean(report):
    (one,) = (entry for entry in report.candidates if entry.name == "cascade")
    assert (one.ms, one.cost["ms_p50"]) == (2.94, 0.5)


def test_the_curve_of_calib_and_the_points_of_test_are_drawn(report):
    figure = draw(report)
    (axes,) = figure.axes
    assert list(axes.lines[0].get_xdata()) == [0.4, 2.9, 6.8]
    drawn = [tuple(line.get_xdata()) for line in axes.lines[1:] if len(line.get_xdata()) == 1]
    assert {(2.94,), (6.8,)} <= set(drawn)
    named = {text.get_text() for legend in figure.legends for text in legend.get_texts()}
    assert named == {"on calib, over thresholds", "cascade, on test", "ensemble, on test"}


def test_the_report_is_read_back(report):
    assert Report.from_json(report.to_json()) == report
