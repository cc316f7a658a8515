"""The report's files over a drawn comparison: JSON by its schema, Markdown that a reader can follow, rows."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from comparison_fakes import CANDIDATES, draw_candidates, homeowner_rows, make_curves, make_report, many_labels_rows
from fakes import toy_bundle

from labelwright.data.task import Example
from labelwright.statistics.intervals import wilson
from labelwright.statistics.metrics import accuracy, confusion
from workbench.compare.board import Leaderboard, Suspect
from workbench.compare.leaderboard import build
from workbench.report.document import report_json, report_markdown, rows_jsonl, table
from workbench.report.markdown_tables import escaped
from workbench.report.page_tables import mistakes as page_mistakes
from workbench.report.plots.figures import figures

ROOT = Path(__file__).parents[3]
ROWS = homeowner_rows(90)
LABELS = sorted({row.label for row in ROWS})
ODD = "a | b\nc `x` <script>alert(1)</script> *y* [z](w)"
OUTSIDE = {"n_rows": 40, "auroc": 0.91, "accepted": 0.25}


@pytest.fixture(scope="module")
def board() -> Leaderboard:
    candidates = draw_candidates(ROWS, LABELS)
    candidates[4] = replace(candidates[4], outside=OUTSIDE)
    made = build(candidates, ROWS, LABELS, 200, 0)
    return replace(made, suspects=(Suspect("train", "t-1", ODD, "pool", "fence", 0.9712, ("a", "b")),))


@pytest.fixture(scope="module")
def report(board: Leaderboard) -> dict[str, Any]:
    given = make_report(board, ROWS, LABELS)
    run = {key: given[key] for key in ("recipe", "run", "command", "machine")}
    made = report_json(board, run=run, splits=given["splits"], labels=LABELS, stages=given["stages"], test=ROWS)
    # As it is read back from the file.
    return json.loads(json.dumps(made, allow_nan=False))


@pytest.fixture(scope="module")
def text(report: dict[str, Any], board: Leaderboard) -> str:
    return report_markdown(report, board, ROWS, toy_bundle(), make_curves())


def candidate_of(report: dict[str, Any], name: str) -> dict[str, Any]:
    return next(one for one in report["candidates"] if one["name"] == name)


def part(text: str, heading: str) -> str:
    """What stands below a heading."""
    return text.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]


# --- report.json ---


def test_the_report_follows_its_schema(report: dict[str, Any]) -> None:
    schema = json.loads((ROOT / "docs" / "report.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(report, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**report, "candidates": [{**report["candidates"][0], "test": {}}]}, schema)


def test_a_candidate_says_all_that_is_known_of_it(report: dict[str, Any], board: Leaderboard) -> None:
    one, line = candidate_of(report, "minilm-logreg"), board.line("minilm-logreg")
    assert one["about"] == "minilm-logreg as drawn"
    assert one["calibration"]["variant"] == "temperature"
    assert one["raw"]["log_loss"]["value"] == line.raw["log_loss"].value
    assert one["spread"]["split fixed"]["n"] == 5
    assert len(one["repeats"]) == 4
    assert len(one["curve"]) == 14
    assert one["outside"] == OUTSIDE
    assert one["against_best"]["macro_f1"]["p_holm"] == line.against_best["macro_f1"].p_holm
    assert (one["n_only_this"], one["n_only_best"]) == (line.n_only_this, line.n_only_best)


def test_free_text_has_no_probabilities_and_says_how_often_it_is_a_label(report: dict[str, Any]) -> None:
    one = candidate_of(report, "free")
    assert set(one["test"]) == {"accuracy", "macro_f1"}
    assert one["raw"] == {}
    assert set(one["against_best"]) == {"accuracy", "macro_f1"}
    assert one["generation"]["valid"] == wilson(0.52, 60)._asdict()


def test_a_failed_candidate_says_why(report: dict[str, Any], text: str) -> None:
    one = candidate_of(report, "gliclass")
    assert one["failed"].startswith("gliclass needs a package")
    assert (one["test"], one["against_best"]) == ({}, None)
    assert "gliclass is left out: gliclass needs a package" in text


def test_intervals_hold_their_values(report: dict[str, Any]) -> None:
    for one in report["candidates"]:
        for name, interval in {**one["test"], **{f"raw {k}": v for k, v in one["raw"].items()}}.items():
            assert interval["low"] <= interval["value"] <= interval["high"], (one["name"], name)


def test_tables_are_of_the_best_the_shipped_and_the_tuned(report: dict[str, Any], board: Leaderboard) -> None:
    verdict = board.verdict
    assert set(report["tables"]) == {verdict.best, verdict.ship, verdict.tuned}
    for name, one in report["tables"].items():
        probs = board.line(name).candidate.probs
        assert one["confusion"] == confusion(probs, board.gold).tolist()
        assert [row["label"] for row in one["labels"]] == LABELS
        wrong = np.flatnonzero(probs.argmax(axis=1) != board.gold)
        assert len(one["mistakes"]) == min(20, len(wrong))
        sure = [row["confidence"] for row in one["mistakes"]]
        assert sure == sorted(sure, reverse=True)
        assert not sure or sure[0] == pytest.approx(probs[wrong].max())
        for row in one["mistakes"]:
            i = [example.id for example in ROWS].index(row["id"])
            assert (row["text"], row["label"]) == (ROWS[i].text, ROWS[i].label)
            assert row["answer"] == LABELS[probs[i].argmax()] != row["label"]
    assert any(one["mistakes"] for one in report["tables"].values())


# --- rows.jsonl ---


def test_rows_hold_every_candidates_calibrated_probabilities(report: dict[str, Any], board: Leaderboard) -> None:
    written = [json.loads(line) for line in rows_jsonl(board, ROWS, LABELS).splitlines()]
    assert [row["id"] for row in written] == [row.id for row in ROWS]
    for one in report["candidates"]:
        if one["failed"] or one["kind"] == "free":
            continue
        answers = [row["candidates"][one["name"]] for row in written]
        probs = np.array([[answer["probabilities"][name] for name in LABELS] for answer in answers])
        assert probs.sum(axis=1) == pytest.approx(1, abs=1e-4)
        gold = np.array([LABELS.index(row["label"]) for row in written])
        assert accuracy(probs, gold) == pytest.approx(one["test"]["accuracy"]["value"])
        assert [answer["label"] for answer in answers] == [LABELS[k] for k in probs.argmax(axis=1)]
    assert "gliclass" not in written[0]["candidates"]


def test_an_answer_that_is_no_label_is_null_in_the_rows(board: Leaderboard) -> None:
    answers = [json.loads(line)["candidates"]["free"] for line in rows_jsonl(board, ROWS, LABELS).splitlines()]
    none = board.line("free").candidate.probs[:, -1] == 1
    assert [answer["label"] is None for answer in answers] == none.tolist()
    assert all("probabilities" not in answer for answer in answers)


def test_a_row_without_a_usable_answer_has_none_in_rows_and_mistakes() -> None:
    candidates = draw_candidates(ROWS, LABELS)
    best = next(candidate for candidate in candidates if candidate.name == "encoder-pairs")
    best.probs[:] = np.where(np.arange(len(ROWS))[:, None] % 2, 0.0, best.probs)
    board = build([best], ROWS, LABELS, 50, 0)
    told = [
        json.loads(line)["candidates"]["encoder-pairs"]["label"]
        for line in rows_jsonl(board, ROWS, LABELS).splitlines()
    ]
    assert [label is None for label in told] == [i % 2 == 1 for i in range(len(ROWS))]
    given = make_report(board, ROWS, LABELS)
    assert sum(sum(row) for row in given["tables"]["encoder-pairs"]["confusion"]) == len(ROWS) / 2
    _, n_wrong, mistakes = page_mistakes(board.line("encoder-pairs"), board, ROWS, LABELS)
    assert n_wrong >= len(ROWS) / 2
    shown = [*given["tables"]["encoder-pairs"]["mistakes"], *mistakes]
    assert {row["answer"] for row in shown if str(row["confidence"]).startswith("0.0")} == {"no answer"}


def test_of_very_many_labels_the_likeliest_are_written() -> None:
    rows = many_labels_rows(77, 77)
    labels = [row.label for row in rows]
    made = build(draw_candidates(rows, labels, CANDIDATES[1:2]), rows, labels, 100, 0)
    for row in map(json.loads, rows_jsonl(made, rows, labels).splitlines()):
        answer = row["candidates"]["sgd-ngrams"]
        assert len(answer["probabilities"]) == 20
        assert answer["label"] == max(answer["probabilities"], key=answer["probabilities"].get)
        assert 0.7 < sum(answer["probabilities"].values()) <= 1


# --- report.md ---


def test_the_first_line_is_the_verdict(report: dict[str, Any], text: str) -> None:
    assert text.splitlines()[0] == report["verdict"]["text"]


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


def test_the_leaderboard_has_raw_numbers_beside_calibrated_ones(report: dict[str, Any], board: Leaderboard) -> None:
    columns, rows = table(report)
    assert len(set(columns)) == len(columns)
    assert all(len(row) == len(columns) for row in rows)
    by_name = {row[0]: dict(zip(columns, row, strict=True)) for row in rows}
    cells, line = by_name["untuned"], board.line("untuned")
    assert cells["log loss"].startswith(f"{line.test['log_loss'].value:.3f} [")
    assert cells["raw log loss"] == f"{line.raw['log_loss'].value:.3f}"
    assert cells["size"] == "270 MB"
    assert cells["ms/row"] == "62"
    assert by_name[board.verdict.best]["against the best"] == "best"
    assert by_name["majority"]["against the best"] == "worse"
    assert by_name["free"]["log loss"] == "–"
    assert set(by_name["gliclass"].values()) == {"gliclass", "–"}


def test_the_report_says_what_a_reader_needs(text: str) -> None:
    for wanted in (
        "make compare",
        "split digest",
        "a bootstrap over groups",
        "proposals: 41",
        "curve dev_accuracy",
        "## Limits",
    ):
        assert wanted in text
    assert "| minilm-logreg | seed of training | 5 |" in part(text, "Other seeds, other splits")
    assert "| candidate | 1 | 2 | 4 | 8 | 16 | 32 | all |" in part(text, "Learning curves")
    assert "| sgd-ngrams | sgd-ngrams as drawn | 0.5 s | 0.4 | 0.56 | 10000 | 3.0 MB | 306 MB | – |" in part(
        text, "What they cost"
    )
    assert "| minilm-logreg | 0.910 | 25.0 | 40 |" in part(text, "Rows out of scope")
    assert "Most confused by" in part(text, "Labels") or "No row is confused" in part(text, "Labels")
    assert toy_bundle().prompt.system in part(text, "The prompt")


def test_paired_tests_are_told_for_three_metrics(text: str, board: Leaderboard) -> None:
    rows = [
        row.split(" | ") for row in part(text, "Paired tests against the best candidate").splitlines() if row[:1] == "|"
    ]
    assert {len(row) for row in rows[:1] + rows[2:]} == {12}
    (found,) = (row for row in rows if row[0] == "| untuned")
    line = board.line("untuned")
    assert found[1:3] == [str(line.n_only_this), str(line.n_only_best)]
    assert found[3].startswith(f"{100 * line.against_best['accuracy'].value.value:+.1f} [")


def test_quoted_texts_stay_in_their_cells(text: str) -> None:
    (row,) = (line for line in text.splitlines() if line.startswith("| t-1 |"))
    assert "a \\| b c \\`x\\` \\<script\\>" in row
    assert "| 0.97 | a, b |" in row
    assert "<script>" not in text


def test_escaping_keeps_names_readable() -> None:
    assert escaped("card_arrival") == "card_arrival"
    assert escaped("_x_ a\\|b") == "\\_x\\_ a\\\\\\|b"
    assert escaped("one\n two\r\n\tthree") == "one two three"
    assert len(escaped("word " * 200)) == 300


def test_pictures_that_are_linked_are_drawn(text: str, board: Leaderboard) -> None:
    linked = re.findall(r"\(plots/([\w-]+)\.png\)", text)
    assert linked == list(figures(board, LABELS, make_curves()))


def test_what_was_not_measured_has_no_section(board: Leaderboard, report: dict[str, Any]) -> None:
    bare = {
        **report, "suspects": [], "stages": [],
        "candidates": [{**one, "spread": {}, "curve": [], "outside": None} for one in report["candidates"]],
    }  # fmt: skip
    text = report_markdown(bare, board, ROWS, None, {})
    for heading in ("Other seeds", "Learning curves", "Labels that may", "Rows out of scope", "Stages", "The prompt"):
        assert f"## {heading}" not in text
    assert "not another split, another seed of training, or rows of another kind." in text


def test_limits_tell_what_is_particular(board: Leaderboard, report: dict[str, Any]) -> None:
    rows = [replace(row, choices=("a", "b")) for row in ROWS]
    cost = {"scorings_shortened": 3, "has_probabilities": 0, "thinking_tokens_mean": 40.0, "thoughts_cut_share": 0.25}
    cost["n_invalid"] = 4
    changed = {**report, "candidates": [{**report["candidates"][0], "cost": cost}, *report["candidates"][1:]]}
    limits = part(report_markdown(changed, board, rows, None, {}), "Limits")
    for wanted in (
        "bring their own choices",
        "3 scorings",
        "4 test rows got no usable answer",
        "no probabilities",
        "40 tokens a row; 25 %",
        "free text",
    ):
        assert wanted in limits


def test_groups_are_counted(board: Leaderboard, report: dict[str, Any]) -> None:
    rows = [Example(row.id, row.text, row.label, group=str(i // 2)) for i, row in enumerate(ROWS)]
    assert "- 90 test rows in 45 groups" in report_markdown(report, board, rows, None, {})
