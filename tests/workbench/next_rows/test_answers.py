"""Filled sheets: what may come back, what is refused and how, and what rows drawn by chance say of the classifier."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from labelwright.data.records import Row
from labelwright.errors import DataError
from labelwright.plain_text import spreadsheet_cell
from labelwright.statistics.proportions import wilson
from workbench.next_rows.answers import estimate, known_answers, read_answers, write_answers
from workbench.next_rows.batch import AskedRow, Batch
from workbench.recipe.tables.data import DataTable

TEXTS = ["the pool is green", "=1+1", "a gate drags", "no hot water"]
WHY = ("random", "random", "uncertain", "diverse")
ROWS = tuple(
    AskedRow(f"b1-{n}", text, why, "pool", 0.5, n) for n, (text, why) in enumerate(zip(TEXTS, WHY, strict=True), 1)
)
BATCH = Batch(1, "pool.csv", "words", ROWS)
COLUMNS = ("text", "label")
LABELS = ("pool", "fence", "water heater", "none")


def answered(*records: dict[str, object]) -> dict[str, str]:
    rows = [Row(number, record) for number, record in enumerate(records, start=1)]
    return read_answers(rows, "sheet.csv", [BATCH], COLUMNS, LABELS)


def test_labels_come_back_by_id_however_a_spreadsheet_wrote_them():
    found = answered(
        {"id": "b1-2", "text": "'=1+1", "label": " Water_Heater "},
        {"id": "b1-1", "text": "The pool is green", "label": "pool", "why": "random"},
        {"id": "b1-3", "label": ""},
        {"id": "b1-4", "label": "none"},
        {"id": "b1-4", "label": "none"},
    )
    assert found == {"b1-2": "water heater", "b1-1": "pool", "b1-4": "none"}


def test_labels_come_back_as_the_house_wrote_them_into_labels_csv():
    rows = [Row(1, {"id": "b1-1", "label": spreadsheet_cell("-1")}), Row(2, {"id": "b1-2", "label": "1"})]
    assert read_answers(rows, "sheet.csv", [BATCH], COLUMNS, ("-1", "1")) == {"b1-1": "-1", "b1-2": "1"}


def test_answers_of_a_batch_that_is_gone_stay_as_they_were_written(tmp_path: Path):
    path, log, table = tmp_path / "answers.jsonl", tmp_path / "changes.jsonl", DataTable(path="rows.jsonl")
    write_answers({"b1-1": "pool", "b1-2": "fence"}, [BATCH], table, path, log, "one.csv")
    before = path.read_text()
    later = Batch(2, "pool.csv", "words", (AskedRow("b2-1", "a loose board", "random", None, 0.5, 1),))
    assert write_answers({"b2-1": "fence"}, [later], table, path, log, "two.csv") == (1, 0)
    assert path.read_text().startswith(before)
    assert json.loads(path.read_text().splitlines()[-1])["text"] == "a loose board"


def test_all_that_cannot_be_used_is_refused_in_one_line():
    """A sheet of which one column was sorted gives every row another's label: the texts show it."""
    with pytest.raises(DataError) as error:
        answered(
            {"id": "b1-1", "text": "no hot water", "label": "pool"},
            {"id": "b1-2", "label": "pol"},
            {"id": "b7-2", "label": "pool"},
            {"id": "b1-3", "label": "pool"},
            {"id": "b1-3", "label": "fence"},
        )
    message = str(error.value)
    assert "\n" not in message
    assert "row 1: the text is not the one that was asked about" in message
    assert "row 2: 'pol' is no label; expected one of 'pool', 'fence'" in message
    assert "row 3: its id was not asked" in message
    assert "row 5: row 'b1-3' has another label above" in message
    with pytest.raises(DataError, match="no column 'id': expected the sheet"):
        answered({"text": "the pool is green", "label": "pool"})


def test_answers_are_rows_of_data_and_every_change_is_in_the_log(tmp_path: Path):
    path, log = tmp_path / "answers.jsonl", tmp_path / "changes.jsonl"
    table = DataTable(path="rows.jsonl", text="utterance", label="intent", group="customer", id="uid")
    assert write_answers({"b1-1": "pool", "b1-3": "fence"}, [BATCH], table, path, log, "one.csv") == (2, 0)
    assert write_answers({"b1-3": "fence"}, [BATCH], table, path, log, "one.csv") == (0, 0)
    assert write_answers({"b1-3": "pool", "b1-4": "none"}, [BATCH], table, path, log, "two.csv") == (1, 1)
    assert known_answers(path, table) == {"b1-1": "pool", "b1-3": "pool", "b1-4": "none"}
    first = json.loads(path.read_text().splitlines()[0])
    assert first == {
        "uid": "b1-1", "utterance": "the pool is green", "intent": "pool", "asked_why": "random", "customer": "",
    }  # fmt: skip
    changes = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(one["row"], one["old"], one["new"], one["comment"]) for one in changes] == [
        ("b1-1", "", "pool", "one.csv"), ("b1-3", "", "fence", "one.csv"),
        ("b1-3", "fence", "pool", "two.csv"), ("b1-4", "", "none", "two.csv"),
    ]  # fmt: skip
    path.write_text("{}\n")
    with pytest.raises(DataError, match="not as make next-rows writes it"):
        known_answers(path, table)


def test_only_rows_drawn_by_chance_say_how_good_the_classifier_is():
    found = estimate(BATCH, {"b1-1": "pool", "b1-3": "fence", "b1-4": "fence"})
    assert (found.accuracy, found.n_answered, found.n_random) == (wilson(1.0, 1), 1, 2)
    assert "right on 100.0 [20.7, 100.0] % of 1 row of the pool drawn by chance; 1 more are open" in found.told
    assert estimate(BATCH, {"b1-3": "pool"}).accuracy is None


def test_the_interval_holds_the_pools_accuracy_as_often_as_it_says():
    """500 pools of 1,000 rows with 80 % right, 40 drawn: Wilson's interval holds 0.8 about 19 times in 20."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(500):
        right = rng.permutation(1000)[:40] < 800
        rows = tuple(AskedRow(f"b1-{n}", str(n), "random", "a" if one else "b", 0.5, n) for n, one in enumerate(right))
        accuracy = estimate(Batch(1, "", "", rows), {row.id: "a" for row in rows}).accuracy
        held += accuracy is not None and accuracy.low <= 0.8 <= accuracy.high
    assert 0.93 <= held / 500 <= 0.99
