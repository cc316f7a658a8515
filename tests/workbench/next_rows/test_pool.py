"""A pool read once: who is kept, who is left out and counted, and that the kept ones are a fair draw."""

from __future__ import annotations

from collections import Counter

import pytest

from labelwright.data.records import Fault, Row
from labelwright.errors import DataError
from workbench.next_rows.pool import Pool, read_pool, text_mark

COLUMNS = {"text": "text", "label": "label", "id": "id", "group": ""}


def read(*records: dict[str, object], known: set[int] = frozenset(), asked: set[int] = frozenset(), **more) -> Pool:
    rows = [Row(number, record) for number, record in enumerate(records, start=1)]
    return read_pool(rows, "pool.csv", COLUMNS, set(known), set(asked), more.pop("seed", 0), **more)


def test_rows_that_need_no_label_are_left_out_and_counted():
    pool = read(
        {"text": "new", "id": 7},
        {"text": " "},
        {"text": "labelled", "label": "a"},
        {"text": "The POOL is green!!"},
        {"text": "asked before"},
        {"text": "New."},
        {"text": "new too", "label": None},
        known={text_mark("the pool is green")},
        asked={text_mark("asked before")},
    )
    assert sorted((row.text, row.id, row.number) for row in pool.rows) == [("new", "7", 1), ("new too", "", 7)]
    left_out = {key: n for key, n in pool.counts.items() if key not in ("rows", "new")}
    assert left_out == dict.fromkeys(("empty", "labelled", "known", "asked", "repeated"), 1)
    assert pool.told.startswith("pool.csv: 7 rows, 2 may be asked; left out: 1 without text, 1 that have a label, ")


def test_groups_are_called_as_in_the_data():
    rows = [Row(1, {"text": "a", "id": 7.0, "who": 5.0}), Row(2, {"text": "b", "id": "8", "who": 5})]
    pool = read_pool(rows, "pool.csv", {**COLUMNS, "group": "who"}, set(), set(), 0)
    assert {(row.id, row.group) for row in pool.rows} == {("7", "5"), ("8", "5")}


def test_every_row_is_as_likely_to_come_first_and_memory_is_bounded():
    """300 draws of 5 from 10: the first place is each row's 30 times on average, and so is being kept at all 150."""
    pools = [read(*({"text": f"row {n}"} for n in range(10)), most=5, seed=seed) for seed in range(300)]
    assert {len(pool.rows) for pool in pools} == {5}
    assert "5 of them kept, drawn by chance" in pools[0].told
    first = Counter(pool.rows[0].text for pool in pools)
    kept = Counter(row.text for pool in pools for row in pool.rows)
    assert len(first) == len(kept) == 10
    assert 12 <= min(first.values()) <= max(first.values()) <= 50
    assert 115 <= min(kept.values()) <= max(kept.values()) <= 185


def test_what_cannot_be_read_is_refused_all_at_once():
    rows = [Row(1, {"text": "fine"}), Fault(2, "not JSON", "line"), Row(3, {"text": ["no", "text"]})]
    with pytest.raises(DataError, match=r"line 2: not JSON.*; row 3: the text is a list"):
        read_pool(rows, "pool.jsonl", COLUMNS, set(), set(), 0)
    with pytest.raises(DataError, match="no column 'text' for the text; it has 'message' and 'x': name one with TEXT="):
        read({"x": 1, "message": "a"})


def test_a_pool_without_anything_to_ask_says_why():
    with pytest.raises(DataError, match=r"2 that have a label: nothing is left to ask; take the column 'label' away"):
        read({"text": "a", "label": "x"}, {"text": "b", "label": "y"})
