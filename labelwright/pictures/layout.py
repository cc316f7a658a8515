"""Where text stands on a page, and the page as text in the order in which a person reads it.

The form, which classifiers and people both read: a line of the page is a line of text, from top to bottom; what stands
apart on a line (two columns of a table, a caption and its value) is parted by ``GAP``; how far a line is indented is
told by two spaces a step. Columns of running text, as a newspaper has them, are read one after the other; tables and
forms are read across. Nothing is left out, doubled or corrected.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import Any

GAP = "   "
_INDENT = "  "
_MOST_STEPS = 8
# Heights of a line: pieces further from each other are parted; a step of indentation.
_APART = 0.75
_STEP = 1.5
# Share of the lower one's height in which two pieces of a line lie beside each other.
_BESIDE = 0.6
# Columns of running text: between them so many heights nowhere written on, over so many lines on both sides, each with
# lines that fill so much of so many heights. Numbers beside their names are narrower.
_GUTTER = 1.0
_PROSE_LINES = 4
_FILLED = 0.6
_WIDE = 10.0
# After so many lines that make no columns none are looked for; gaps and lines are as many as a page has, a stranger's
# image may have more.
_PATIENCE = 12
_MOST_GAPS = 8
_MOST_LINES = 2000

Interval = tuple[float, float]


@dataclass(frozen=True)
class Piece:
    """Text that stands together on a line, with its place in pixels from the upper left corner.

    Attributes
    ----------
    score : float
        In [0, 1]: how sure the OCR is of it.
    """

    text: str
    left: float
    top: float
    right: float
    bottom: float
    score: float = 1.0

    @property
    def height(self) -> float:
        """In pixels, at least one."""
        return max(self.bottom - self.top, 1.0)

    def is_beside(self, other: Piece) -> bool:
        """Whether both are on one line."""
        shared = min(self.bottom, other.bottom) - max(self.top, other.top)
        return shared >= _BESIDE * min(self.height, other.height)


@dataclass(frozen=True)
class Page:
    """What OCR found in an image of ``width`` by ``height`` pixels, in no order."""

    pieces: tuple[Piece, ...]
    width: int
    height: int

    @property
    def text(self) -> str:
        """``page_text`` of its pieces."""
        return page_text(self.pieces)

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        pieces = [[one.text, one.left, one.top, one.right, one.bottom, one.score] for one in self.pieces]
        return {"pieces": pieces, "width": self.width, "height": self.height}

    @classmethod
    def from_dict(cls, content: Any) -> Page:
        """From ``to_dict``. Raises LookupError, TypeError or ValueError for anything else."""
        pieces = tuple(Piece(str(text), *map(float, place)) for text, *place in content["pieces"])
        return cls(pieces, int(content["width"]), int(content["height"]))


def lines_of(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """Pieces by line, lines from top to bottom, pieces from left to right.

    Pieces are on one line where each is beside each other one: a tall heading does not make one line of two beside it.

    >>> [[one.text for one in line] for line in lines_of([Piece("b", 9, 1, 12, 11), Piece("a", 0, 0, 5, 10)])]
    [['a', 'b']]
    """
    lines: list[list[Piece]] = []
    reaching: list[list[Piece]] = []
    for piece in sorted(pieces, key=_place):
        # The latest lines alone can reach down to this piece, but a tall one began long before.
        reaching = [line for line in reaching if all(other.bottom > piece.top for other in line)]
        own = next((line for line in reversed(reaching) if all(piece.is_beside(other) for other in line)), None)
        if own is None:
            lines.append([piece])
            reaching.append(lines[-1])
        else:
            own.append(piece)
    lines = [sorted(line, key=lambda one: (one.left, *_place(one))) for line in lines]
    return sorted(lines, key=lambda line: (sum(one.top + one.bottom for one in line) / len(line), line[0].left))


def reading_order(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """``lines_of``, with columns of running text one after the other."""
    return _in_columns(lines_of(pieces))


def page_text(pieces: Sequence[Piece]) -> str:
    """A page as text, in the form that the module tells of; empty for a page without text.

    >>> total, price = Piece("Total", 0, 0, 40, 10), Piece("12.50", 90, 0, 120, 10)
    >>> print(page_text([Piece("Thanks", 30, 20, 70, 30), price, total]))
    Total   12.50
        Thanks
    """
    lines = reading_order(pieces)
    if not lines:
        return ""
    height = median(one.height for one in pieces)
    margin = min(one.left for one in pieces)
    return "\n".join(_line_text(line, margin, height) for line in lines)


def _place(piece: Piece) -> tuple[float, float, str, float, float]:
    """An order of pieces that does not hang on the order in which they come."""
    return piece.top, piece.left, piece.text, piece.bottom, piece.right


def _line_text(line: Sequence[Piece], margin: float, height: float) -> str:
    steps = min(_MOST_STEPS, int((line[0].left - margin) / (_STEP * height)))
    said = _INDENT * steps + " ".join(line[0].text.split())
    for before, piece in pairwise(line):
        is_apart = piece.left - before.right > _APART * min(before.height, piece.height)
        said += (GAP if is_apart else " ") + " ".join(piece.text.split())
    return said


def _in_columns(lines: list[list[Piece]]) -> list[list[Piece]]:
    found: list[list[Piece]] = []
    at = 0
    while at < len(lines):
        stop, gutter = _columns_from(lines, at)
        if stop:
            block = lines[at : at + stop]
            for is_left in (True, False):
                own = [[one for one in line if (one.left < gutter) == is_left] for line in block]
                found += _in_columns([line for line in own if line])
        else:
            stop = 1
            found.append(lines[at])
        at += stop
    return found


def _columns_from(lines: Sequence[list[Piece]], at: int) -> tuple[int, float]:
    """How many lines from one on stand in two columns of running text, and where these part; 0 where none do."""
    free = [_Free(-math.inf, math.inf)]
    heights: list[float] = []
    best = 0, 0.0
    for n, line in enumerate(lines[at : at + _MOST_LINES], start=1):
        gaps = _gaps(line)
        free = _widest([part for one in free for part in one.beside(line, gaps)])
        if not any(one.is_between for one in free) or n - best[0] > _PATIENCE:
            break
        heights = sorted(heights + [one.height for one in line])
        if gutters := [one for one in free if one.is_gutter(_middle(heights))]:
            widest = max(gutters, key=lambda one: one.high - one.low)
            best = n, (widest.low + widest.high) / 2
    return best


def _gaps(line: Sequence[Piece]) -> list[Interval]:
    """Where nothing is written on a line."""
    found, reached = [], -math.inf
    for piece in line:
        if piece.left > reached:
            found.append((reached, piece.left))
        reached = max(reached, piece.right)
    return [*found, (reached, math.inf)]


@dataclass(frozen=True)
class _Side:
    """What stands on one side of a gap, in running numbers: a page is counted once, not anew with each line.

    Attributes
    ----------
    heights, written : list of float
        Of each piece, and how much of each line is written on; sorted.
    """

    left: float = math.inf
    right: float = -math.inf
    heights: list[float] = field(default_factory=list)
    written: list[float] = field(default_factory=list)

    def with_line(self, pieces: Sequence[Piece]) -> _Side:
        """With what a further line has on this side."""
        if not pieces:
            return self
        heights = sorted(self.heights + [one.height for one in pieces])
        written = self.written.copy()
        insort(written, sum(one.right - one.left for one in pieces))
        left, right = min(one.left for one in pieces), max(one.right for one in pieces)
        return _Side(min(self.left, left), max(self.right, right), heights, written)

    @property
    def is_prose(self) -> bool:
        """Whether it is running text."""
        if len(self.written) < _PROSE_LINES:
            return False
        width = self.right - self.left
        return width >= _WIDE * _middle(self.heights) and _middle(self.written) >= _FILLED * width


@dataclass(frozen=True)
class _Free:
    """Where nothing is written on some lines, and what these have before and behind it."""

    low: float
    high: float
    before: _Side = field(default_factory=_Side)
    behind: _Side = field(default_factory=_Side)

    @property
    def is_between(self) -> bool:
        """Whether it ends on both sides."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    def beside(self, line: Sequence[Piece], gaps: Sequence[Interval]) -> Iterator[_Free]:
        """What a further line with these gaps leaves of it."""
        for low, high in gaps:
            low, high = max(self.low, low), min(self.high, high)
            if low < high:
                n_before = next((n for n, one in enumerate(line) if one.left >= low and one.right > low), len(line))
                yield _Free(low, high, self.before.with_line(line[:n_before]), self.behind.with_line(line[n_before:]))

    def is_gutter(self, height: float) -> bool:
        """Whether it parts two columns of running text, on lines of this height."""
        is_wide = self.is_between and self.high - self.low >= _GUTTER * height
        return is_wide and self.before.is_prose and self.behind.is_prose


def _widest(free: list[_Free]) -> list[_Free]:
    """The widest alone, where a page has more gaps than columns."""
    if len(free) <= _MOST_GAPS:
        return free
    return sorted(sorted(free, key=lambda one: one.low - one.high)[:_MOST_GAPS], key=lambda one: one.low)


def _middle(values: Sequence[float]) -> float:
    """The median of sorted values."""
    half = len(values) // 2
    return values[half] if len(values) % 2 else (values[half - 1] + values[half]) / 2
