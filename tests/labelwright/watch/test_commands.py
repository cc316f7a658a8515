"""``labelwright watch`` as it is typed: what it tells, what it refuses, what it leaves in files."""

from __future__ import annotations

import io
import json
import random
import sys
from pathlib import Path

import pytest
from fakes import WORDS, FakeEngine, toy_bundle

import labelwright.engines.opening
from labelwright.bundle.reference import LEAST_GROUPS, Reference
from labelwright.bundle.store import save
from labelwright.bundle.types import Bundle
from labelwright.cli import main
from labelwright.data.task import Task
from labelwright.models.weights import Base
from labelwright.prompt import Prompt, Template
from labelwright.statistics.calibration import Calibration
from labelwright.watch.answers import Answer
from labelwright.watch.sketch import Sketch, known_words

HOSTILE = "the \x1b[31m skimmer $x_1$"


def answered(n: int, seed: int = 0, shares=(1, 1, 1), gold: int = 4, errors: float = 0.1, **more) -> list[dict]:
    """Rows as predict writes them; every ``gold``-th one has its right label."""
    draw = random.Random(seed)
    rows = []
    for number in range(n):
        label = draw.choices(list(WORDS), shares)[0]
        right = label if draw.random() >= errors else "hvac" if label != "hvac" else "pool"
        row = {"text": " ".join(draw.sample(WORDS[label], 3)), "label": label, "confidence": 0.5 + draw.random() / 2}
        rows.append(row | ({"gold": right} if number % gold == 0 else {}) | more)
    return rows


@pytest.fixture(scope="module")
def dev() -> Reference:
    """What dev looked like, were its thousand rows such answers, nine in ten of them right."""
    rows = answered(1000, seed=9, gold=1)
    known = known_words((word, str(i)) for words in WORDS.values() for word in words for i in range(LEAST_GROUPS))
    answers = [Answer(0, row["label"], row["confidence"], row["text"]) for row in rows]
    return Reference(
        Sketch(tuple(WORDS), known).counts(answers), sum(row["label"] == row["gold"] for row in rows), known
    )


@pytest.fixture
def bundle(tmp_path, monkeypatch, dev):
    monkeypatch.setattr(labelwright.engines.opening, "open_engine", lambda weights, settings, **_: FakeEngine())
    monkeypatch.chdir(tmp_path)
    save(toy_bundle(), tmp_path / "bundle", reference=dev)
    return str(tmp_path / "bundle")


def write(name: str, rows: list[dict]) -> str:
    with open(name, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return name


def watched(capsys, *arguments: str) -> tuple[int, str]:
    status = main(["watch", *arguments])
    out, err = capsys.readouterr()
    assert err == ""
    return status, out


def refused(capsys, *arguments: str) -> str:
    assert main(["watch", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("labelwright: error: ")
    assert err.count("\n") == 1
    return err


# ---------------------------------------------------------------------------------------------------------- drift


def test_unchanged_answers_are_no_alarm(bundle, capsys):
    status, out = watched(capsys, bundle, write("a.jsonl", answered(400)), "--window", "100")
    assert status == 0
    assert "0 of 4 windows are an alarm" in out
    assert "toy: 400 rows in 4 windows, compared with dev (1000 rows)" in out


def test_a_shift_is_an_alarm_told_in_words_and_in_json(bundle, capsys):
    rows = answered(300, time="Monday") + answered(300, seed=1, shares=(1, 1, 8), time="Tuesday")
    options = ["--window", "150", "--output", "watch.json"]
    status, out = watched(capsys, bundle, write("a.jsonl", rows), *options)
    assert status == 1
    assert "window 3 (Tuesday): label 'hvac' rose from 3" in out
    written = json.loads(Path("watch.json").read_text())
    assert [one["is_alarm"] for one in written["windows"]] == [False, False, True, True]
    assert (written["n_rows"], written["n_alarms"], written["has_moved"]) == (600, 2, True)
    assert written["n_false_alarms_expected"] == pytest.approx(0.004)
    change = next(one for one in written["windows"][2]["changes"] if one["label"] == "hvac")
    assert change["before"] < 0.4 < 0.7 < change["now"]
    assert change["said"].startswith("label 'hvac' rose")


def test_strange_words_and_a_falling_confidence_are_told(bundle, capsys):
    rows = answered(200)
    strange = [row | {"text": "quelque chose de tout autre", "confidence": 0.35} for row in rows]
    status, out = watched(capsys, bundle, write("a.jsonl", rows + strange), "--window", "200")
    assert status == 1
    assert "known words rose from" in out
    assert "rows with a confidence below 0.4 rose from 0.0% to 100.0%" in out


def test_rows_without_an_answer_are_told_and_those_who_abstained_are_not(bundle, capsys):
    rows = answered(200)
    silent = [{"text": row["text"], "label": None, "error": "too long"} for row in rows[:60]] + rows[60:]
    status, out = watched(capsys, bundle, write("a.jsonl", silent), "--window", "200")
    assert status == 1
    assert "rows without an answer rose from 0.0% to 30.0%" in out
    withheld = [row | {"label": None, "abstained": "unsure", "suggested": row["label"]} for row in rows]
    status, out = watched(capsys, bundle, write("b.jsonl", withheld), "--window", "200", "--output", "w.json")
    assert status == 0
    assert json.loads(Path("w.json").read_text())["windows"][0]["n_abstained"] == 200


def test_a_good_time_may_stand_in_for_dev(bundle, capsys):
    """What is usual is not what dev was: an alarm against dev, none against a time that was good."""
    rows, good = (answered(n, seed, shares=(1, 1, 3)) for n, seed in ((400, 1), (2000, 2)))
    answers = write("a.jsonl", rows)
    assert watched(capsys, bundle, answers)[0] == 1
    status, out = watched(capsys, bundle, answers, "--reference", write("good.jsonl", good))
    assert status == 0
    assert "compared with good.jsonl (2000 rows)" in out


def test_answers_come_from_a_pipe_as_well(bundle, capsys, monkeypatch):
    data = "".join(json.dumps(row) + "\n" for row in answered(60)).encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert "60 rows in 3 windows" in watched(capsys, bundle, "-", "--window", "20")[1]


def test_answers_without_text_and_confidence_are_watched_for_their_labels(bundle, capsys):
    rows = [{"label": row["label"]} for row in answered(100)]
    out = watched(capsys, bundle, write("a.jsonl", rows), "--window", "50")[1]
    assert "and the windows before: labels\n" in out
    assert "no row has its right label" in out


def test_what_a_row_says_drives_no_terminal(bundle, capsys):
    rows = [row | {"time": HOSTILE} for row in answered(100, shares=(0, 0, 1))]
    out = watched(capsys, bundle, write("a.jsonl", rows), "--window", "100")[1]
    assert "\x1b" not in out
    assert r"window 1 (the \x1b[31m skimmer" in out


# ---------------------------------------------------------------------------------------------------------- audit


def test_a_fall_of_audited_accuracy_is_told_and_alone_makes_the_status_1(bundle, capsys):
    rows = answered(600, gold=1, errors=0.3)
    status, out = watched(capsys, bundle, write("a.jsonl", rows), "--window", "300", "--output", "w.json")
    assert "0 of 2 windows are an alarm" in out
    assert "told BELOW dev's 88.5%" in out
    audit = json.loads(Path("w.json").read_text())["audit"]
    assert audit["has_fallen"]
    assert 0 < audit["told_apart_at_row"] <= 600
    assert status == 1


def test_accuracy_as_on_dev_is_not_told_apart(bundle, capsys):
    status, out = watched(capsys, bundle, write("a.jsonl", answered(600, gold=1)), "--window", "300")
    assert "not told apart from dev's" in out
    assert status == 0


def test_the_audited_slice_is_counted_by_window(bundle, capsys):
    rows = answered(200, gold=2)
    _, out = watched(capsys, bundle, write("a.jsonl", rows), "--window", "100", "--output", "w.json")
    written = json.loads(Path("w.json").read_text())
    right = sum(row["label"] == row["gold"] for row in rows if "gold" in row)
    assert [one["n_audited"] for one in written["windows"]] == [50, 50]
    assert sum(one["n_right"] for one in written["windows"]) == written["audit"]["n_right"] == right
    assert f"accuracy {right / 100:.1%}" in out


def test_predicts_own_column_of_right_labels_is_read_too(bundle, capsys):
    rows = [{"input_label" if key == "gold" else key: value for key, value in row.items()} for row in answered(40)]
    assert "of 10 audited rows" in watched(capsys, bundle, write("a.jsonl", rows))[1]


def test_right_labels_are_the_bundles_or_refused(bundle, capsys):
    rows = [{"label": "pool", "gold": " pool "}] * 30
    assert "accuracy 100.0% [88.6%, 100.0%] of 30 audited" in watched(capsys, bundle, write("a.jsonl", rows))[1]
    said = refused(capsys, bundle, write("b.jsonl", [*rows, {"label": "pool", "input_label": "Pool"}]))
    assert "row 31: input_label 'Pool' is none of the bundle's labels" in said
    assert "--gold-column" in said


def test_where_rows_bring_choices_a_letter_is_no_right_label(bundle, capsys):
    task = Task("quiz", "Which?", max_choices=3)
    save(Bundle(task, Prompt.for_task(task, Template()), Base("fake"), Calibration()), "quiz")
    rows = [{"label": "a  stone", "input_label": "B", "confidence": 0.5}] * 30 + [{"label": "wood", "gold": "wood "}]
    file = write("a.jsonl", rows)
    watched(capsys, "quiz", file, "--reference", file, "--output", "w.json")
    audit = json.loads(Path("w.json").read_text())["audit"]
    assert (audit["n"], audit["n_right"]) == (1, 1)


# ------------------------------------------------------------------------------------------------------ challenger


def test_a_challengers_answers_are_compared_row_by_row(bundle, capsys):
    rows = answered(100, gold=1, errors=0.3)
    better = [{"text": row["text"], "label": row["gold"]} for row in rows]
    arguments = [bundle, write("a.jsonl", rows), "--against", write("b.jsonl", better), "--output", "w.json"]
    _, out = watched(capsys, *arguments)
    against = json.loads(Path("w.json").read_text())["against"]
    n_wrong = sum(row["label"] != row["gold"] for row in rows)
    assert against["audited"] | {"difference": 0, "mcnemar_p": 0, "told_apart_at_row": 0} == {
        "both_right": 100 - n_wrong,
        "bundle_alone": 0,
        "challenger_alone": n_wrong,
        "neither": 0,
        "difference": 0,
        "mcnemar_p": 0,
        "told_apart_at_row": 0,
    }
    assert against["audited"]["told_apart_at_row"] < 60
    assert "the challenger is right more often" in out


def test_a_challenging_bundle_answers_the_texts(bundle, capsys):
    save(toy_bundle(), "other")
    rows = answered(100, gold=1)
    _, out = watched(capsys, bundle, write("a.jsonl", rows), "--against", "other", "--output", "w.json")
    against = json.loads(Path("w.json").read_text())["against"]
    assert against["n"] == 100
    assert "challenger: the same answer in" in out
    # The toy's engine knows a text by its label's name alone, which these do not have.
    assert against["agreement"]["value"] < 0.6


def test_a_text_that_no_model_reads_has_no_answer_of_the_challengers(bundle, monkeypatch, capsys):
    class Engine(FakeEngine):
        def score(self, prompts, options):
            "".join(prompt.user for prompt in prompts).encode()
            return super().score(prompts, options)

    monkeypatch.setattr(labelwright.engines.opening, "open_engine", lambda *_, **__: Engine())
    save(toy_bundle(), "other")
    rows = [*answered(30), {"text": "half \ud800", "label": "pool"}]
    watched(capsys, bundle, write("a.jsonl", rows), "--against", "other", "--output", "w.json")
    assert json.loads(Path("w.json").read_text())["against"]["n"] == 31


def test_a_challenging_bundle_needs_texts_and_a_file_the_same_rows(bundle, capsys):
    save(toy_bundle(), "other")
    rows = answered(30)
    silent = write("silent.jsonl", [{"label": row["label"]} for row in rows])
    assert "row 1: no text in column 'text'" in refused(capsys, bundle, silent, "--against", "other")
    ours = write("a.jsonl", rows)
    assert "one of them has more" in refused(capsys, bundle, ours, "--against", write("b.jsonl", rows[:-1]))
    half = write("d.jsonl", [{"label": "\ud800"}] * 30)
    assert "d.jsonl, rows 1, 2" in refused(capsys, bundle, ours, "--against", half)
    turned = write("c.jsonl", rows[::-1])
    assert "row 1 has another text" in refused(capsys, bundle, ours, "--against", turned)


# -------------------------------------------------------------------------------------------------------- refusals


def test_a_bundle_of_before_says_what_to_do(bundle, capsys):
    save(toy_bundle(), "older")
    answers = write("a.jsonl", answered(100))
    err = refused(capsys, "older", answers)
    assert "export it again" in err
    assert "--reference FILE" in err
    assert watched(capsys, "older", answers, "--reference", write("good.jsonl", answered(500, seed=2)))[0] == 0


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"text": "x"}] * 3, "rows 1, 2 and 3: no label: expected answers as"),
        ([{"label": "pool"}, {"label": "roof"}], "row 2: 'roof' is none of the bundle's labels (fence, hvac and pool)"),
        ([{"label": "pool", "confidence": 1.2}], "row 1: confidence '1.2': expected a probability, 0 to 1"),
        ([{"label": "pool", "confidence": True}], "expected a probability"),
        ([{"label": "pool", "confidence": "high"}], "expected a probability"),
    ],
)
def test_what_is_no_answer_is_refused_by_row(bundle, capsys, rows, said):
    assert said in refused(capsys, bundle, write("a.jsonl", rows))


def test_options_that_cannot_be_are_refused_together(bundle, capsys):
    answers = write("a.jsonl", answered(20))
    options = ["--window", "3", "--false-alarms", "0", "--output", "w.txt", "--plot", "w.doc", "--embedded", "-1"]
    err = refused(capsys, bundle, answers, *options)
    assert all(option in err for option in options[::2])
    assert "--false-alarms 0.5" in refused(capsys, bundle, answers, "--false-alarms", "0.5")


# --------------------------------------------------------------------------------------------------------- picture


def test_a_picture_is_drawn_whatever_labels_are_called(bundle, capsys):
    rows = answered(200) + answered(200, seed=1, shares=(0, 0, 1))
    options = ["--window", "100", "--plot", "w.svg"]
    status, out = watched(capsys, bundle, write("a.jsonl", rows), *options)
    assert status == 1
    assert "written: w.svg" in out
    drawn = Path("w.svg").read_text(encoding="utf-8")
    assert drawn.startswith("<?xml")
    assert "#d1242f" in drawn
