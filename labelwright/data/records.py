"""Rows of a file as dictionaries, what is wrong with a row, and the text of one cell.

Knows nothing of tasks. A row that cannot be read is a ``Fault`` that names it, and the rows behind it are read all the
same: who wants all of a file reports every fault at once (``read_rows``, ``refusal``), who answers rows goes on with
the others (``scan_records``). Only what concerns the file as a whole raises while it is read.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, BinaryIO

from labelwright.data.formats.arrow_rows import Unusable, arrow_rows, parquet_rows
from labelwright.data.formats.csv_rows import parse_csv
from labelwright.data.formats.dialect import PLAIN, Dialect
from labelwright.data.formats.json_rows import json_rows
from labelwright.data.formats.packed import ENDINGS, kind_of, opened
from labelwright.data.formats.places import Place, Remote, place_of
from labelwright.data.formats.sheet_rows import sheet_rows
from labelwright.data.formats.text_lines import (
    FIRST,
    Start,
    decoded_lines,
    has_half_a_character,
    holds_undecoded,
    lines_from,
)
from labelwright.errors import DataError

_NOT_UTF8 = (
    "not UTF-8; save the file as UTF-8 (if it is Windows-1252, as spreadsheets write it: "
    'iconv -f CP1252 -t UTF-8 FILE > NEW, or in a recipe [data] encoding = "cp1252")'
)
# How much of a long list of faults a message shows; it always says how many there are.
_SHOWN_REASONS = 6
_SHOWN_ROWS = 12


@dataclass(frozen=True)
class Row:
    """A row as it was read, with its number: from 1, as rows stand in the file; header and blank lines are no rows."""

    number: int
    record: dict[str, Any]


@dataclass(frozen=True)
class Fault:
    """What is wrong with one row of a file.

    Attributes
    ----------
    number : int
        The row, from 1 as ``Row`` counts; where ``unit`` is "line", the line of the file.
    reason : str
        What was found and what to do, without file and row: faults with the same reason are reported together.
    unit : {"row", "line"}
    line : int, optional
        Where a row of a CSV file begins, where that is news: a quote that runs on.
    record : mapping, optional
        The row, where it could be read and is wanted beside its answer: an image in it that cannot be.
    """

    number: int
    reason: str
    unit: str = "row"
    line: int | None = None
    record: Mapping[str, Any] | None = None

    @property
    def place(self) -> str:
        """For messages: "row 3", "line 12", "row 3 (line 7)"."""
        return f"{self.unit} {self._counted}"

    @property
    def _counted(self) -> str:
        return str(self.number) if self.line is None else f"{self.number} (line {self.line})"

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}"


def read_rows(path: Place | str, dialect: Dialect = PLAIN) -> tuple[list[Row], list[Fault]]:
    """All of ``scan_records``: the rows that can be read, and what is wrong with the others."""
    rows: list[Row] = []
    faults: list[Fault] = []
    for found in scan_records(path, dialect):
        if isinstance(found, Fault):
            faults.append(found)
        else:
            rows.append(found)
    return rows, faults


def scan_records(path: Place | str, dialect: Dialect = PLAIN, start: Start = FIRST) -> Iterator[Row | Fault]:
    """Every row of a file in order, or what is wrong with it, one at a time; a URL is opened where it lies.

    JSON lines (.jsonl, .ndjson) or one JSON document (.json); CSV (.csv, .tsv, .tab, .psv, .txt); Parquet and Arrow;
    workbooks (.xlsx, .xls, .ods and their kin); all of them also packed as .gz, .bz2, .xz, or alone in a .zip. What the
    dialect does not say is found out: text is UTF-8, or UTF-16 or UTF-32 with a byte-order mark; a CSV file's cells are
    parted by comma, semicolon, tab or "|", whichever its header has.

    Parameters
    ----------
    start : Start
        Where reading begins, as ``labelwright.data.formats.starts`` finds it; rows keep their numbers.

    Raises
    ------
    DataError
        File missing, unreadable, empty, of another kind or encoding; a header with a column twice.
    MissingExtraError
        A Parquet file without pyarrow, a workbook without python-calamine.
    """
    path = place_of(path) if isinstance(path, str) else path
    if not path.is_file():
        if isinstance(path, Remote):
            raise DataError(f"{path}: is not there, or its server does not give it; check the URL and its keys")
        raise DataError(f"{path}: no such file; check the path (relative paths start at the current folder)")
    if not (kind := kind_of(path)):
        raise DataError(f"{path}: {ENDINGS}")
    n_rows = 0
    try:
        for found in _scan(path, kind, dialect, start):
            n_rows += 1
            yield found
    except OSError as error:
        raise unreadable(path, error) from error
    if not n_rows:
        raise DataError(f"{path}: the file has no rows")


def unreadable(path: Place, error: OSError) -> DataError:
    """What to say of a file that the system, or a store, does not read."""
    return DataError(f"{path}: cannot be read ({error.strerror or error}); check the file")


def scan_jsonl(file: BinaryIO, source: str, encoding: str = "", start: Start = FIRST) -> Iterator[Row | Fault]:
    """Rows of JSON lines, one object each, as ``scan_records`` gives them; ``source`` names the file in messages."""
    number = start.rows
    for at, line in enumerate(lines_from(start, file, source, encoding), start=start.lines + 1):
        if not line.strip():
            continue
        number += 1
        if holds_undecoded(line):
            yield Fault(at, _undecoded(encoding), "line")
            continue
        try:
            record = json.loads(line, object_pairs_hook=_once_each)
        except _RepeatedKeyError as error:
            yield Fault(at, f"the key {error.args[0]!r} stands there twice; keep one", "line")
        except RecursionError:
            yield Fault(at, "not JSON that can be read (nested too deeply); expected one object a line", "line")
        except ValueError as error:  # not JSON, or a number of thousands of digits
            if number == 1 and line.strip() in ("[", "{", "[{"):
                raise DataError(f"{source}: JSON over several lines; {_ONE_A_LINE}") from error
            reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error).partition(";")[0]
            yield Fault(at, f"not JSON ({reason}); expected one object a line", "line")
        else:
            if isinstance(record, dict):
                yield Row(number, record)
            elif number == 1 and isinstance(record, list) and record and isinstance(record[0], dict):
                raise DataError(f"{source}: one JSON list of {len(record)} rows; {_ONE_A_LINE}")
            else:
                yield Fault(at, f"expected a JSON object, found {type(record).__name__}", "line")


_ONE_A_LINE = "call the file .json, or write each row as an object on a line of its own (jq -c '.[]' FILE > NEW.jsonl)"


def scan_lines(file: BinaryIO, source: str) -> Iterator[Row | Fault]:
    """Lines of plain text as rows with the one column "text"; blank lines are none."""
    number = 0
    for at, line in enumerate(decoded_lines(file, source), start=1):
        if line.strip():
            number += 1
            yield Fault(at, _NOT_UTF8, "line") if holds_undecoded(line) else Row(number, {"text": line.strip()})


def refusal(source: str, faults: Sequence[Fault]) -> DataError:
    """One error for all faults of a file, those of one kind together.

    Examples
    --------
    >>> str(refusal("a.csv", [Fault(2, "the text is empty"), Fault(5, "no JSON"), Fault(9, "the text is empty")]))
    'a.csv, rows 2 and 9: the text is empty; row 5: no JSON'
    """
    kinds: dict[tuple[str, str], list[Fault]] = defaultdict(list)
    for fault in sorted(faults, key=lambda fault: fault.number):
        kinds[fault.unit, fault.reason].append(fault)
    said = []
    for (unit, reason), same in islice(kinds.items(), _SHOWN_REASONS):
        places = listed([one._counted for one in same], _SHOWN_ROWS)
        said.append(f"{unit if len(same) == 1 else unit + 's'} {places}: {reason}")
    if len(kinds) > _SHOWN_REASONS:
        said.append(f"and more of other kinds ({len(faults)} faults in all)")
    return DataError(f"{source}, " + "; ".join(said))


def listed(items: Iterable[Any], most: int = _SHOWN_ROWS) -> str:
    """Items in a sentence: "1, 2 and 3", and behind ``most`` of them how many more there are.

    >>> listed(range(9), 3)
    '0, 1, 2 and 6 more'
    """
    words = [str(item) for item in items]
    shown, rest = words[:most], len(words) - most
    if rest > 0:
        return f"{', '.join(shown)} and {rest} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def text_of(record: Mapping[str, Any], column: str, role: str) -> str:
    """The text of one cell, stripped; ``role`` is what the column is for ("text", "label").

    Raises
    ------
    DataError
        No such column; a cell that is empty or no text. The message is the reason of a ``Fault``: no file, no row.
    """
    text = optional_text(record, column, role)
    if not text:
        raise DataError(f"the {role} is empty; fill it in or remove the row")
    return text


def optional_text(record: Mapping[str, Any], column: str, role: str) -> str:
    """``text_of`` where the cell may be empty: then ""."""
    if column not in record:
        raise DataError(no_column([column], [column], record, role))
    value = record[column]
    if isinstance(value, Unusable):
        raise DataError(f"the {role} {value.reason}; fill it in or remove the row")
    if isinstance(value, dict | list | tuple | set | bytes) or getattr(value, "ndim", None):
        raise DataError(f"the {role} is a {type(value).__name__}, not text; put plain text in {column!r}")
    return "" if is_missing(value) else checked_text(str(value).strip(), role)


def no_column(missing: Sequence[str], wanted: Sequence[str], record: Iterable[Any], role: str) -> str:
    """What to say of a row that lacks columns; ``wanted`` are all that its text, or its label, is in."""
    which = f"column {missing[0]!r}" if len(missing) == 1 else f"columns {listed(map(repr, missing))}"
    whose = "" if len(missing) == len(wanted) else f", which is made of {listed(map(repr, wanted))}"
    return (
        f"no {which} for {role}{whose}; the row has {sorted(map(str, record))}: name the right "
        f"column{'' if len(wanted) == 1 else 's'} (in a recipe under [data], on the command line with --{role}-column)"
    )


def checked_text(text: str, role: str) -> str:
    """The text itself. Raises DataError where it holds what no model can read."""
    if has_half_a_character(text):
        raise DataError(f"the {role} holds half a character (a lone surrogate); correct or remove the row")
    if "\0" in text:
        raise DataError(f"the {role} holds a NUL character, as binary files do; correct or remove the row")
    return text


def as_written(value: Any) -> Any:
    """A cell as a file would have it: 5 where it is 5.0, as data frames have whole numbers in a column with gaps."""
    # Above 2**53 floats know no single numbers any more.
    is_whole = isinstance(value, float) and value.is_integer() and abs(value) < 2**53
    return int(value) if is_whole else value


def is_missing(value: Any) -> bool:
    """None, blank text, and NaN, NaT and NA, which is how data frames write a missing cell."""
    if value is None or type(value).__name__ == "NAType":  # pandas' NA refuses to be compared
        return True
    if isinstance(value, str):
        return not value.strip()
    try:
        return bool(value != value)  # only NaN and NaT differ from themselves
    except (TypeError, ValueError):
        return False


def is_empty(value: Any) -> bool:
    """Whether a cell says nothing: ``is_missing``, or a class number that stands for no class."""
    return value.missing if isinstance(value, Unusable) else is_missing(value)


def _scan(path: Place, kind: str, dialect: Dialect, start: Start) -> Iterator[Row | Fault]:
    if kind == "csv":
        yield from _scan_csv(path, dialect, start)
        return
    if kind == "json":
        with opened(path) as file:
            records = json_rows(file, str(path), dialect.encoding)
    elif kind == "jsonl":
        records = None
    elif kind == "sheet":
        records = sheet_rows(path, dialect)
    else:
        records = parquet_rows(path, start.rows) if kind == "parquet" else arrow_rows(path)
    if records is not None:
        for number, record in enumerate(records, start=start.rows + 1):
            yield Row(number, record)
        return
    with opened(path) as file:
        yield from scan_jsonl(file, str(path), dialect.encoding, start)


def _scan_csv(path: Place, dialect: Dialect, start: Start) -> Iterator[Row | Fault]:
    if dialect.label_prefix:
        yield from _scan_prefixed(path, dialect)
        return
    resume = (lambda: _lines(path, dialect.encoding, start)) if start.rows else None
    parsed_rows = parse_csv(lambda: _lines(path, dialect.encoding), str(path), dialect, start.lines, resume)
    for number, parsed in enumerate(parsed_rows, start=start.rows + 1):
        if parsed.undecoded_line:
            yield Fault(parsed.undecoded_line, _undecoded(dialect.encoding), "line")
        elif parsed.reason:
            yield Fault(number, parsed.reason, line=parsed.line)
        else:
            yield Row(number, parsed.record)


def _scan_prefixed(path: Place, dialect: Dialect) -> Iterator[Row | Fault]:
    """Lines of words, of which one is the label."""
    number, prefix = 0, dialect.label_prefix
    for at, line in enumerate(_lines(path, dialect.encoding), start=1):
        words = line.split()
        if not words:
            continue
        number += 1
        labels = [word for word in words if word.startswith(prefix)]
        if holds_undecoded(line):
            yield Fault(at, _undecoded(dialect.encoding), "line")
        elif len(labels) != 1:
            found = "several words begin" if labels else "no word begins"
            yield Fault(at, f"{found} with {prefix!r}; a row has one label: leave one", "line")
        else:
            text = " ".join(word for word in words if word != labels[0])
            yield Row(number, {"text": text, "label": labels[0].removeprefix(prefix)})


def _lines(path: Place, encoding: str, start: Start = FIRST) -> Iterator[str]:
    with opened(path) as file:
        yield from lines_from(start, file, str(path), encoding)


def _undecoded(encoding: str) -> str:
    return f"not {encoding}, which the file was said to be" if encoding else _NOT_UTF8


class _RepeatedKeyError(Exception):
    """A JSON object with one key twice, of which ``json`` would keep the last."""


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        seen: set[str] = set()
        raise _RepeatedKeyError(next(key for key, _ in pairs if key in seen or seen.add(key)))  # type: ignore[func-returns-value]
    return made
