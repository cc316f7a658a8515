"""A file's rows as far as documents and queries have the same: id, text, category, and all that is wrong with them.

A row with a fault is read on, so that whoever asks more of it finds its other faults as well.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from labelwright.data.columns import TextColumns
from labelwright.data.records import Fault, listed
from labelwright.data.task import name_of
from labelwright.errors import DataError
from workbench.first.dialect import scan_found

ID = "id"
# The first of these that a row has is its category.
CATEGORY = ("category", "label")
# Names that a message lists.
MOST_NAMES = 6

Say = Callable[[str], None]


@dataclass(frozen=True)
class CorpusRow:
    """A row; what is faulty of it is empty, and so is a category that it does not have."""

    number: int
    id: str
    text: str
    category: str
    cells: Mapping[str, Any]


def read_rows(path: str, text: TextColumns, labels: Collection[str], say: Say) -> tuple[list[CorpusRow], list[Fault]]:
    """All rows of a file that can be read, and all faults, those of one kind with one reason.

    Parameters
    ----------
    labels : collection of str
        The categories that there are.

    Raises
    ------
    DataError
        Of the file as a whole.
    """
    rows: list[CorpusRow] = []
    faults: list[Fault] = []
    seen: set[str] = set()
    for row in scan_found(Path(path), say, has_header=True):
        if isinstance(row, Fault):
            faults.append(row)
            continue
        said = []
        for read in (partial(_id_of, seen), text.need, _category_of):
            try:
                said.append(read(row.record))
            except DataError as error:
                faults.append(Fault(row.number, str(error)))
                said.append("")
        rows.append(CorpusRow(row.number, said[0], said[1], said[2], row.record))
    return rows, faults + _unknown(rows, labels)


def shared_faults(numbers: Iterable[int], names: Iterable[str], reason: str) -> list[Fault]:
    """A fault of each row with one reason for all, in which "{}" is what all of them name."""
    told = reason.format(listed(map(repr, dict.fromkeys(names)), MOST_NAMES))
    return [Fault(number, told) for number in numbers]


def _unknown(rows: Iterable[CorpusRow], labels: Collection[str]) -> list[Fault]:
    wrong = [row for row in rows if row.category and row.category not in labels]
    known = listed(map(repr, labels), MOST_NAMES).replace("{", "{{").replace("}", "}}")
    return shared_faults(
        [row.number for row in wrong],
        [row.category for row in wrong],
        f"a category that the bundle does not know ({{}}; it knows {known}); correct it, or take another bundle",
    )


def _id_of(seen: set[str], record: Mapping[str, Any]) -> str:
    if ID not in record:
        raise DataError(f"no column {ID!r}; the row has {sorted(map(str, record))}: give every row an id")
    found = name_of(record, ID, ID)
    if not found:
        raise DataError(f"the {ID} is empty; fill it in or remove the row")
    if found in seen:
        raise DataError("the id is that of an earlier row; give every row one of its own")
    seen.add(found)
    return found


def _category_of(record: Mapping[str, Any]) -> str:
    name = next((one for one in CATEGORY if one in record), None)
    return "" if name is None else name_of(record, name, "category")
