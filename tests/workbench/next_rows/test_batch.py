"""The sheet that people fill shows no guess and no formula, and a batch is there whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from labelwright.data.records import Row, read_rows
from labelwright.data.task import Label
from labelwright.errors import DataError
from workbench.next_rows import batch as module
from workbench.next_rows.batch import AskedRow, Batch, batches_of, own_columns, sheet_of, write_batch

ROWS = (
    AskedRow("b2-1", 'green, "slimy"\npool', "random", "pool", 0.9, 5, "id 5", "g"),
    AskedRow("b2-2", "=HYPERLINK(1)", "diverse", None, 0.0, 6),
)
BATCH = Batch(2, "pool.csv", "words", ROWS, {"rows": 9})


@pytest.mark.parametrize("kind", [".csv", ".jsonl"])
def test_the_sheet_can_be_read_back_and_tells_no_guess(tmp_path: Path, kind: str):
    sheet = write_batch(tmp_path / "next-rows", BATCH, [Label("pool", "water")], ("message", "topic"), kind)
    assert sheet == tmp_path / "next-rows" / "2" / f"{tmp_path.name}-2{kind}"
    rows, faults = read_rows(sheet)
    texts = ['green, "slimy"\npool', "'=HYPERLINK(1)" if kind == ".csv" else "=HYPERLINK(1)"]
    assert faults == []
    assert [row.record for row in rows if isinstance(row, Row)] == [
        {"id": "b2-1", "message": texts[0], "topic": "", "why": "random"},
        {"id": "b2-2", "message": texts[1], "topic": "", "why": "diverse"},
    ]
    assert batches_of(tmp_path / "next-rows") == [BATCH]
    assert (sheet.parent / "labels.csv").read_text(encoding="utf-8-sig") == "label,description\npool,water\n"


def test_a_recipes_own_columns_keep_their_names():
    assert own_columns(("id", "why")) == ("asked_id", "asked_why")
    (first, _) = sheet_of(ROWS, ("id", "why"), ".jsonl").splitlines()
    assert json.loads(first) == {"asked_id": "b2-1", "id": ROWS[0].text, "why": "", "asked_why": "random"}


def test_what_is_cut_off_leaves_no_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "rename", killed)
    with pytest.raises(KeyboardInterrupt):
        write_batch(tmp_path, BATCH, [Label("pool")], ("text", "label"), ".csv")
    assert batches_of(tmp_path) == list(tmp_path.iterdir()) == []


def test_a_damaged_record_is_named(tmp_path: Path):
    write_batch(tmp_path, BATCH, [Label("pool")], ("text", "label"), ".csv")
    (tmp_path / "2" / module.RECORD).write_text('{"number": 2}')
    with pytest.raises(DataError, match=r"asked\.json: not as make next-rows writes it"):
        batches_of(tmp_path)
