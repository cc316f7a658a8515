"""Where text stands on a page, and the page as text in the order in which a person reads it.

The form, which classifiers and people both read: a line of the page is a line of text, from top to bottom; what stands
apart on a line (two columns of a table, a caption and its value) is parted by ``GAP``; how far a line is indented is
told by two spaces a step. Columns of running text, as a newspaper has them, are read one after the other; tables and
forms are read across. Nothing is left out, doubled or corrected.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
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
    for piece in sorted(pieces, key=_place):
        # The latest lines alone can reach down to this piece, but a tall one began long before.
        own = next((line for line in reversed(lines) if all(piece.is_beside(other) for other in line)), None)
        if own is None:
            lines.append([piece])
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
        stop, gutter = _columns_from(lines[at:])
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


def _columns_from(lines: Sequence[list[Piece]]) -> tuple[int, float]:
    """How many lines from the first on stand in two columns of running text, and where these part; 0 where none do."""
    free: list[Interval] = [(-math.inf, math.inf)]
    best = 0, 0.0
    for n, line in enumerate(lines, start=1):
        free = _both(free, _gaps(line))
        block = lines[:n]
        gutters = [one for one in free if _is_gutter(one, block)]
        if not any(math.isfinite(low) and math.isfinite(high) for low, high in free):
            break
        if gutters:
            low, high = max(gutters, key=lambda one: one[1] - one[0])
            best = n, (low + high) / 2
    return best


def _gaps(line: Sequence[Piece]) -> list[Interval]:
    """Where nothing is written on a line."""
    found, reached = [], -math.inf
    for piece in line:
        if piece.left > reached:
            found.append((reached, piece.left))
        reached = max(reached, piece.right)
    return [*found, (reached, math.inf)]


def _both(ones: Sequence[Interval], others: Sequence[Interval]) -> list[Interval]:
    met = [(max(low, lower), min(high, higher)) for low, high in ones for lower, higher in others]
    return [(low, high) for low, high in met if low < high]


def _is_gutter(gap: Interval, block: Sequence[list[Piece]]) -> bool:
    low, high = gap
    if not (math.isfinite(low) and math.isfinite(high)):
        return False
    sides = [[[one for one in line if (one.left < low) == is_left] for line in block] for is_left in (True, False)]
    heights = [one.height for line in block for one in line]
    return high - low >= _GUTTER * median(heights) and all(_is_prose([line for line in side if line]) for side in sides)


def _is_prose(lines: Sequence[Sequence[Piece]]) -> bool:
    if len(lines) < _PROSE_LINES:
        return False
    left, right = min(line[0].left for line in lines), max(one.right for line in lines for one in line)
    height = median(one.height for line in lines for one in line)
    written = median(sum(one.right - one.left for one in line) for line in lines)
    return right - left >= _WIDE * height and written >= _FILLED * (right - left)
