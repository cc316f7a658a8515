"""A person's preferences, from a file: of a train row, the label to be taken and the one to be left.

A line names its row by ``id``, or by ``text`` where that is empty, and two labels, ``chosen`` and ``rejected``. Any
file that rows may be read from will do. Rows that are no train rows teach nothing: who judged the whole data need not
know how it was dealt.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from labelwright.data.records import Fault, Row, optional_text, read_rows, refusal
from labelwright.data.task import Example
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


def read_chosen(path: Path | str, train: Sequence[Example], names: Sequence[str]) -> Chosen:
    """The pairs of a file.

    Raises
    ------
    DataError
        Lines without a row, a label or two different ones, with a label that there is not, or that take back what
        another one says: all of them, in one message. No line of a train row.
    """
    rows, faults = read_rows(path)
    by_id = {row.id: number for number, row in enumerate(train)}
    by_text = {row.text: number for number, row in enumerate(train)}
    found: dict[Pair, None] = {}
    n_elsewhere = 0
    for row in rows:
        try:
            place, chosen, rejected = _read(row, by_id, by_text, names)
        except DataError as error:
            faults.append(Fault(row.number, str(error)))
            continue
        if place is None:
            n_elsewhere += 1
        elif (place, rejected, chosen) in found:
            faults.append(Fault(row.number, "takes back what a row above says of the same two labels; keep one"))
        else:
            found[place, chosen, rejected] = None
    if faults:
        raise refusal(str(path), faults)
    if not found:
        raise DataError(
            f"{path}: none of its {n_elsewhere} rows is a train row: give ids or texts of the recipe's data"
        )
    n_against = sum(names[chosen] != train[place].label for place, chosen, _ in found)
    return Chosen(list(found), n_elsewhere, n_against)


def _read(
    row: Row, by_id: dict[str, int], by_text: dict[str, int], names: Sequence[str]
) -> tuple[int | None, int, int]:
    """The train row, None where it is another, and the numbers of its two labels."""
    id, text, *labels = (
        optional_text(row.record, one, one) if one in row.record else "" for one in ("id", "text", "chosen", "rejected")
    )
    if not id and not text:
        raise DataError("neither id nor text; say which row is meant")
    for column, label in zip(("chosen", "rejected"), labels, strict=True):
        if label not in names:
            expected = f"one of {', '.join(map(shown, names[:20]))}{', …' if len(names) > 20 else ''}"
            raise DataError(f"{column} is {shown(label) if label else 'missing'}: expected {expected}")
    if labels[0] == labels[1]:
        raise DataError(f"chosen and rejected are both {shown(labels[0])}; expected two labels")
    place = by_id.get(id) if id else by_text.get(text)
    return place, names.index(labels[0]), names.index(labels[1])
