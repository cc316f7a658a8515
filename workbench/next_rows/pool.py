"""A pool of rows without labels, read once from end to end, and a bounded number of them kept.

The idea: a pool may have a million rows, and a classifier that answers ten rows a second cannot see them all. So rows
are drawn while the file is read (reservoir sampling: each row that counts is as likely to be kept as any other), and
kept in an order of chance. Whatever is taken from the front of that order is a simple random sample of the pool: the
rows that a classifier has time for, and the share that estimates its accuracy. In memory are the kept rows, and 16
bytes for each different text.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from labelwright.data.columns import TextColumns
from labelwright.data.records import Fault, Row, listed, optional_text, refusal
from labelwright.data.task import name_of, normalise
from labelwright.errors import DataError
from labelwright.plain_text import printable_line
from workbench.wording import plural

# Rows kept to choose from.
MOST_KEPT = 20_000
# Faults of a file that are held at once; a message shows fewer.
_MOST_FAULTS = 1000


@dataclass(frozen=True)
class PoolRow:
    """A row that may be asked.

    Attributes
    ----------
    number : int
        In its file, from 1.
    id : str
        As the pool has it; empty where it has none.
    group : str
        Likewise.
    cells : tuple of str
        What the text is made of, where it is several columns.
    """

    number: int
    text: str
    id: str = ""
    group: str = ""
    cells: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pool:
    """What was read.

    Attributes
    ----------
    rows : tuple of PoolRow
        Kept, in an order of chance.
    counts : mapping of str to int
        ``rows``: all that the pool has; ``new``: different texts that may be asked, of which ``rows`` are drawn;
        ``empty``, ``labelled``, ``known``, ``repeated``, ``asked``: rows left out, and why.
    """

    source: str
    rows: tuple[PoolRow, ...]
    counts: Mapping[str, int]

    @property
    def told(self) -> str:
        """What was found, in a sentence."""
        n = self.counts
        left = [f"{n[key]:,} {why}" for key, why in _LEFT_OUT.items() if n[key]]
        kept = f", {len(self.rows):,} of them kept, drawn by chance" if len(self.rows) < n["new"] else ""
        out = f"; left out: {', '.join(left)}" if left else ""
        return f"{printable_line(self.source)}: {plural(n['rows'], 'row')}, {n['new']:,} may be asked{kept}{out}"


_LEFT_OUT = {
    "empty": "without text",
    "labelled": "that have a label",
    "known": "with the text of a labelled row, or nearly",
    "asked": "that are asked already",
    "repeated": "that repeat another",
}


def text_mark(text: str) -> int:
    """A number that texts have in common which ``normalise`` takes for one; two others share it by no chance at all."""
    return int.from_bytes(blake2b(normalise(text).encode("utf-8", "replace"), digest_size=8).digest())


def read_pool(
    rows: Iterable[Row | Fault],
    source: str,
    columns: Mapping[str, Any],
    known: set[int],
    asked: set[int],
    seed: int,
    most: int = MOST_KEPT,
) -> Pool:
    """Read a pool to its end.

    Parameters
    ----------
    source : str
        Its name, for messages.
    columns : mapping of role to str
        Of ``text`` (one or several), and of ``label``, ``id`` and ``group``, which the pool may lack.
    known, asked : set of int
        ``text_mark`` of rows that have a label, and of those that people have been asked about.
    most : int
        Rows kept.

    Raises
    ------
    DataError
        Rows that cannot be read, all in one message; no column of that name; no row that may be asked.
    """
    chance = random.Random(seed)
    text = TextColumns.of(columns["text"])
    kept: list[PoolRow] = []
    faults: list[Fault] = []
    seen: set[int] = set()
    n = dict.fromkeys(("rows", "new", *_LEFT_OUT), 0)
    for row in rows:
        n["rows"] += 1
        if n["rows"] == 1 and isinstance(row, Row) and (missing := text.missing_in(row.record)):
            has = listed(map(repr, sorted(map(str, row.record))))
            lacks = listed(map(repr, missing))
            raise DataError(f"{source}: no column {lacks} for the text; it has {has}: name one with TEXT=")
        read = _read(row, text, columns)
        if isinstance(read, Fault):
            faults.append(read)
            if len(faults) >= _MOST_FAULTS:
                break
            continue
        why = "labelled" if isinstance(read, str) else "empty" if not read.text else ""
        if isinstance(read, PoolRow) and not why:
            mark = text_mark(read.text)
            why = next((name for name, marks in _marks(known, asked, seen) if mark in marks), "")
            seen.add(mark)
            if not why:
                n["new"] += 1
                _keep(kept, read, n["new"], most, chance)
                continue
        n[why] += 1
    if faults:
        raise refusal(source, faults)
    chance.shuffle(kept)
    pool = Pool(source, tuple(kept), n)
    if not kept:
        labelled = f"; take the column {columns['label']!r} away if it is no answer" if n["labelled"] else ""
        raise DataError(f"{pool.told}: nothing is left to ask{labelled}")
    return pool


def _marks(known: set[int], asked: set[int], seen: set[int]) -> tuple[tuple[str, set[int]], ...]:
    return ("known", known), ("asked", asked), ("repeated", seen)


def _keep(kept: list[PoolRow], row: PoolRow, n_so_far: int, most: int, chance: random.Random) -> None:
    """Algorithm R (Vitter 1985): the n-th row takes the place of a kept one with probability most / n."""
    if len(kept) < most:
        kept.append(row)
    elif (place := chance.randrange(n_so_far)) < most:
        kept[place] = row


def _read(row: Row | Fault, text: TextColumns, columns: Mapping[str, str]) -> PoolRow | Fault | str:
    """The row, what is wrong with it, or the label that it has."""
    if isinstance(row, Fault):
        return row
    try:
        whole, cells = text.read(row.record), text.cells(row.record) if len(text.names) > 1 else ()
        label = _optional(row, columns.get("label", ""), "label", optional_text)
        # By the rule of labelled data, or a group is another one here than there, and lies on two sides.
        id, group = (_optional(row, columns.get(role, ""), role, name_of) for role in ("id", "group"))
    except DataError as error:
        return Fault(row.number, str(error))
    return label or PoolRow(row.number, whole, id, group, cells)


def _optional(row: Row, column: str, role: str, read: Callable[[Mapping[str, Any], str, str], str]) -> str:
    return read(row.record, column, role) if column and column in row.record else ""
