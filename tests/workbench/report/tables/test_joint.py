"""What every face says of whole rows: the same tables, and words that do not take answers for rows."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO

import pytest
from asked_fakes import NAMES, asked_report
from comparison_fakes import draw_candidates, homeowner_rows, make_report
from rich.console import Console

from labelwright.statistics.label_sets import SET_METRICS
from workbench.compare.leaderboard import build
from workbench.progress import Display
from workbench.report.html import html
from workbench.report.limits import limits
from workbench.report.markdown import markdown
from workbench.report.notes import candidate_note
from workbench.report.plots.figures import figures
from workbench.report.report import Report
from workbench.report.tables.joint import labels, rows, said_from, sets
from workbench.report.terminal import plain_table, show_leaderboard
from workbench.report.verdict_words import words


@pytest.fixture(scope="module")
def report() -> Report:
    return asked_report()


def test_whole_rows_and_sets_of_labels_have_a_table_each(report):
    (whole,) = rows(report)
    assert whole.values("candidate") == list(NAMES)
    exact = report.entry("fine").joint.exact
    assert whole.rows[1][1].value == f"{100 * exact.value:.1f}"
    assert [column.name for column in whole.columns][2:] == ["topics right %", "urgent right %"]
    (table,) = sets(report)
    assert table.full_title == "Labels of rows: topics"
    for place, (name, metric) in enumerate(SET_METRICS.items(), start=1):
        assert table.columns[place].name == metric.title
        value = report.entry("rough").joint.questions["topics"][name].value
        assert table.rows[0][place].value == f"{100 * value:.1f}"
    best = report.several.questions["topics"].best
    assert table.columns[-2].name == f"micro-F1 minus {best}'s"
    assert table.rows[NAMES.index(best)][-1].value == "–"


def test_labels_say_what_they_are_said_from_and_what_that_gained(report):
    (each,) = labels(report)
    assert each.of == f"{report.verdict.ship}, topics"
    assert each.values("label") == ["late", "refund", "rude"]
    shown = {"0.3"} if report.verdict.ship == "leant" else {"0.5"}
    assert set(each.values("said from")) == shown
    (gained,) = said_from(report)
    assert [cell.value for cell in gained.rows[0][:5]] == ["leant", "topics", "50.0", "60.0", "yes"]
    assert gained.rows[0][5].value[0] in "+-"


def test_the_report_is_read_back_with_its_rows(report):
    assert Report.from_json(json.loads(json.dumps(report.to_json(), allow_nan=False))) == report


def test_every_face_shows_them_and_tells_answers_from_rows(report):
    n_answers = report.test_rows.n_rows
    told = f"{n_answers} answers to 60 test rows"
    assert told in words(report).text
    assert told in limits(report)[0]
    text = markdown(report)
    assert f"accuracy is the share of {n_answers} answers to 60 rows that are right" in text
    assert "Labels are said from where micro-F1 is highest on calib, and accuracy pays for it." in text
    for title in ("## Whole rows", "## Labels of rows: topics", "## What labels are said from"):
        assert title in text
    page = html(report, figures(report))
    assert "Labels of rows" in page
    assert "of the answers;" in candidate_note(report.entry("fine"))
    written = StringIO()
    show_leaderboard(report, Display(Console(file=written, width=150)))
    assert f"{n_answers} answers to 60 rows" in written.getvalue()
    assert "Labels of rows: topics" in written.getvalue()


@pytest.mark.parametrize("width", [40, 70, 90, 200])
def test_a_line_of_the_terminal_holds_what_it_has_room_for(report, width):
    for table in (*rows(report), *sets(report)):
        written = StringIO()
        Console(file=written, width=width).print(plain_table(table, width))
        assert "…" not in written.getvalue()
        assert max(map(len, written.getvalue().splitlines())) <= width
        assert ("[" in written.getvalue()) == (width == 200 or (width > 70 and table.title == "Whole rows"))


def test_other_tasks_have_none_of_it():
    plain = homeowner_rows(90)
    names = sorted({row.label for row in plain})
    report = make_report(build(draw_candidates(plain, names)[1:3], plain, names, 40, 0), plain, names)
    assert [table for make in (rows, sets, labels, said_from) for table in make(report)] == []
    assert "answers to" not in markdown(report)
    assert "of the rows; against" in candidate_note(report.scored[0])


def test_nothing_is_said_of_thresholds_where_none_were_fitted(report):
    plain = [replace(one, calibration={}) for one in report.candidates]
    assert said_from(replace(report, candidates=tuple(plain))) == []
