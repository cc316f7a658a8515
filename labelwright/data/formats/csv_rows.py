"""Rows of a CSV file, strictly: a quote that swallows rows is named, never repaired. ``records`` calls it.

Python's reader accepts a quoted cell that runs on over any number of lines. Where it ends in the middle of a cell, or
never, that is an error; where it happens to end well, what lies in it may still be rows. Both are told row by row, and
reading goes on at the next line.
"""

from __future__ import annotations

import csv
import re
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Literal

from labelwright.data.formats.dialect import PLAIN, Dialect
from labelwright.data.formats.text_lines import holds_undecoded
from labelwright.errors import DataError

# Of those that fit equally well the first one: prose has commas, and no tabs.
_DELIMITERS = ("\t", "|", ";", ",")
# Lines read to see which delimiter parts the cells.
_SAMPLE_LINES = 50
# The longest cell; Python's own limit, 131,072, is below that of long documents.
_CELL_LIMIT = 2**31 - 1
# Only short cells are compared with those of other rows: labels and the like, not texts.
_SHORT = 60

_OPEN_QUOTE = 'a quote opens and none closes at the end of its cell; close it, and write "" for a quote inside a text'
_SWALLOWED = (
    "a quoted cell runs on over lines that look like rows; close the quote, or, if they are one text, write the rows "
    "as .jsonl"
)
_TOO_MANY = "more cells than the header has; quote texts with commas"

Lines = Iterator[str]
Quoting = Literal[0, 3]  # as csv.QUOTE_MINIMAL and csv.QUOTE_NONE say


@dataclass(frozen=True)
class Parsed:
    """One row: its record, or why there is none.

    Attributes
    ----------
    line : int, optional
        Where the row begins, with a reason that has to do with lines.
    undecoded_line : int
        A line that cannot be decoded; 0 for none.
    lines_before : int
        Lines of the file that stand before the row: reading can begin there.
    """

    record: dict[str, str | None]
    reason: str = ""
    line: int | None = None
    undecoded_line: int = 0
    lines_before: int = 0


def parse_csv(
    reopen: Callable[[], Lines],
    source: str,
    dialect: Dialect = PLAIN,
    lines_before: int = 0,
    resume: Callable[[], Lines] | None = None,
) -> Iterator[Parsed]:
    """Rows below the header, in order; blank lines are none.

    Parameters
    ----------
    reopen : callable
        Gives the file's lines from the first one on, with their line ends.
    source : str
        The file's name, for messages.
    dialect : Dialect
        Its delimiter, quotes and header count here.
    lines_before, resume : int, callable
        Rows from there on, where a row begins; what gives the lines behind these.

    Raises
    ------
    DataError
        A header that cannot be read, or that has a column twice.
    """
    csv.field_size_limit(max(csv.field_size_limit(), _CELL_LIMIT))
    lines = _Lines(reopen())
    quoting: Quoting = csv.QUOTE_MINIMAL if dialect.quotes else csv.QUOTE_NONE
    delimiter = dialect.delimiter or find_delimiter(lines, quoting)
    header = _header(lines, delimiter, quoting, source) if dialect.header else _numbers(lines, delimiter, quoting)
    short_cells = cache(lambda: _short_cells(reopen(), delimiter, len(header)))
    if resume is not None:
        lines = _Lines(resume(), lines_before)
    rows = csv.reader(lines, delimiter=delimiter, quoting=quoting, strict=True)
    while True:
        lines.taken.clear()
        first, reason = lines.number + 1, ""
        cells: list[str] = []
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error:
            reason = _OPEN_QUOTE
        if not reason and len(lines.taken) > 1 and _are_rows(lines.taken, delimiter, len(header), short_cells):
            reason = _SWALLOWED
        if reason:
            # Only the first line is the row's; what follows is read on its own.
            lines.give_back(len(lines.taken) - 1)
        undecoded = next((first + i for i, line in enumerate(lines.taken) if holds_undecoded(line)), 0)
        if reason:
            yield Parsed({}, reason, first, undecoded, first - 1)
        elif len(cells) > len(header):
            yield Parsed({}, _TOO_MANY, None, undecoded, first - 1)
        elif cells:
            missing: list[str | None] = [None] * (len(header) - len(cells))
            record = dict(zip(header, [*cells, *missing], strict=True))
            yield Parsed(record, undecoded_line=undecoded, lines_before=first - 1)


def delimiter_of(lines: Iterable[str]) -> str:
    """What parts the cells of a CSV file, by its first lines."""
    return find_delimiter(_Lines(iter(lines)))


class _Lines:
    """Lines that can be given back. ``taken`` are those of the row in hand, ``number`` is the last one's."""

    def __init__(self, lines: Lines, number: int = 0) -> None:
        self._lines = lines
        self._ahead: deque[str] = deque()
        self.taken: list[str] = []
        self.number = number

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._ahead.popleft() if self._ahead else next(self._lines)
        self.taken.append(line)
        self.number += 1
        return line

    def give_back(self, n: int) -> None:
        """Take back the last ``n`` lines: they come again."""
        if n:
            self._ahead.extendleft(reversed(self.taken[-n:]))
            del self.taken[-n:]
            self.number -= n

    def sample(self, n: int) -> list[str]:
        """The next lines, without taking them."""
        self._ahead.extend(islice(self._lines, max(n - len(self._ahead), 0)))
        return list(islice(self._ahead, n))


def find_delimiter(lines: _Lines, quoting: Quoting = csv.QUOTE_MINIMAL) -> str:
    """What parts the cells: of the delimiters that part the header, the one that parts most rows into as many."""
    sample = lines.sample(_SAMPLE_LINES)
    # Excel's own first line says it.
    if sample and (said := re.fullmatch(r"sep=(.)\s*", sample[0])):
        next(lines)
        return said[1]
    fits: dict[str, float] = {}
    for delimiter in _DELIMITERS:
        widths = [len(cells) for cells in _leniently(sample, delimiter, quoting) if cells]
        if widths and widths[0] > 1:
            fits[delimiter] = sum(width == widths[0] for width in widths) / len(widths)
    return max(fits, key=lambda delimiter: fits[delimiter], default=",")


def _leniently(lines: Sequence[str], delimiter: str, quoting: Quoting = csv.QUOTE_MINIMAL) -> Iterator[list[str]]:
    try:
        yield from csv.reader(lines, delimiter=delimiter, quoting=quoting)
    except csv.Error:
        return


def _numbers(lines: _Lines, delimiter: str, quoting: Quoting) -> list[str]:
    """Names of columns that the file does not name: "1", "2", …, as many as most rows of its beginning have."""
    widths = Counter(len(cells) for cells in _leniently(lines.sample(_SAMPLE_LINES), delimiter, quoting) if cells)
    return [str(number) for number in range(1, max(widths, key=lambda width: widths[width], default=0) + 1)]


def _header(lines: _Lines, delimiter: str, quoting: Quoting, source: str) -> list[str]:
    header: list[str] = []
    try:
        rows = csv.reader(lines, delimiter=delimiter, quoting=quoting, strict=True)
        while not header and (header := next(rows, ["\n"])) == []:
            pass
    except csv.Error as error:
        raise DataError(f"{source}, line 1: the header is no CSV: {_OPEN_QUOTE}") from error
    if header == ["\n"]:
        return []
    if any(map(holds_undecoded, lines.taken)):
        raise DataError(f"{source}, line 1: not UTF-8; save the file as UTF-8, or set [data] encoding in the recipe")
    # Spreadsheets leave columns without a name behind the last one.
    repeated = [name for name, n in Counter(header).items() if n > 1 and name.strip()]
    if repeated:
        raise DataError(f"{source}: the header has the column {repeated[0]!r} twice; rename or drop one")
    return header


def _are_rows(
    taken: Sequence[str], delimiter: str, width: int, short_cells: Callable[[], dict[int, Counter[str]]]
) -> bool:
    """Whether the lines of one quoted cell look like rows that it has swallowed.

    Every line has as many cells as the header, none empty or with space before it, as prose has behind a comma; and a
    column's cells are all short and known from other rows, or come again and again among themselves, as labels do.
    """
    if width < 2:
        return False
    rows = [_alone(line, delimiter) for line in taken]
    if any(len(row) != width or not all(one.strip() and not one[0].isspace() for one in row) for row in rows):
        return False
    for column, cells in enumerate(zip(*rows, strict=True)):
        if any(len(one) > _SHORT for one in cells):
            continue
        if all(one in short_cells()[column] for one in cells) or (len(cells) > 3 and 2 * len(set(cells)) <= len(cells)):
            return True
    return False


def _alone(line: str, delimiter: str) -> list[str]:
    """A line's cells as if its first or last quote were not there."""
    line = line.rstrip("\r\n")
    if line.count('"') % 2:
        line = line.replace('"', "", 1)
    return next(_leniently([line], delimiter), [])


def _short_cells(lines: Lines, delimiter: str, width: int) -> dict[int, Counter[str]]:
    """Short cells by column of the rows that stand on one line each."""
    found: dict[int, Counter[str]] = defaultdict(Counter)
    kept = _Lines(lines)
    rows = csv.reader(kept, delimiter=delimiter, strict=True)
    while True:
        kept.taken.clear()
        try:
            cells = next(rows)
        except StopIteration:
            return found
        except csv.Error:
            kept.give_back(len(kept.taken) - 1)
            continue
        if len(kept.taken) == 1 and len(cells) == width:
            for column, one in enumerate(cells):
                if len(one) <= _SHORT:
                    found[column][one] += 1
