"""Rows that no label is right for: some teach, some choose, the others are measured on.

They are no part of the splits. Called by the comparison, and by whoever asks which rows have labels already.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from labelwright.data.spelling import label_key
from labelwright.data.task import Example, Splits
from labelwright.errors import DataError
from workbench.recipe.dealing import deal, held
from workbench.recipe.files import read_files
from workbench.recipe.splits import SIDES
from workbench.recipe.tables.data import DataTable, SplitTable

# With fewer on either side nothing is learnt, or nothing can be told. Then all are measured on; where a test split is
# given its rows alone are, and those others are left out.
LEAST_ROWS = 10


class OutOfScope(NamedTuple):
    """Rows of the label that is none.

    Attributes
    ----------
    taught, calib : tuple of Example
        Those that teach a "none of these", and those that choose whether it is used; both or neither.
    test : tuple of Example
    """

    taught: tuple[Example, ...] = ()
    calib: tuple[Example, ...] = ()
    test: tuple[Example, ...] = ()


def all_out_of_scope(table: DataTable) -> dict[str, list[Example]]:
    """By where they come from, as ``workbench.recipe.files.read_files``; empty where the recipe names no such label."""
    if not table.out_of_scope:
        return {}
    files = read_files(table).rows
    return {name: [row for row in rows if _is_out_of_scope(row.label, table)] for name, rows in files.items()}


def in_scope(rows: Sequence[Example], table: DataTable) -> list[Example]:
    """The other rows."""
    return [row for row in rows if not table.out_of_scope or not _is_out_of_scope(row.label, table)]


def deal_out_of_scope(table: DataTable, splits: Splits, shares: SplitTable, seed: int) -> OutOfScope:
    """Deal them: as rows in scope are dealt, but that dev's share goes to calib, for there is nothing else to choose.

    Rows of a given test split are test rows, those of ``train_path`` teach. One whose text or group a row has that is
    measured or chosen on teaches nothing.
    """
    rows = all_out_of_scope(table)
    if not any(rows.values()):
        return OutOfScope()
    given = rows.get(table.test_source, []) if table.test_source else []
    # Of these rows nothing is read but text and group, to keep them apart.
    measured = [*(row for side in SIDES if side != "train" for row in getattr(splits, side)), *given]
    own, away = _apart(rows.get(table.source, []), measured)
    later, _ = _apart(rows.get(table.train_path, []) if table.train_path else [], [*measured, *own, *away])
    every = OutOfScope(test=tuple(given) if table.test_source else (*own, *away))
    sides = {"calib": shares.dev + shares.calib} | ({} if table.test_source else {"test": shares.test})
    try:
        dealt = deal(own, sides, seed)
    except DataError:  # too few families
        return every
    test = every.test if table.test_source else (*dealt["test"], *away)
    found = OutOfScope((*dealt["train"], *later), dealt["calib"], test)
    return found if min(len(found.taught), len(found.calib)) >= LEAST_ROWS else every


def _apart(rows: Sequence[Example], measured: Sequence[Example]) -> tuple[list[Example], list[Example]]:
    """The rows that no family connects with one of the measured rows, and those that one does."""
    with_them = held(rows, measured)
    return [row for i, row in enumerate(rows) if i not in with_them], [rows[i] for i in sorted(with_them)]


def _is_out_of_scope(label: str, table: DataTable) -> bool:
    if table.similar_labels == "merge":
        return label_key(label) == label_key(table.out_of_scope)
    return label == table.out_of_scope
