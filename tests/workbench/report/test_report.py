"""One report and its faces: what is written is read back, and whatever shows it shows the same."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from comparison_fakes import CANDIDATES, draw_candidates, homeowner_rows, make_report, many_labels_rows
from fakes import toy_bundle
from rich.console import Console

from labelwright.data.task import Example
from labelwright.errors import DataError
from labelwright.plain_text import escaped
from labelwright.statistics.intervals import wilson
from labelwright.statistics.metrics import accuracy, confusion
from workbench.compare.board import FORMAT, QUALITY, Suspect
from workbench.compare.candidate import Candidate
from workbench.compare.details import rows_jsonl
from workbench.compare.leaderboard import build
from workbench.compare.steering.endings import ALL, ENDINGS, ENDS
from workbench.progress import Display
from workbench.report.files import mlflow_table
from workbench.report.html import html
from workbench.report.limits import limits
from workbench.report.markdown import markdown, markdown_table
from workbench.report.plots.figures import figures
from workbench.report.report import Report
from workbench.report.stages import chosen_curves
from workbench.report.table import Column, Table, cells
from workbench.report.tables import TABLES, tables
from workbench.report.tables.leaderboard import leaderboard
from workbench.report.tables.rows import steering
from workbench.report.terminal import show_leaderboard, terminal_table
from workbench.report.verdict_words import words
from workbench.run.folder import append_curve

ROWS = homeowner_rows(90)
LABELS = sorted({row.label for row in ROWS})
ODD = "a | b\nc `x` <script>alert(1)</script> *y* [z](w)"
OUTSIDE = {
    "n_rows": 40, "ms": 9.5, "auroc": 0.81, "auroc_certainty": 0.83, "auroc_score": 0.91,
    "kept": 0.95, "kept_low": 0.9, "kept_high": 0.98, "right": 0.75, "right_low": 0.7, "right_high": 0.8,
    "recall": 0.5, "recall_low": 0.35, "recall_high": 0.65,
    "none_n_taught": 30.0, "none_n_calib": 12.0, "none_score": 0.88, "none_trained": 0.95, "none_used": 1.0,
}  # fmt: skip
STEERING = {"n_rows": 60} | {
    f"{kind}{end}": (0.25 if kind == "JSON" else 0.5) + shift
    for kind in (ALL, *ENDINGS)
    for end, shift in zip(ENDS, (0, -0.125, 0.125), strict=True)
}


@pytest.fixture(scope="module")
def candidates() -> list[Candidate]:
    drawn = draw_candidates(ROWS, LABELS)
    drawn[4] = replace(drawn[4], outside=OUTSIDE, steering=STEERING)
    return drawn


@pytest.fixture(scope="module")
def report(candidates: list[Candidate]) -> Report:
    board = build(candidates, ROWS, LABELS, 200, 0)
    suspects = (Suspect("train", "t-1", ODD, "pool", "fence", 0.9712, ("a", "b")),)
    return make_report(board, ROWS, LABELS, suspects=suspects, prompt=toy_bundle().prompt.system)


@pytest.fixture(scope="module")
def written(report: Report) -> dict[str, Any]:
    """As it is in the file."""
    return json.loads(json.dumps(report.to_json(), allow_nan=False))


@pytest.fixture(scope="module")
def text(report: Report) -> str:
    return markdown(report)


def candidate_of(report: dict[str, Any], name: str) -> dict[str, Any]:
    return next(one for one in report["candidates"] if one["name"] == name)


def part(text: str, heading: str) -> str:
    """What stands below a heading."""
    return text.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]


# --- report.json ---


def test_what_is_written_is_read_back_and_looks_the_same(report: Report, written: dict[str, Any]) -> None:
    assert next(iter(written)) == "format"
    again = Report.from_json(written)
    assert again == report
    assert json.dumps(again.to_json()) == json.dumps(written)
    assert words(again) == words(report)
    assert markdown(again) == markdown(report)
    assert html(again, figures(again)) == html(report, figures(report))
    assert [mlflow_table(table) for table in tables(again)] == [mlflow_table(table) for table in tables(report)]


def change(value: Any, path: Sequence[str | int], new: Any) -> Any:
    """The JSON value with something else in one place; ``...`` takes the key away."""
    if not path:
        return new
    key, *rest = path
    if isinstance(value, list):
        return [change(one, rest, new) if i == key else one for i, one in enumerate(value)]
    changed = {**value, key: change(value.get(key), rest, new)}
    return {name: one for name, one in changed.items() if one is not ...}


@pytest.mark.parametrize(
    ("path", "new", "said"),
    [
        (["format"], "labelwright-report-3", f"'labelwright-report-3', and only {FORMAT} can be read: run make"),
        (["format"], ..., "run make compare again"),
        (["verdict"], ..., "no 'verdict'"),
        (["verdict"], [], "verdict = []: expected a table"),
        (["verdict", "besst"], "x", "verdict: unknown key 'besst'; did you mean 'best'?"),
        (["verdict", "best"], "nobody", "'nobody', which is no candidate"),
        (["verdict", "why_ship"], "a whim", "verdict.why_ship = 'a whim': expected one of 'cheaper'"),
        (["verdict", "margin"], -2.5, "verdict.margin = -2.5: expected"),
        (["candidates", 1, "test", "accuracy", "low"], "0.9", "candidates[1].test.accuracy.low = '0.9': expected a"),
        (["candidates", 1, "test", "accuracy", "low"], ..., "candidates[1].test.accuracy: no 'low'"),
        (["candidates", 1, "test"], {}, "candidate 'sgd-ngrams': expected either numbers on test or why"),
        (["candidates", 1, "n_only_best"], True, "candidates[1].n_only_best = True: expected a whole number"),
        (["suspects", 0, "side"], "elsewhere", "suspects[0].side = 'elsewhere': expected one of 'train'"),
        (["splits", "train"], 1.5, "splits.train = 1.5: expected a whole number"),
        (["frontier"], ["who"], "'who', which is no candidate"),
    ],
)  # fmt: skip
def test_a_report_that_is_none_is_refused_in_one_line(
    written: dict[str, Any], path: list[str | int], new: Any, said: str
) -> None:
    with pytest.raises(DataError) as refused:
        Report.from_json(change(written, path, new), "runs/x/report.json")
    assert said in str(refused.value)
    assert str(refused.value).startswith("runs/x/report.json")
    assert "run make compare again" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_of_many_faults_the_first_are_told(written: dict[str, Any]) -> None:
    bad = {**written, "candidates": [{**one, "name": 7} for one in written["candidates"]]}
    with pytest.raises(DataError, match=r"candidates\[2\].name = 7: expected a text, .*; and 22 more"):
        Report.from_json(bad)
    for value in (None, [], "x", 3):
        with pytest.raises(DataError, match="run make compare again"):
            Report.from_json(value)


def test_a_number_that_is_none_does_not_spoil_the_file(report: Report) -> None:
    stage = replace(report.stages[1], decided={"loss": float("nan"), "all": [float("inf"), 1.0]})
    found = json.loads(json.dumps(replace(report, stages=(stage,)).to_json(), allow_nan=False))
    assert Report.from_json(found).stages[0].decided == {"loss": None, "all": [None, 1.0]}


def test_texts_are_taken_as_they_are(report: Report) -> None:
    suspect = replace(report.suspects[0], text="\x1b[31m\x00" + "w" * 200_000)
    changed = replace(report, suspects=(suspect,))
    assert Report.from_json(json.loads(json.dumps(changed.to_json()))) == changed


def test_a_candidate_says_all_that_is_known_of_it(report: Report, written: dict[str, Any]) -> None:
    one, line = candidate_of(written, "minilm-logreg"), report.entry("minilm-logreg")
    assert one["about"] == "minilm-logreg as drawn"
    assert one["calibration"]["variant"] == "temperature"
    assert one["raw"]["log_loss"]["value"] == line.raw["log_loss"].value
    assert one["spread"]["split fixed"]["n"] == 5
    assert len(one["repeats"]) == 4
    assert len(one["curve"]) == 14
    assert one["outside"] == OUTSIDE
    assert one["steering"] == STEERING
    assert one["against_best"]["macro_f1"]["p_holm"] == line.against_best["macro_f1"].p_holm
    assert (one["n_only_this"], one["n_only_best"]) == (line.n_only_this, line.n_only_best)


def test_what_rows_that_ask_for_a_label_get_is_told_of_those_that_were_asked(report: Report) -> None:
    (table,) = steering(report)
    (line,) = table.rows
    shown = dict(zip((column.name for column in table.columns), line, strict=True))
    assert shown["candidate"].value == "minilm-logreg"
    assert [shown[f"{kind} %"].value for kind in ("all", "JSON")] == ["50.0 [37.5, 62.5]", "25.0 [12.5, 37.5]"]
    assert shown["rows"].value == "60"
    unread = [replace(one, steering={**STEERING, "n_unread": 3}) if one.steering else one for one in report.scored]
    (table,) = steering(SimpleNamespace(scored=unread))
    assert "60 of 63" in [cell.value for cell in table.rows[0]]


def test_free_text_has_no_probabilities_and_says_how_often_it_is_a_label(written: dict[str, Any]) -> None:
    one = candidate_of(written, "free")
    assert set(one["test"]) == {"accuracy", "macro_f1"}
    assert one["raw"] == {}
    assert set(one["against_best"]) == {"accuracy", "macro_f1"}
    assert one["generation"]["valid"] == wilson(0.52, 60)._asdict()


def test_a_failed_candidate_says_why(written: dict[str, Any], text: str) -> None:
    one = candidate_of(written, "gliclass")
    assert one["failed"].startswith("gliclass needs a package")
    assert (one["test"], one["against_best"]) == ({}, None)
    assert "| gliclass | left out | – |" in text
    assert "| gliclass | gliclass needs a package" in part(text, "Left out")


def test_intervals_hold_their_values(written: dict[str, Any]) -> None:
    for one in written["candidates"]:
        for name, interval in {**one["test"], **{f"raw {k}": v for k, v in one["raw"].items()}}.items():
            assert interval["low"] <= interval["value"] <= interval["high"], (one["name"], name)


def test_tables_are_of_the_best_the_shipped_and_the_tuned(report: Report, candidates: list[Candidate]) -> None:
    verdict, gold = report.verdict, np.array([LABELS.index(row.label) for row in ROWS])
    assert set(report.tables) == {verdict.best, verdict.ship, verdict.tuned}
    for name, one in report.tables.items():
        probs = next(candidate.probs for candidate in candidates if candidate.name == name)
        counts = np.zeros((len(LABELS), len(LABELS)), dtype=int)
        for i, j, n in one.confusion:
            counts[i, j] = n
        assert (counts == confusion(probs, gold)).all()
        assert [row.label for row in one.labels] == LABELS
        wrong = np.flatnonzero(probs.argmax(axis=1) != gold)
        assert (len(one.mistakes), one.n_wrong) == (min(20, len(wrong)), len(wrong))
        sure = [row.confidence for row in one.mistakes]
        assert sure == sorted(sure, reverse=True)
        assert not sure or sure[0] == pytest.approx(probs[wrong].max())
        for row in one.mistakes:
            i = [example.id for example in ROWS].index(row.id)
            assert (row.text, row.label) == (ROWS[i].text, ROWS[i].label)
            assert row.answer == LABELS[probs[i].argmax()] != row.label
    assert any(one.mistakes for one in report.tables.values())


def test_confidence_is_told_of_the_chief_candidates_and_risk_ends_at_the_error_rate(report: Report) -> None:
    verdict = report.verdict
    assert set(report.confidence) == {verdict.best, verdict.ship, verdict.tuned, verdict.best_baseline}
    for name, one in report.confidence.items():
        assert sum(bin.n_rows for bin in one.after) == sum(bin.n_rows for bin in one.before) == len(ROWS)
        coverage, risk = one.risk[-1]
        assert (coverage, risk) == (1, pytest.approx(1 - report.entry(name).test["accuracy"].value))


# --- rows.jsonl ---


def test_rows_hold_every_candidates_calibrated_probabilities(report: Report, candidates: list[Candidate]) -> None:
    written = [json.loads(line) for line in rows_jsonl(candidates, report, ROWS).splitlines()]
    assert [row["id"] for row in written] == [row.id for row in ROWS]
    for one in report.scored:
        if one.kind == "free":
            continue
        answers = [row["candidates"][one.name] for row in written]
        probs = np.array([[answer["probabilities"][name] for name in LABELS] for answer in answers])
        assert probs.sum(axis=1) == pytest.approx(1, abs=1e-4)
        gold = np.array([LABELS.index(row["label"]) for row in written])
        assert accuracy(probs, gold) == pytest.approx(one.test["accuracy"].value)
        assert [answer["label"] for answer in answers] == [LABELS[k] for k in probs.argmax(axis=1)]
    assert "gliclass" not in written[0]["candidates"]


def test_an_answer_that_is_no_label_is_null_in_the_rows(report: Report, candidates: list[Candidate]) -> None:
    answers = [json.loads(line)["candidates"]["free"] for line in rows_jsonl(candidates, report, ROWS).splitlines()]
    none = next(one.probs for one in candidates if one.name == "free")[:, -1] == 1
    assert [answer["label"] is None for answer in answers] == none.tolist()
    assert all("probabilities" not in answer for answer in answers)


def test_a_row_without_a_usable_answer_has_none_in_rows_and_mistakes() -> None:
    candidates = draw_candidates(ROWS, LABELS)
    best = next(candidate for candidate in candidates if candidate.name == "encoder-pairs")
    best.probs[:] = np.where(np.arange(len(ROWS))[:, None] % 2, 0.0, best.probs)
    board = build([best], ROWS, LABELS, 50, 0)
    told = [
        json.loads(line)["candidates"]["encoder-pairs"]["label"]
        for line in rows_jsonl([best], board, ROWS).splitlines()
    ]
    assert [label is None for label in told] == [i % 2 == 1 for i in range(len(ROWS))]
    found = board.tables["encoder-pairs"]
    assert sum(n for _, _, n in found.confusion) == len(ROWS) / 2
    assert found.n_wrong >= len(ROWS) / 2
    assert {row.answer for row in found.mistakes if row.confidence == 0} == {"no answer"}


def test_of_very_many_labels_the_likeliest_are_written() -> None:
    rows = many_labels_rows(77, 77)
    labels = [row.label for row in rows]
    drawn = draw_candidates(rows, labels, CANDIDATES[1:2])
    made = build(drawn, rows, labels, 100, 0)
    for row in map(json.loads, rows_jsonl(drawn, made, rows).splitlines()):
        answer = row["candidates"]["sgd-ngrams"]
        assert len(answer["probabilities"]) == 20
        assert answer["label"] == max(answer["probabilities"], key=answer["probabilities"].get)
        assert 0.7 < sum(answer["probabilities"].values()) <= 1


# --- report.md ---


def test_the_first_line_is_the_verdict(report: Report, text: str) -> None:
    assert text.splitlines()[0] == words(report).text


def test_every_table_is_whole(text: str) -> None:
    """All rows of a table have as many cells as its head, whatever the texts in them hold."""
    cells, n_tables = 0, 0
    for before, row in zip(["", *text.splitlines()], text.splitlines(), strict=False):
        if row.startswith("|"):
            n = len(re.findall(r"(?<!\\)\|", row))
            if not before.startswith("|"):
                cells, n_tables = n, n_tables + 1
            assert n == cells, row
    assert n_tables >= 9


def test_the_leaderboard_has_raw_numbers_beside_calibrated_ones(report: Report) -> None:
    """As MLflow takes it."""
    found = mlflow_table(leaderboard(report)[0])
    assert {len(column) for column in found.values()} == {len(report.candidates)}
    by_name = {name: {key: column[i] for key, column in found.items()} for i, name in enumerate(found["candidate"])}
    one, line = by_name["untuned"], report.entry("untuned")
    assert one["log loss"].startswith(f"{line.test['log_loss'].value:.3f} [")
    assert one["raw log loss"].startswith(f"{line.raw['log_loss'].value:.3f} [")
    assert one["size"] == "270 MB"
    assert one["ms/row"] == "62"
    assert by_name[report.verdict.best]["against the best"] == "best"
    assert by_name["majority"]["against the best"].startswith("worse p < ")
    assert by_name["free"]["log loss"] == "–"
    assert set(by_name["gliclass"].values()) == {"gliclass", "left out", "–"}


def test_the_report_says_what_a_reader_needs(text: str) -> None:
    for wanted in (
        "make compare",
        "split digest",
        "a bootstrap that draws whole groups of rows",
        "| proposals | 41 |",
        "| curve dev_accuracy | ",
        "## Limits",
    ):
        assert wanted in text
    assert "| minilm-logreg | seed of training | 5 |" in part(text, "Other seeds, other splits")
    assert "| candidate | 1 | 2 | 4 | 8 | 16 | 32 | all |" in part(text, "Learning curves")
    assert "| sgd-ngrams | sgd-ngrams as drawn | 91.1 | 0.4 | 0.56 | 10,000 | 3.0 MB | 306 MB | 0.5 s | – |" in part(
        text, "Cost"
    )
    cells = "0.810 | 0.830 | 0.910 | used: 0.950 with, 0.880 without "
    cells += "| 95.0 [90.0, 98.0] | 75.0 [70.0, 80.0] | 50.0 [35.0, 65.0] | 9.5 | 40"
    assert f"| minilm-logreg | {cells} |" in part(text, "Confidence: rows out of scope")
    assert "No row is confused." in part(text, "Labels: encoder-pairs")
    assert "Most often confused: " in part(text, "Labels: sft@code")
    assert toy_bundle().prompt.system in part(text, "The prompt")


def test_paired_tests_are_told_for_three_metrics(text: str, report: Report) -> None:
    rows = [
        row.split(" | ") for row in part(text, "Paired tests against the best candidate").splitlines() if row[:1] == "|"
    ]
    assert {len(row) for row in rows} == {12}
    (found,) = (row for row in rows if row[0] == "| untuned")
    line = report.entry("untuned")
    assert found[1:3] == [str(line.n_only_this), str(line.n_only_best)]
    assert found[3].startswith(f"{100 * line.against_best['accuracy'].value.value:+.1f} [")


def test_quoted_texts_stay_in_their_cells(text: str) -> None:
    (row,) = (line for line in text.splitlines() if "| t-1 " in line)
    assert "| pool | fence | 97.1 | a \\| b c \\`x\\` \\<script\\>" in row
    assert "| t-1 (train) | a, b |" in row
    assert "<script>" not in text


def test_escaping_keeps_names_readable() -> None:
    assert escaped("card_arrival") == "card_arrival"
    assert escaped("_x_ a\\|b") == "\\_x\\_ a\\\\\\|b"
    assert escaped("one\n two\r\n\tthree") == "one two three"
    assert len(escaped("word " * 200)) == 300


def test_pictures_that_are_linked_are_drawn(text: str, report: Report) -> None:
    linked = re.findall(r"\(plots/([\w-]+)\.png\)", text)
    assert linked == list(figures(report))


def bare(report: Report) -> Report:
    entries = tuple(replace(one, spread={}, repeats=(), curve=(), outside=None) for one in report.candidates)
    return replace(report, candidates=entries, suspects=(), stages=(), curves={}, prompt=None)


def test_what_was_not_measured_has_no_section(report: Report) -> None:
    text = markdown(bare(report))
    for heading in ("Other seeds", "Learning curves", "Labels that may", "Confidence: rows", "Stages", "The prompt"):
        assert f"## {heading}" not in text
    assert "not another split, another seed of training, or rows of another kind." in text


def with_cost(report: Report, cost: dict[str, Any]) -> Report:
    first, *others = report.candidates
    return replace(report, candidates=(replace(first, cost=cost), *others))


def test_limits_tell_what_is_particular(report: Report) -> None:
    cost = {"scorings_shortened": 3, "has_probabilities": 0, "thinking_tokens_mean": 40.0, "thoughts_cut_share": 0.25}
    cost |= {"n_invalid": 4, "train_rows_shortened": 7}
    changed = replace(with_cost(report, cost), test_rows=replace(report.test_rows, own_choices=True))
    found = part(markdown(changed), "Limits")
    for wanted in (
        "bring their own choices",
        "3 scorings",
        "7 train rows were shortened",
        "4 test rows got no usable answer",
        "no probabilities",
        "40 tokens a row; 25 %",
        "free text",
    ):
        assert wanted in found
        assert wanted not in "\n".join(limits(report)) or wanted in ("no probabilities", "free text")


def test_the_report_says_which_times_were_disturbed(report: Report) -> None:
    a, b, c, *others = report.candidates
    changed = replace(
        report,
        candidates=(
            replace(a, cost={"others_busy_cores": 1.42, "others_busy_cores_training": 0.0}),
            replace(b, cost={"others_busy_cores": 0.05, "others_busy_cores_training": 0.9}),
            replace(c, cost={"others_busy_cores": None}),
            *others,
        ),
    )
    timed, trained = (one for one in limits(changed) if "Not alone on the machine" in one)
    assert "while timed" in timed
    assert timed.endswith(f": {a.name} 1.4.")
    assert "while trained" in trained
    assert trained.endswith(f": {b.name} 0.9.")
    assert not [one for one in limits(report) if "Not alone" in one]


def test_groups_are_counted(candidates: list[Candidate]) -> None:
    rows = [Example(row.id, row.text, row.label, group=str(i // 2)) for i, row in enumerate(ROWS)]
    board = build(candidates[:2], rows, LABELS, 50, 0)
    assert "- 90 test rows in 45 groups" in markdown(make_report(board, rows, LABELS))


# --- tables ---


def test_every_table_is_sound_and_shown_by_every_face(report: Report, text: str) -> None:
    found, page = tables(report), html(report, {})
    assert len({table.full_title for table in found}) == len(found)
    for table in found:
        names = [column.name for column in table.columns]
        assert len(set(names)) == len(names), table.title
        assert all(len(row) == len(names) or (len(row) < len(names) and row[-1].about) for row in table.rows)
        assert bool(table.rows) == (f"## {escaped(table.full_title)}\n" in text), table.title
        assert not table.rows or f'aria-label="{table.full_title}"' in page


def test_a_table_is_added_by_a_file_and_a_line(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it holds, every face shows it as text."""

    def longest_names(report: Report) -> list[Table]:
        rows = [cells(ODD, str(len(ODD)))]
        return [Table("names", "Longest names", [Column("name", "words"), Column("letters")], rows, about="By length.")]

    monkeypatch.setitem(sys.modules, "workbench.report.tables.names", SimpleNamespace(longest_names=longest_names))
    monkeypatch.setattr("workbench.report.tables.TABLES", (*TABLES, "names.longest_names"))
    shown = part(markdown(report), "Longest names")
    assert f"| {escaped(ODD)} | {len(ODD)} |" in shown
    page = html(report, {})
    assert '<section id="names">' in page
    assert '<a href="#names">Longest names</a>' in page
    assert "<script>alert" not in page


def test_every_reported_metric_has_its_column(report: Report) -> None:
    from labelwright.statistics.metrics import METRICS

    titles = [column.name for column in leaderboard(report)[0].columns]
    assert [METRICS[name].title for name in QUALITY] == titles[1 : 1 + len(QUALITY)]
    assert "AURC %" not in titles
    (legend,) = leaderboard(report)[0].remarks
    assert "log loss, Brier, ECE: lower is better" in legend


def test_numbers_are_not_escaped_and_names_are() -> None:
    table = Table("x", "X", [Column("a|b", "words"), Column("n")], [cells("c|d", "-0.1")])
    assert markdown_table(table) == "| a\\|b | n |\n| --- | --- |\n| c\\|d | -0.1 |"


# --- the terminal ---


def test_the_terminal_shows_what_fits_and_nothing_drives_it(report: Report) -> None:
    wide, narrow = (terminal_table(report, width) for width in (400, 90))
    headers = [[str(column.header) for column in table.columns] for table in (wide, narrow)]
    assert headers[0] == [
        "candidate", "accuracy %", "macro-F1 %", "log loss", "ECE %", "valid labels %", "ms/row", "rows/s", "trained",
        "against the best",
    ]  # fmt: skip
    assert headers[1] == ["candidate", "accuracy %", "ECE %", "ms/row", "against the best"]
    evil = "\x1b[2J\x07[red]x[/red]"
    entries = [replace(one, name=evil) if one.name == "majority" else one for one in report.candidates]
    out = StringIO()
    display = Display(Console(file=out, width=200, soft_wrap=True))
    show_leaderboard(replace(report, candidates=tuple(entries), frontier=(), recipe=evil), display)
    shown = out.getvalue()
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert r"\x1b[2J\x07[red]x[/red]" in shown
    assert "left out" in shown
    assert words(report).winner in shown
    assert "98.9 [94.0, 99.8]" in shown


# --- curves ---


def test_of_a_stages_curves_the_telling_ones_are_kept_and_what_is_no_number_is_not(tmp_path: Path) -> None:
    def step_of(**metrics: list[float]) -> Any:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.jsonl"
        for at, values in enumerate(zip(*metrics.values(), strict=True)):
            append_curve(path, at, dict(zip(metrics, values, strict=True)))
        return SimpleNamespace(curves=path)

    points = [0.1, float("nan"), 0.3]
    found = chosen_curves(
        {"1-grpo": step_of(loss=points, reward=points, dev_accuracy=points), "x": step_of(loss=points)}
    )
    assert found == {"1-grpo": {"dev_accuracy": ((0, 0.1), (2, 0.3)), "reward": ((0, 0.1), (2, 0.3))}}
    assert chosen_curves({"short": step_of(dev=[0.5]), "none": SimpleNamespace(curves=tmp_path / "none")}) == {}
