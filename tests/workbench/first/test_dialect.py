"""Encodings are guessed where a file does not say them, and never where it does."""

from __future__ import annotations

from pathlib import Path

import pytest
from rows import workbook

from labelwright.data.formats.dialect import Dialect
from labelwright.data.records import Row
from workbench.first.dialect import find_dialect, scan_found

TEXTS = {
    "cp1252": [
        "Où est passée ma facture ?",
        "Das Gerät läuft nicht, bitte prüfen",
        "mañana sin falta",
        "it’s 5 € – no",
    ],
    "cp1250": ["gdzie jest moja przesyłka, proszę", "zażółć gęślą jaźń", "příliš žluťoučký kůň úpěl ďábelské ódy"],
    "cp1251": ["Где моя посылка? Жду с понедельника", "Спасибо, всё хорошо, курьер приехал", "верните деньги за заказ"],
    "shift_jis": ["荷物はどこですか、月曜日から待っています", "返金してください", "支払いができません"],
}


def rows(texts: list[str]) -> str:
    return "text,label\n" + "".join(f'"{text} ({i})",{"ab"[i % 2]}\n' for i in range(12) for text in texts)


@pytest.mark.parametrize("encoding", TEXTS)
def test_an_encoding_is_guessed_and_said(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "d.csv"
    path.write_bytes(rows(TEXTS[encoding]).encode(encoding))
    remarks: list[str] = []
    found = find_dialect(path, remarks)
    # Relatives that read the same are as good.
    assert rows(TEXTS[encoding]).encode(encoding).decode(found.encoding) == rows(TEXTS[encoding])
    assert "which is a guess; does this look right?" in remarks[0]


@pytest.mark.parametrize("text", TEXTS["cp1252"])
def test_a_single_accent_is_western(tmp_path: Path, text: str) -> None:
    path = tmp_path / "d.csv"
    path.write_bytes(rows([text, "plain", "and plain again"]).encode("cp1252"))
    assert find_dialect(path, []).encoding == "cp1252"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_what_a_file_says_is_not_guessed(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "d.csv"
    path.write_bytes(rows(TEXTS["cp1251"]).encode(encoding))
    remarks: list[str] = []
    assert find_dialect(path, remarks) == Dialect()
    assert remarks == []


def test_utf8_with_a_damaged_line_is_utf8(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_bytes(rows(TEXTS["cp1252"]).encode() + b"damaged \xe9,a\n")
    assert find_dialect(path, []).encoding == ""


def test_utf16_without_a_mark(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_bytes(rows(["plain text"]).encode("utf-16-le"))
    assert find_dialect(path, []).encoding == "utf-16-le"


def test_quotes_stay_where_they_part_cells(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_text(rows(["quoted, with a comma"]), encoding="utf-8")
    assert find_dialect(path, []) == Dialect()


def test_of_several_sheets_the_largest_or_the_one_that_is_said(tmp_path: Path) -> None:
    table = [["text", "label"], *([f"row {i}", "ab"[i % 2]] for i in range(9))]
    path = workbook(tmp_path / "d.xlsx", {"small": table[:4], "large": table, "empty": []})
    remarks: list[str] = []
    assert find_dialect(path, remarks).sheet == "large"
    assert "sheet 'large' has most rows and is read; others: 'small'" in remarks[0]
    assert find_dialect(path, [], lambda question, answers: answers[0]).sheet == "small"
    assert find_dialect(workbook(tmp_path / "e.xlsx", {"one": table, "two": []}), []).sheet == ""


@pytest.mark.parametrize(
    "above",
    [
        [["", "label"]],  # an index without a name, as data frames write it
        [["text", "label"]],
        [],
    ],
)
def test_names_of_columns_are_no_titles(tmp_path: Path, above: list[list[str]]) -> None:
    path = workbook(tmp_path / "d.xlsx", {"one": [*above, ["the pool", "a"], ["the fence", "b"]]})
    assert find_dialect(path, []).title_rows == 0


def test_a_word_that_looks_like_a_label_makes_no_fasttext(tmp_path: Path) -> None:
    path = tmp_path / "d.txt"
    path.write_text(rows(["plain", "__label__x is what fastText wants"]))
    assert find_dialect(path, []).label_prefix == ""


def test_rows_are_read_by_the_dialect_that_was_found_and_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("text;label\ncafé;1\n".encode("cp1252"))
    said: list[str] = []
    rows = [row.record for row in scan_found(tmp_path / "a.csv", said.append) if isinstance(row, Row)]
    assert rows == [{"text": "café", "label": "1"}]
    assert said[0].startswith("  a.csv: ")
    assert "cp125" in said[0].lower()
