"""What the cells of each column are like: how many, how different, how long, of which kind. Names count for nothing."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from labelwright.data.formats.arrow_rows import Unusable
from labelwright.data.records import is_empty, listed

_KINDS = {"list": "lists or tables", "other": "values that are no text", "truth": "true and false"}
_SHOWN = 6


@dataclass(frozen=True)
class Column:
    """What the cells of one column are like.

    Attributes
    ----------
    n_filled, n_distinct : int
        Cells that hold something, and how many of them differ.
    n_words, n_characters : float
        Of a cell, on average.
    kind : "text", "number", "fraction", "truth", "list" or "other"
        What most cells are; a fraction is a number that is not whole.
    n_dates : int
        Cells that read like dates, times or addresses of the web.
    """

    name: str
    n_rows: int
    n_filled: int
    n_distinct: int
    n_words: float
    n_characters: float
    kind: str
    n_dates: int = 0
    values: Counter[str] = field(default_factory=Counter, compare=False, repr=False)

    @property
    def share_distinct(self) -> float:
        """Of the filled cells, in [0, 1]."""
        return self.n_distinct / max(self.n_filled, 1)

    @property
    def holds(self) -> str:
        """For messages: "lists or tables", "numbers"."""
        return _KINDS.get(self.kind, f"{self.kind}s") if self.n_filled else "nothing"


def describe(records: Sequence[Mapping[str, Any]]) -> dict[str, Column]:
    """Every column that any row has, in the order in which they come."""
    names = dict.fromkeys(name for record in records for name in record)
    return {name: _describe(name, records) for name in names}


def same_thing(records: Sequence[Mapping[str, Any]], one: str, other: str) -> bool:
    """Whether two columns say the same of every row, each in its way: a class's number and its name."""
    pairs = {(str(row.get(one)), str(row.get(other))) for row in records}
    return len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


def one_hot(records: Sequence[Mapping[str, Any]], columns: Mapping[str, Column]) -> str:
    """What is wrong where labels stand in a column each, with 1 in those that a row has; nothing where they do not."""
    flags = [name for name, one in columns.items() if set(one.values) == {"0", "1"} and one.n_filled == one.n_rows]
    if len(flags) < 2:
        return ""
    sums = Counter(sum(str(record[name]).strip() == "1" for name in flags) for record in records)
    named = listed(map(repr, flags), _SHOWN)
    if set(sums) == {1}:
        return f"labels stand in a column each ({named}); write them into one column"
    if max(sums) > 1 and len(flags) > 2:
        return f"rows have several labels, in a column each ({named}); a row has one: name a column with LABEL="
    return ""


def _describe(name: str, records: Sequence[Mapping[str, Any]]) -> Column:
    cells = [record.get(name) for record in records]
    filled = [one for one in cells if not is_empty(one)]
    kinds = Counter(map(_kind, filled))
    written = [str(one).strip() for one in filled]
    values = Counter(written)
    n = max(len(filled), 1)
    n_words = sum(_n_words(one) for one in written) / n
    n_dates = sum(bool(re.fullmatch(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([T ].*)?|https?://\S+", one)) for one in written)
    kind = kinds.most_common(1)[0][0] if kinds else "other"
    # One fraction among whole numbers makes all of them measurements.
    kind = "fraction" if kind == "number" and kinds["fraction"] else kind
    n_characters = sum(map(len, written)) / n
    return Column(name, len(records), len(filled), len(values), n_words, n_characters, kind, n_dates, values)


def _kind(cell: Any) -> str:
    if isinstance(cell, bool):
        return "truth"
    if isinstance(cell, int):
        return "number"
    if isinstance(cell, float):
        return "number" if cell.is_integer() else "fraction"
    if isinstance(cell, Unusable):
        return "number"
    if isinstance(cell, list | tuple | dict | set) or hasattr(cell, "tolist"):
        return "list"
    if not isinstance(cell, str):
        return "other"
    plain = cell.strip()
    if re.fullmatch(r"[+-]?\d{1,15}", plain):
        return "number"
    return "fraction" if re.fullmatch(r"[+-]?\d*[.,]\d+(e[+-]?\d+)?", plain, re.IGNORECASE) else "text"


def _n_words(text: str) -> int:
    """Words; signs of scripts that put no space between words count as one each."""
    wide = sum(unicodedata.east_asian_width(one) in "WF" for one in text)
    return max(len(text.split()), wide)
