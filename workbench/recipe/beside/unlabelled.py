"""The rows of ``[data] unlabelled``, which students learn from: nothing that dev, calib or test has is among them.

Where there is no pool, its place is taken by rows that are taught anyway: train's own texts, and those a model wrote.

The idea: a pool may have a million rows, and few can be learnt. Each text has a number by its keyed hash, and those of
the lowest numbers are kept (bottom-k sampling). So who is drawn hangs on texts and seed alone, not on the order of the
file, and what is held in memory are the kept rows, a number for each different text, and two for each row with a group.

Groups connect: rows of a group that is measured bring their texts, rows of a text that is measured bring their groups.
So the file is read twice where rows have groups: first for what is connected, then for what may be learnt.
"""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b

from labelwright.data.records import Fault, Row, listed, refusal
from labelwright.data.sources import parts_of
from labelwright.data.task import Example, name_of, normalise
from labelwright.errors import DataError
from labelwright.files import short_hash
from workbench.recipe.files import seen
from workbench.recipe.recipe import Recipe
from workbench.recipe.tables.data import DataTable
from workbench.wording import plural

# Why a row of the pool is not learnt, in the order of the words that say it.
LEFT_OUT = {
    "measured": "with the text or the group of a row of dev, calib or test, or nearly the text",
    "taught": "with the text of a train row, or nearly",
    "repeated": "that repeat another",
    "empty": "without text",
    "beyond": "beyond [distil] most_rows",
}
# Faults of a file that are held at once; a message shows fewer.
_MOST_FAULTS = 1000


@dataclass(frozen=True)
class Unlabelled:
    """What was read.

    Attributes
    ----------
    source : str
        The pool's file or folder, or whose texts stand in its place, in words.
    texts : tuple of str
        In an order of chance.
    left_out : mapping of str to int
        How many rows are not among them, by the keys of ``LEFT_OUT``.
    """

    source: str
    texts: tuple[str, ...]
    left_out: Mapping[str, int]

    @property
    def digest(self) -> str:
        """A hash of the texts."""
        return short_hash(list(self.texts))

    @property
    def told(self) -> str:
        """What was left out, in words; empty for nothing."""
        return told(self.left_out)


def told(left_out: Mapping[str, int]) -> str:
    """How many rows were left out, and why; empty for none."""
    return ", ".join(f"{left_out[why]:,} {words}" for why, words in LEFT_OUT.items() if left_out.get(why))


def check_unlabelled(table: DataTable) -> list[str]:
    """Refuse a pool that is not there or has no such column, before anything is trained. Reads its first row.

    Returns
    -------
    list of str
        What nobody can see of its rows, a sentence each.
    """
    if not table.unlabelled:
        return []
    first = next(_scan(table), None)
    if first is None:
        raise DataError(
            f"{table.unlabelled}: no rows; [data] unlabelled expects rows with a column {table.text_columns}"
        )
    if isinstance(first, Row) and (missing := table.text_columns.missing_in(first.record)):
        has = listed(map(repr, sorted(map(str, first.record))))
        raise DataError(
            f"{table.unlabelled}: no column {listed(map(repr, missing))} for the text; it has {has}: call the column "
            "as [data] text does"
        )
    remarks = []
    if table.group and isinstance(first, Row) and table.group not in first.record:
        remarks.append(
            f"{table.unlabelled}: its first row has no {table.group!r} (group): of rows without one, those of a group "
            "of dev, calib or test are left out only where they have a text of it"
        )
    if table.out_of_scope:
        remarks.append(
            f"{table.unlabelled}: which of its rows are out of scope is not known, so students learn a label for these "
            "too, and tell them less well from rows in scope; take out what you know of"
        )
    return remarks


def read_unlabelled(recipe: Recipe, taught: Sequence[Example], measured: Sequence[Example]) -> Unlabelled:
    """The pool's rows that may be learnt, ``[distil] most_rows`` of them at most.

    Parameters
    ----------
    taught, measured : sequence of Example
        Train rows; and all that numbers or choices come from: rows of dev, calib and test, and those out of scope.

    Raises
    ------
    DataError
        Rows that cannot be read, all in one message; no row that may be learnt.
    """
    table, key = recipe.data, recipe.seed.to_bytes(8)
    marks = {"measured": {_mark(row.text, key) for row in measured}, "taught": {_mark(row.text, key) for row in taught}}
    if table.group:
        _spread(table, key, marks["measured"], {_number(row.group, key) for row in measured if row.group is not None})
    counts = dict.fromkeys(("rows", *LEFT_OUT), 0)
    faults: list[Fault] = []
    drawn = heapq.nsmallest(recipe.distil.most_rows, _fresh(table, key, marks, counts, faults))
    if faults:
        raise refusal(table.unlabelled, faults)
    counts["beyond"] = counts["rows"] - sum(counts[why] for why in LEFT_OUT) - len(drawn)
    left_out = {why: counts[why] for why in LEFT_OUT}
    if not drawn:
        raise DataError(
            f"{table.unlabelled}: none of its {plural(counts['rows'], 'row')} can be learnt; left out: {told(left_out)}"
        )
    return Unlabelled(table.unlabelled, tuple(text for _, text in drawn), left_out)


def own_texts(
    recipe: Recipe, train: Sequence[Example], written: Sequence[Example], measured: Sequence[Example]
) -> Unlabelled:
    """Texts of rows that have labels, ``[distil] most_rows`` of them at most, where there is no pool.

    Parameters
    ----------
    train, written, measured : sequence of Example
        Train rows; those of `make synthesize` that may be learnt; and all that numbers or choices come from.

    Raises
    ------
    DataError
        No text that may be learnt.
    """
    key, rows = recipe.seed.to_bytes(8), [*train, *written]
    marks = {_mark(row.text, key) for row in measured}
    marked = [(_mark(row.text, key), row.text) for row in reversed(rows)]
    # Of those that are alike the first; and nothing that nearly another split's row is, under another label.
    fresh = {mark: text for mark, text in marked if mark not in marks}
    drawn = heapq.nsmallest(recipe.distil.most_rows, fresh.items())
    n_measured = sum(mark in marks for mark, _ in marked)
    left_out = dict.fromkeys(LEFT_OUT, 0)
    left_out |= {"measured": n_measured, "repeated": len(rows) - n_measured - len(fresh)}
    left_out["beyond"] = len(fresh) - len(drawn)
    if not drawn:
        raise DataError(f"{recipe.path}: none of the {len(rows)} train rows can be learnt; left out: {told(left_out)}")
    source = "train rows and rows that a model wrote" if written else "train rows"
    return Unlabelled(source, tuple(text for _, text in drawn), left_out)


def _fresh(
    table: DataTable,
    key: bytes,
    marks: Mapping[str, set[int]],
    counts: dict[str, int],
    faults: list[Fault],
) -> Iterator[tuple[int, str]]:
    """Texts that may be learnt, each with its number; the others are counted, and what cannot be read is noted."""
    seen: set[int] = set()
    for row in _scan(table):
        counts["rows"] += 1
        try:
            text, _ = _read(row, table)
        except DataError as error:
            faults.append(row if isinstance(row, Fault) else Fault(row.number, str(error)))
            if len(faults) >= _MOST_FAULTS:
                return
            continue
        mark = _mark(text, key)
        why = "" if text else "empty"
        why = why or next((name for name in marks if mark in marks[name]), "")
        why = why or ("repeated" if mark in seen else "")
        if why:
            counts[why] += 1
            continue
        seen.add(mark)
        yield mark, text


def _spread(table: DataTable, key: bytes, marks: set[int], groups: set[int]) -> None:
    """Add to measured marks those of rows that groups and texts of the pool connect with what is measured."""
    pairs = array("Q")
    for row in _scan(table):
        with suppress(DataError):  # told when the rows are read to be learnt
            text, group = _read(row, table)
            if text and group:
                pairs.extend((_mark(text, key), _number(group, key)))
    n_known = -1
    while n_known < (n_known := len(marks) + len(groups)):
        for mark, number in zip(pairs[::2], pairs[1::2], strict=True):
            if mark in marks or number in groups:
                marks.add(mark)
                groups.add(number)


def _read(row: Row | Fault, table: DataTable) -> tuple[str, str]:
    """Text and group; raises DataError for what is none."""
    if isinstance(row, Fault):
        raise DataError(row.reason)
    # By the rule of labelled data, or a group is another one here than there.
    group = name_of(row.record, table.group, "group") if table.group and table.group in row.record else ""
    return table.text_columns.read(row.record), group


def _scan(table: DataTable) -> Iterator[Row | Fault]:
    parts: Iterable[Iterable[Row | Fault]] = (seen(part, table) for part in parts_of(table.unlabelled, table.dialect))
    return (row for part in parts for row in part)


def _mark(text: str, key: bytes) -> int:
    """A number that texts have in common which ``normalise`` takes for one."""
    return _number(normalise(text), key)


def _number(name: str, key: bytes) -> int:
    """Of a name; two others share it by no chance at all."""
    return int.from_bytes(blake2b(name.encode("utf-8", "replace"), digest_size=8, key=key).digest())
