"""Where the items of a list stand on a page: rows below a header, numbered entries, or lines above what is counted.

A header is a line that has the captions of two or more of the items' fields. Otherwise entries begin where lines begin
with 1., 2., 3. …; or else end with each line that counts something ("128 points").
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from labelwright.pictures.layout import Piece
from labelwright.pictures.typed.captions import Captions
from labelwright.pictures.typed.schema import Field

_NUMBERED = re.compile(r"\s*(\d{1,3})[.)](?=\s|\D|$)\s*")
_LEAST_ENTRIES = 2
# In heights: how far apart left edges are that are one.
_SAME_EDGE = 0.5
# In heights: what stands so far below a row is none of the list's.
_GAP = 3.0
# In heights: a text that goes on stands so close below.
_NEXT_LINE = 0.5

Line = Sequence[Piece]


def table_rows(lines: Sequence[Line], fields: Sequence[Field], captions: Captions) -> list[dict[str, str]] | None:
    """Texts by field of every row below a header, to a caption or a gap; None where there is no header.

    A cell that is blank is not in its row; a line with the first column alone, close below, goes on with the row above.
    """
    for number, line in enumerate(lines):
        columns = {
            field.name: piece for field in fields for piece in line if Captions.is_only(piece.text, field.captions)
        }
        if len(columns) >= min(2, len(fields)) and len({id(one) for one in columns.values()}) == len(columns) > 1:
            return _below(lines[number + 1 :], columns, captions)
    return None


def entries(lines: Sequence[Line], fields: Sequence[Field]) -> list[list[Line]]:
    """The lines of each entry, its title first."""
    numbered = [(at, int(found[1])) for at, line in enumerate(lines) if (found := _NUMBERED.match(line[0].text))]
    starts = [at for (at, n), (_, before) in zip(numbered[1:], numbered, strict=False) if n == before + 1]
    if len(starts) + 1 >= _LEAST_ENTRIES and starts:
        first = next(at for at, n in reversed(numbered) if at < starts[0])
        edge, near = lines[first][0].left, _SAME_EDGE * lines[first][0].height
        # Where one number is misread, its neighbours' still stand where numbers stand.
        others = [at for at, _ in numbered if at > first and abs(lines[at][0].left - edge) <= near]
        places = sorted({first, *starts, *others})
        return [list(lines[at:end]) for at, end in zip(places, [*places[1:], len(lines)], strict=True)]
    counted = [field for field in fields if field.kind in ("integer", "number")]
    ends = [
        at
        for at, line in enumerate(lines)
        if any(Captions(line, ()).has(field.captions, counted=True) for field in counted)
    ]
    return [[lines[at - 1], lines[at]] for at in ends if at > 0]


def title_of(entry: Sequence[Line]) -> str:
    """The text of an entry's first line, without its number."""
    text = " ".join(piece.text for piece in entry[0])
    number = _NUMBERED.match(text)
    return text[number.end() :] if number else text.strip()


def _below(lines: Sequence[Line], columns: dict[str, Piece], captions: Captions) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = []
    first = min(columns, key=lambda name: columns[name].left)
    last = max(one.bottom for one in columns.values())
    for line in lines:
        if captions.is_caption(line[0].text):
            break
        row: dict[str, str] = {}
        for piece in line:
            name = min(columns, key=lambda name: _distance(piece, columns[name]))
            row[name] = f"{row[name]} {piece.text}" if name in row else piece.text
        is_far = line[0].top - last > _GAP * line[0].height
        if is_far or (len(row) == 1 and first not in row):
            break
        is_close = line[0].top - last <= _NEXT_LINE * line[0].height
        if len(row) == 1 and rows and is_close:  # a text that goes on below its row; further off, a row with blanks
            rows[-1][first] = f"{rows[-1].get(first, '')} {row[first]}".strip()
        else:
            rows.append(row)
        last = line[0].bottom
    return rows


def _distance(one: Piece, other: Piece) -> tuple[float, float]:
    """Between their extents across the page, 0 where they overlap; then between the nearest of their edges."""
    between = max(one.left, other.left) - min(one.right, other.right)
    edges = min(abs(one.left - other.left), abs(one.right - other.right))
    return max(0.0, between), edges
