"""A person's preferences, from a file: of a train row, the label to be taken and the one to be left.

A line names its row by ``id``, or where that is empty by its text, in the task's own columns or whole as ``text``, and
two labels, ``chosen`` and ``rejected``. Any file that rows may be read from will do. A text that several train rows
have is meant of all of them. Rows that are no train rows teach nothing: who judged the whole data need not know how it
was dealt.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from labelwright.data.records import Fault, Row, optional_text, read_rows, refusal
from labelwright.data.task import Example, Task, name_of
from labelwright.errors import DataError
from labelwright.settings import shown
from optimizers.training.preferences.hard import Pair


class Chosen(NamedTuple):
    """What a file says.

    Attributes
    ----------
    pairs : list of Pair
        Each once, in the order of the file.
    n_elsewhere : int
        Lines of rows that are no train rows.
    n_against_gold : int
        Pairs whose chosen label is not the row's own.
    """

    pairs: list[Pair]
    n_elsewhere: int
    n_against_gold: int


def read_chosen(path: Path | str, train: Sequence[Example], task: Task) -> Chosen:
    """The pairs of a file.

    Raises
    ------
    DataError
        Lines without a row, a label or two different ones, with a label that there is not, or that take back what
        another one says: all of them, in one message.
    """
    rows, faults = read_rows(path)
    by_id, by_text = _places(train)
    found: dict[Pair, None] = {}
    n_elsewhere = 0
    for row in rows:
        try:
            places, chosen, rejected = _read(row, by_id, by_text, task)
        except DataError as error:
            faults.append(Fault(row.number, str(error)))
            continue
        n_elsewhere += not places
        if any((place, rejected, chosen) in found for place in places):
            faults.append(Fault(row.number, "takes back what a row above says of the same two labels; keep one"))
        else:
            found |= {(place, chosen, rejected): None for place in places}
    if faults:
        raise refusal(str(path), faults)
    n_against = sum(task.names[chosen] != train[place].label for place, chosen, _ in found)
    return Chosen(list(found), n_elsewhere, n_against)


def check_chosen(path: Path | str, train: Sequence[Example], task: Task) -> None:
    """Refuse a file that says nothing, before a run. Within one that may be: another split has other train rows.

    Raises
    ------
    DataError
        As ``read_chosen``; no line of a train row.
    """
    found = read_chosen(path, train, task)
    if not found.pairs:
        raise DataError(
            f"{path}: none of its {found.n_elsewhere} rows is a train row: give ids or texts of the recipe's data"
        )


def _places(train: Sequence[Example]) -> tuple[Mapping[str, list[int]], Mapping[str, list[int]]]:
    """Numbers of train rows by id and by text."""
    by_id, by_text = defaultdict[str, list[int]](list), defaultdict[str, list[int]](list)
    for number, row in enumerate(train):
        by_id[row.id].append(number)
        by_text[row.text].append(number)
    # A column of numbers with a gap in it is written as 5.0 by data frames, which in a file of text is a name of its
    # own; unless the data's own ids are written so.
    if not any(id.endswith(".0") and id[:-2].isdecimal() for id in by_id):
        by_id |= {f"{id}.0": numbers for id, numbers in by_id.items() if id.isdecimal()}
    return by_id, by_text


def _read(
    row: Row, by_id: Mapping[str, list[int]], by_text: Mapping[str, list[int]], task: Task
) -> tuple[list[int], int, int]:
    """The train rows, none where it is another, and the numbers of its two labels."""
    id = name_of(row.record, "id", "id") if "id" in row.record else ""
    text = "" if id or task.text.missing_in(row.record) else task.text.read(row.record)
    if not id and not text:
        raise DataError(f"neither id nor {task.text}; say which row is meant")
    labels = [optional_text(row.record, one, one) if one in row.record else "" for one in ("chosen", "rejected")]
    for column, label in zip(("chosen", "rejected"), labels, strict=True):
        if label not in task.names:
            expected = f"one of {', '.join(map(shown, task.names[:20]))}{', …' if len(task.names) > 20 else ''}"
            raise DataError(f"{column} is {shown(label) if label else 'missing'}: expected {expected}")
    if labels[0] == labels[1]:
        raise DataError(f"chosen and rejected are both {shown(labels[0])}; expected two labels")
    places = by_id.get(id, []) if id else by_text.get(text, [])
    return places, task.index(labels[0]), task.index(labels[1])
