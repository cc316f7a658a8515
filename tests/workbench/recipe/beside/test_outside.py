"""Rows that no label is right for: who learns from them, and who is measured on them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwright.data.task import Example, family_keys
from workbench.recipe.beside import outside
from workbench.recipe.beside.outside import LEAST_ROWS, OutOfScope, deal_out_of_scope
from workbench.recipe.files import Files
from workbench.recipe.rows import load_rows, make_splits
from workbench.recipe.tables.data import DataTable, SplitTable

SHARES = SplitTable(dev=0.2, calib=0.2, test=0.2)


def written(path: Path, rows: Sequence[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def inside(n: int, begin: int = 0) -> list[dict[str, Any]]:
    return [{"text": f"row {i} of it", "label": "ab"[i % 2], "group": ""} for i in range(begin, begin + n)]


def none(n: int, begin: int = 0, group: str = "") -> list[dict[str, Any]]:
    return [{"text": f"outside {i} of all", "label": "none", "group": group} for i in range(begin, begin + n)]


def dealt(table: DataTable, seed: int = 0) -> OutOfScope:
    return deal_out_of_scope(table, make_splits(load_rows(table), SHARES, seed), SHARES, seed)


def texts(rows: Sequence[Example]) -> set[str]:
    return {row.text for row in rows}


def test_rows_of_one_file_teach_choose_and_are_measured_on(tmp_path: Path) -> None:
    table = DataTable(path=written(tmp_path / "a.jsonl", inside(40) + none(100)), out_of_scope="none", group="group")
    found = dealt(table)
    assert [len(side) for side in found] == [40, 40, 20]
    assert len(texts(found.taught) | texts(found.calib) | texts(found.test)) == 100
    assert dealt(table) == found != dealt(table, 1)


def test_a_given_test_keeps_its_rows_and_what_is_also_there_teaches_nothing(tmp_path: Path) -> None:
    test = written(tmp_path / "t.jsonl", inside(8, 100) + none(30, 90))
    path = written(tmp_path / "a.jsonl", inside(40) + none(100))
    later = written(tmp_path / "l.jsonl", none(5, 500))
    table = DataTable(path=path, test_path=test, train_path=later, out_of_scope="none", group="group")
    found = dealt(table)
    assert texts(found.test) == texts(outside.all_out_of_scope(table)[test])
    assert len(found.test) == 30
    # Ten of the hundred are test rows as well; of the others four tenths choose, and what came later teaches.
    assert (len(found.taught), len(found.calib)) == (54 + 5, 36)
    assert not texts(found.test) & (texts(found.taught) | texts(found.calib))


def test_too_few_teach_nothing_and_all_are_measured_on(tmp_path: Path) -> None:
    few = DataTable(path=written(tmp_path / "a.jsonl", inside(40) + none(2 * LEAST_ROWS)), out_of_scope="none")
    assert [len(side) for side in dealt(few)] == [0, 0, 2 * LEAST_ROWS]
    one = DataTable(path=written(tmp_path / "b.jsonl", inside(40) + none(1)), out_of_scope="none")
    assert [len(side) for side in dealt(one)] == [0, 0, 1]
    assert dealt(DataTable(path=few.path)) == OutOfScope()


def test_a_given_test_without_such_rows_measures_none_and_the_others_teach_where_they_suffice(tmp_path: Path) -> None:
    test = written(tmp_path / "t.jsonl", inside(8, 100))
    for n, expected in ((100, [60, 40, 0]), (2 * LEAST_ROWS, [0, 0, 0]), (1, [0, 0, 0])):
        path = written(tmp_path / f"{n}.jsonl", inside(40) + none(n))
        found = dealt(DataTable(path=path, test_path=test, out_of_scope="none", group="group"))
        assert [len(side) for side in found] == expected


@settings(max_examples=20)
@given(n_groups=st.integers(1, 40), seed=st.integers(0, 5))
def test_no_group_stands_on_two_sides(n_groups: int, seed: int) -> None:
    rows = [Example(str(i), f"outside {i} of all", "none", group=f"g{i % n_groups}") for i in range(80)]
    measured = [Example(f"in {i}", f"row {i} of it", "ab"[i % 2], group=f"g{i}" if i < 3 else None) for i in range(40)]
    splits = make_splits(measured, SHARES, seed)
    table = DataTable(path="rows.jsonl", out_of_scope="none", group="group")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outside, "read_files", lambda table: Files({table.source: [*measured, *rows]}, {}))
        found = deal_out_of_scope(table, splits, SHARES, seed)
    assert sum(map(len, found)) == 80
    keys = [{key for row in side for key in family_keys(row)} for side in (*found[:2], (*found.test, *splits.test))]
    assert not keys[0] & keys[1]
    assert not keys[0] & keys[2]
    assert not keys[1] & keys[2]
    chosen_on = {key for row in (*splits.dev, *splits.calib) for key in family_keys(row)}
    assert not chosen_on & keys[0]
