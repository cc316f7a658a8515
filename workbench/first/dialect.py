"""How a person's file is written, where it does not say so itself: encoding, quotes, header, labels, sheet.

What is found goes into the recipe, where it can be read and mended; no reader of the house guesses.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from charset_normalizer import from_bytes

from labelwright.data.formats.dialect import PLAIN, Dialect
from labelwright.data.formats.packed import kind_of, opened
from labelwright.data.formats.sheet_rows import read_sheets
from labelwright.data.formats.text_lines import decoded_lines, marked_encoding, wide_encoding
from labelwright.data.records import Fault, Row, scan_records
from labelwright.data.sources import parts_of
from labelwright.errors import DataError
from labelwright.plain_text import printable_line
from workbench.first.cells import describe
from workbench.first.columns import header_is_a_row

# Bytes of a file that its encoding is guessed from.
_LOOKED_AT_BYTES = 2**20
_SAMPLE_ROWS = 200
# Rows in which quotes that open no cells would have shown.
_QUOTED_ROWS = 20_000
# What spreadsheets and databases write besides Windows-1252.
_ENCODINGS = [
    "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "koi8_r", "iso8859_2",
    "shift_jis", "cp932", "euc_jp", "gb18030", "big5", "euc_kr", "cp949",
]  # fmt: skip
_LABEL_PREFIX = "__label__"
# Rows among which the names of a sheet's columns are looked for.
_HIGHEST_TITLE = 20
Ask = Callable[[str, Sequence[str]], str]


def find_dialect(path: Path, remarks: list[str], ask: Ask | None = None, has_header: bool = False) -> Dialect:
    """The dialect of a file; what was found, and on what grounds, goes to the remarks.

    Parameters
    ----------
    ask : callable, optional
        Asks a person which of several; without it the first is taken and the others are named.
    has_header : bool
        Whether it is known that the first line of a CSV file names its columns.

    Raises
    ------
    DataError
        As ``scan_records``, where the file as a whole cannot be read.
    """
    kind = kind_of(path)
    if kind == "sheet":
        sheet = _sheet(path, remarks, ask)
        return Dialect(sheet=sheet, title_rows=_title_rows(path, sheet, remarks))
    if kind not in ("csv", "json", "jsonl"):
        return PLAIN
    dialect = Dialect(encoding=find_encoding(path, remarks))
    if kind != "csv":
        return dialect
    if _is_fasttext(path, dialect):
        remarks.append(f"lines hold a word that begins with {_LABEL_PREFIX}, as fastText writes labels")
        return replace(dialect, label_prefix=_LABEL_PREFIX)
    dialect = _quotes(path, dialect, remarks)
    rows = [row.record for row in islice(scan_records(path, dialect), _SAMPLE_ROWS) if isinstance(row, Row)]
    if not has_header and header_is_a_row(describe(rows)):
        remarks.append('the first line reads like a row and names no columns: header = false, columns are "1", "2", …')
        dialect = replace(dialect, header=False)
    return dialect


def scan_found(path: Path, say: Callable[[str], None], has_header: bool = False) -> Iterator[Row | Fault]:
    """Every row of a file or a folder, or what is wrong with it; the dialect is found out, and what was found is said.

    Raises
    ------
    DataError
        As ``find_dialect``, or ``labelwright.data.sources.parts_of``.
    """
    remarks: list[str] = []
    dialect = find_dialect(path, remarks, has_header=has_header) if path.is_file() else PLAIN
    for remark in remarks:
        say(f"  {path.name}: {remark}")
    for part in parts_of(path, dialect):
        yield from part.scan()


def find_encoding(path: Path, remarks: list[str]) -> str:
    """The encoding of a text file; empty where it is UTF-8, or says itself what it is."""
    with opened(path) as file:
        head = file.read(_LOOKED_AT_BYTES)
    if marked_encoding(head):
        return ""
    if wide := wide_encoding(head):
        remarks.append(f"the bytes are {wide} without a mark that says so")
        return wide
    # The last line may be cut off in the middle of a character.
    whole = head if len(head) < _LOOKED_AT_BYTES else head[: head.rfind(b"\n") + 1]
    if _is_utf8(whole):
        return ""
    lines = [line for line in whole.splitlines() if not line.isascii()]
    if sum(map(_is_utf8, lines)) * 2 > len(lines):
        return ""  # UTF-8 with damaged lines, which reading names
    foreign = b"\n".join(lines)
    encoding = "cp1252"
    if not _is_western(foreign):
        best = from_bytes(foreign, cp_isolation=_ENCODINGS).best()
        encoding = "cp1252" if best is None else best.encoding
    sample = next((text for line in lines if (text := line.decode(encoding, "replace"))), "")
    remarks.append(f"not UTF-8: read as {encoding}, which is a guess; does this look right? {_around(sample)}")
    return encoding


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_western(content: bytes) -> bool:
    """Whether the bytes make sense in Windows-1252: words with some letters that are not ASCII, and no signs in them.

    A guess by statistics is often wrong on a few accents; this encoding is by far the most frequent.
    """
    try:
        text = content.decode("cp1252")
    except UnicodeDecodeError:
        return False
    words = [word for word in re.findall(r"[^\s\x00-\x2f\x3a-\x40\x5b-\x60\x7b-\x7f]+", text) if not word.isascii()]
    odd = sum(bool(re.search(r"[A-Za-z][^\w'’´`.-][A-Za-z]", word)) for word in words)
    n_letters = sum(map(len, words))
    n_foreign = sum(not one.isascii() for word in words for one in word)
    return odd * 10 <= len(words) and n_foreign * 2 <= max(n_letters, 2 * len(words))


def _around(text: str) -> str:
    """The first letters of a line that an encoding decides, with what is around them."""
    at = next((i for i, one in enumerate(text) if not one.isascii()), 0)
    return repr(printable_line(text[max(at - 20, 0) : at + 20]))


def _quotes(path: Path, dialect: Dialect, remarks: list[str]) -> Dialect:
    """Without quotes, where they make rows unreadable that are well without."""
    unquoted = replace(dialect, quotes=False)

    def n_faults(tried: Dialect) -> int:
        return sum(isinstance(row, Fault) for row in islice(scan_records(path, tried), _QUOTED_ROWS))

    try:
        n_quoted = n_faults(dialect)
    except DataError:
        n_quoted = -1  # the header's quotes, or something that quotes have nothing to do with
    try:
        if n_quoted and not n_faults(unquoted):
            remarks.append("quotes in this file are signs of its texts and open no cells: quotes = false")
            return unquoted
    except DataError:
        pass
    return dialect


def _sheet(path: Path, remarks: list[str], ask: Ask | None) -> str:
    """The sheet to read; empty where only one has rows."""
    filled = [name for name, rows in read_sheets(path).items() if len(rows) > 1]
    if len(filled) < 2:
        return ""
    if ask is not None:
        return ask(f"{path.name}: which sheet has the rows?", filled)
    largest = max(filled, key=lambda name: len(read_sheets(path)[name]))
    others = ", ".join(repr(name) for name in filled if name != largest)
    remarks.append(f"sheet {largest!r} has most rows and is read; others: {others} (set [data] sheet)")
    return largest


def _is_fasttext(path: Path, dialect: Dialect) -> bool:
    """Whether nearly all lines hold a label as fastText writes it; those that do not are named when rows are read."""
    with opened(path) as file:
        lines = [
            line for line in islice(decoded_lines(file, str(path), dialect.encoding), _SAMPLE_ROWS) if line.strip()
        ]
    n_labelled = sum(any(word.startswith(_LABEL_PREFIX) for word in line.split()) for line in lines)
    return bool(lines) and n_labelled >= 0.9 * len(lines)


def _title_rows(path: Path, sheet: str, remarks: list[str]) -> int:
    """How many rows stand above the names of the columns, where the first has one cell: a title, and what goes with it.

    The names are the first row in which all cells are filled, and filled with texts.
    """
    sheets = read_sheets(path)
    rows = sheets[sheet] if sheet else max(sheets.values(), key=len, default=[])
    n_filled = [sum(cell != "" for cell in row) for row in rows]
    width = max(n_filled, default=0)
    # A first column without a name, as data frames write it, leaves one cell of two as well, but the second.
    if width < 2 or n_filled[0] != 1 or rows[0][0] == "":
        return 0
    for number, row in enumerate(rows[:_HIGHEST_TITLE]):
        if n_filled[number] == width and all(isinstance(cell, str) for cell in row if cell != ""):
            named = printable_line(str(rows[0][0]))[:60]
            remarks.append(f"above the columns' names stands {named!r}: title_rows = {number}")
            return number
    return 0
