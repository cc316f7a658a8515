"""Where in a file every so many rows begin, so that many may read one file and none reads what is another's.

JSON lines, CSV and Parquet are parted like that. Other kinds are read as a whole by whoever reads them, and have one
start. ``labelwright.bulk`` asks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from labelwright.data.formats.arrow_rows import n_parquet_rows
from labelwright.data.formats.csv_rows import parse_csv
from labelwright.data.formats.packed import kind_of, opened
from labelwright.data.formats.places import Place
from labelwright.data.formats.text_lines import FIRST, Start, decoded_lines, marked_encoding


def starts_of(path: Place, every: int) -> list[Start]:
    """The start of every ``every``-th row, the first one among them; of a text file all of it is read for that.

    Parameters
    ----------
    every : int
        A multiple of ``labelwright.data.formats.arrow_rows.BATCH_ROWS``.

    Raises
    ------
    DataError, MissingExtraError, OSError
        As ``labelwright.data.records.scan_records``, of a file that cannot be read.
    """
    kind = kind_of(path)
    if kind == "parquet":
        return [Start(rows) for rows in range(0, max(n_parquet_rows(path), 1), every)]
    if kind not in ("csv", "jsonl"):
        return [FIRST]
    if kind == "jsonl":
        return _of_json_lines(path, every)
    before = (parsed.lines_before for parsed in parse_csv(lambda: _lines(path), str(path)))
    lines_before = [0, *(number for n, number in enumerate(before) if n and n % every == 0)]
    starts = [Start(n * every, number) for n, number in enumerate(lines_before)]
    return _with_bytes(path, starts) if len(starts) > 1 and _is_plain(path) else starts


def _of_json_lines(path: Place, every: int) -> list[Start]:
    """In one pass: a row is a line that is not empty."""
    n_bytes = _mark(path) if _is_plain(path) else None
    found, rows = [FIRST], 0
    for number, line in enumerate(_lines(path)):
        if line.strip():
            if rows and rows % every == 0:
                found.append(Start(rows, number, n_bytes))
            rows += 1
        if n_bytes is not None:
            n_bytes += _size(line)
    return found


def _lines(path: Place) -> Iterator[str]:
    with opened(path) as file:
        yield from decoded_lines(file, str(path))


def _is_plain(path: Place) -> bool:
    """Whether the bytes before a line are those of the lines before it: not packed, and UTF-8."""
    if path.suffix.lower() in (".gz", ".bz2", ".xz", ".zip"):
        return False
    with path.open("rb") as file:
        return marked_encoding(file.read(4)) in ("", "utf-8-sig")


def _mark(path: Place) -> int:
    """Bytes of a plain file before its first line: those of a byte-order mark."""
    with path.open("rb") as file:
        return 3 if marked_encoding(file.read(4)) else 0


def _size(line: str) -> int:
    """Bytes of a line of a plain file."""
    return len(line) if line.isascii() else len(line.encode("utf-8", "surrogateescape"))


def _with_bytes(path: Place, starts: Sequence[Start]) -> list[Start]:
    sizes = (_size(line) for line in _lines(path))
    return [FIRST, *_located(starts[1:], chain([_mark(path)], sizes))]


def _located(starts: Sequence[Start], sizes: Iterable[int]) -> Iterator[Start]:
    """The starts with the bytes before them, of sizes the first of which stands before any line."""
    total, remaining = 0, iter(starts)
    wanted = next(remaining, None)
    for number, size in enumerate(sizes):
        total += size
        while wanted is not None and number == wanted.lines:
            yield wanted._replace(n_bytes=total)
            wanted = next(remaining, None)
