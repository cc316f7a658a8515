"""Workbooks: headers, numbers, blank rows, several sheets."""

from __future__ import annotations

from pathlib import Path

import pytest
from rows import read_records, workbook

from labelwright.data.formats.dialect import Dialect
from labelwright.data.records import Row, scan_records
from labelwright.errors import DataError

TABLE = [["text", "label"], ["no heat", 1], ["", ""], ["green pool", 2]]


def test_rows_below_the_header_with_numbers_as_they_are_shown(tmp_path: Path) -> None:
    path = workbook(tmp_path / "rows.xlsx", {"Tabelle1": TABLE, "empty": []})
    assert read_records(path) == [{"text": "no heat", "label": 1}, {"text": "green pool", "label": 2}]


def test_of_several_sheets_one_is_named(tmp_path: Path) -> None:
    path = workbook(tmp_path / "rows.xlsx", {"one": TABLE, "two": [["text"], ["here"]]})
    with pytest.raises(DataError, match=r"several sheets have rows \('one', 'two'\)"):
        read_records(path)
    assert [row.record for row in scan_records(path, Dialect(sheet="two")) if isinstance(row, Row)] == [
        {"text": "here"}
    ]
    with pytest.raises(DataError, match="no sheet 'three'; it has 'one', 'two'"):
        list(scan_records(path, Dialect(sheet="three")))


def test_without_a_header_columns_have_numbers(tmp_path: Path) -> None:
    path = workbook(tmp_path / "rows.xlsx", {"one": TABLE[1:]})
    rows = [row.record for row in scan_records(path, Dialect(header=False)) if isinstance(row, Row)]
    assert rows == [{"1": "no heat", "2": 1}, {"1": "green pool", "2": 2}]


def test_a_title_above_the_header_is_named(tmp_path: Path) -> None:
    path = workbook(tmp_path / "rows.xlsx", {"one": [["Report of 2025"], *TABLE]})
    with pytest.raises(DataError, match=r"has one cell of 2 \('Report of 2025'\); remove what stands above the names"):
        read_records(path)
    rows = [row.record for row in scan_records(path, Dialect(title_rows=1)) if isinstance(row, Row)]
    assert rows == read_records(workbook(tmp_path / "plain.xlsx", {"one": TABLE}))


def test_what_is_no_workbook_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.xlsx").write_text("text,label\n")
    with pytest.raises(DataError, match="not a workbook that can be read"):
        read_records(tmp_path / "rows.xlsx")
    with pytest.raises(DataError, match="the header has the column 'a' twice"):
        read_records(workbook(tmp_path / "twice.xlsx", {"one": [["a", "a"], ["x", "y"]]}))
