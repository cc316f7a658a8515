"""Files that are read as somebody says they are written."""

from __future__ import annotations

from pathlib import Path

import pytest

from labelwright.data.formats.dialect import Dialect, delimiter_fault, encoding_fault
from labelwright.data.records import Fault, Row, read_rows


def records(path: Path, dialect: Dialect) -> list[dict[str, str]]:
    rows, faults = read_rows(path, dialect)
    assert faults == []
    return [row.record for row in rows]


@pytest.mark.parametrize("encoding", ["cp1252", "cp1251", "shift_jis", "utf-16-le"])
def test_an_encoding_that_is_said(tmp_path: Path, encoding: str) -> None:
    text = {"cp1252": "Gebühr", "cp1251": "вопрос", "shift_jis": "質問", "utf-16-le": "Ж 質"}[encoding]
    path = tmp_path / "rows.csv"
    path.write_bytes(f"text,label\n{text},a\n".encode(encoding))
    assert records(path, Dialect(encoding=encoding)) == [{"text": text, "label": "a"}]


def test_a_mark_goes_before_what_is_said(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes("text,label\né,a\n".encode("utf-8-sig"))
    assert records(path, Dialect(encoding="cp1252")) == [{"text": "é", "label": "a"}]


def test_lines_that_the_encoding_does_not_have_are_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b"text,label\nok,a\n\x81,a\n")
    rows, faults = read_rows(path, Dialect(encoding="cp1252"))
    assert rows == [Row(1, {"text": "ok", "label": "a"})]
    assert faults == [Fault(3, "not cp1252, which the file was said to be", "line")]


def test_no_header_no_quotes_and_a_delimiter(tmp_path: Path) -> None:
    path = tmp_path / "rows.txt"
    path.write_text('a "quote#x\n"b#y\n', encoding="utf-8")
    dialect = Dialect(delimiter="#", header=False, quotes=False)
    assert records(path, dialect) == [{"1": 'a "quote', "2": "x"}, {"1": '"b', "2": "y"}]


def test_what_cannot_be_said() -> None:
    assert not encoding_fault("cp1252")
    assert "an encoding such as" in encoding_fault("klingon")
    assert "an encoding such as" in encoding_fault("base64")
    assert "one character" in delimiter_fault("::")
