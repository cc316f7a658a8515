"""Rows of a JSONL, CSV or Parquet file as dictionaries, and the text of one cell. Knows nothing of tasks."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from labelwright.errors import DataError, MissingExtraError

_PARQUET_ROWS = 1024


def read_records(path: Path | str) -> list[dict[str, Any]]:
    """The rows of a JSONL, CSV or Parquet file as dictionaries. Raises DataError, as ``read_examples`` does."""
    return list(iterate_records(path))


def iterate_records(path: Path | str) -> Iterator[dict[str, Any]]:
    """``read_records`` one row at a time, for files that should not be held in memory."""
    path = Path(path)
    readers = {".jsonl": _read_jsonl, ".csv": _read_csv, ".parquet": _read_parquet}
    if path.suffix.lower() not in readers:
        raise DataError(f"{path}: expected a file ending in .jsonl, .csv or .parquet")
    if not path.is_file():
        raise DataError(f"{path}: no such file; check the path (relative paths start at the current folder)")
    n_rows = 0
    try:
        for record in readers[path.suffix.lower()](path):
            n_rows += 1
            yield record
    except UnicodeDecodeError as error:
        raise DataError(f"{path}, line {_undecodable_line(path)}: not UTF-8; save the file as UTF-8") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); check the file") from error
    if not n_rows:
        raise DataError(f"{path}: the file has no rows")


def cell(record: Mapping[str, Any], column: str, role: str, where: str) -> str:
    """The text of one cell, stripped.

    Parameters
    ----------
    role : str
        What the column is for ("text", "label"), and ``where`` the file and row: both for messages.

    Raises
    ------
    DataError
        If the row has no such column, or the cell is empty or not text.
    """
    if column not in record:
        raise DataError(
            f"{where}: no column {column!r} for {role}; the row has {sorted(map(str, record))}: name the right column "
            f"(in a recipe under [data], on the command line with --{role}-column)"
        )
    value = record[column]
    if isinstance(value, dict | list | bytes):
        raise DataError(f"{where}: the {role} is a {type(value).__name__}, not text; put plain text in {column!r}")
    text = "" if is_missing(value) else str(value).strip()
    if not text:
        raise DataError(f"{where}: the {role} is empty; fill it in or remove the row")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise DataError(f"{where}: the {role} holds half a character (a lone surrogate); correct or remove the row")
    return text


def is_missing(value: Any) -> bool:
    """None, blank text, and NaN, which is how data frames write a missing cell."""
    return value is None or (isinstance(value, float) and math.isnan(value)) or str(value).strip() == ""


def _undecodable_line(path: Path) -> int:
    """Number of the first line that is not UTF-8: a decoder reading blocks does not know it."""
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return 0


def _read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    # utf-8-sig, here and below: some editors and spreadsheets write a byte-order mark before the first character.
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except json.JSONDecodeError as error:
                raise DataError(f"{path}, line {number}: not JSON ({error.msg}); expected one object a line") from error
            if not isinstance(record, dict):
                raise DataError(f"{path}, line {number}: expected a JSON object, found {type(record).__name__}")
            yield record


def _read_csv(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        try:
            for number, record in enumerate(csv.DictReader(lines), start=1):
                if None in record:
                    raise DataError(f"{path}, row {number}: more cells than the header has; quote texts with commas")
                yield record
        except csv.Error as error:
            raise DataError(f"{path}: not CSV as expected ({error}); write it with quotes around texts") from error


def _read_parquet(path: Path) -> Iterator[dict[str, Any]]:
    try:
        import pyarrow as arrow
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise MissingExtraError('reading Parquet needs pyarrow: pip install "labelwright[parquet]"') from error
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_PARQUET_ROWS):
                yield from batch.to_pylist()
    except arrow.ArrowException as error:
        raise DataError(f"{path}: not a Parquet file ({str(error).splitlines()[0]}); write it again") from error
