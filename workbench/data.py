"""Rows in, splits out: reads a recipe's data, ties together what must not be parted, and deals it to four sides.

The splits of a run are written once (``splits.json``: ids by side and a digest of the rows) and read by every later
command, so that a changed file is noticed instead of quietly moving rows between train and test.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from labelwright.choices import as_letters
from labelwright.errors import DataError, MissingExtraError
from labelwright.task import Example, Splits, check_examples, examples_from_records, normalise, read_examples
from workbench.folder import read_json
from workbench.recipe import DataTable, SplitTable

SIDES = ("train", "dev", "calib", "test")
# How the ids of rows from a test file of their own begin.
TEST_ID = "test:"
# Who is served first where a label has fewer families than there are sides: it must be learnt, then measured.
_FIRST_SERVED = ("train", "test", "dev", "calib")


def load_rows(table: DataTable, labels: Sequence[str] | None = None, seed: int = 0) -> list[Example]:
    """Read and check the recipe's rows.

    Parameters
    ----------
    labels : sequence of str, optional
        The task's labels; without them every label that occurs is taken.
    seed : int
        Draws ``max_rows`` rows.

    Returns
    -------
    list of Example
        Over letters where rows bring their own choices. Those of ``test_path`` have ids that begin with ``TEST_ID``.

    Raises
    ------
    DataError
        Whatever ``read_examples`` and ``check_examples`` refuse; a dataset id that cannot be read.
    """
    source = table.path or table.hub
    rows = _checked(_in_scope(_read(table, table.path), table), table, labels, source)
    if table.test_path:
        test = _in_scope(_read(table, table.test_path), table)
        # Ids without a column are row numbers, which the other file has too.
        test = [replace(row, id=f"{TEST_ID}{row.id}") for row in test]
        test = _checked(test, table, labels, table.test_path)
        taken = {key for row in test for key in _family_keys(row)}
        rows = [row for row in rows if not taken & set(_family_keys(row))]
    if table.max_rows:
        chosen = sorted(random.Random(seed).sample(range(len(rows)), min(table.max_rows, len(rows))))
        rows = [rows[i] for i in chosen]
    return rows + test if table.test_path else rows


def load_out_of_scope(table: DataTable) -> list[Example]:
    """Rows of the label that is none, of the test file where there is one; nothing where the recipe names none."""
    if not table.out_of_scope:
        return []
    return [row for row in _read(table, table.test_path or table.path) if row.label == table.out_of_scope]


def _read(table: DataTable, path: str) -> list[Example]:
    """The rows of a file, or of the dataset where there is no path."""
    columns: dict[str, str | None] = {
        role: getattr(table, role) or None for role in ("text", "label", "group", "id", "choices")
    }
    if path:
        return read_examples(path, **columns)  # type: ignore[arg-type]
    return examples_from_records(_hub_records(table), columns, table.hub)


def _in_scope(rows: list[Example], table: DataTable) -> list[Example]:
    return [row for row in rows if not table.out_of_scope or row.label != table.out_of_scope]


def max_choices(rows: Sequence[Example]) -> int:
    """The most choices of any row; 0 where rows share labels."""
    return max((len(row.choices or ()) for row in rows), default=0)


def _checked(rows: list[Example], table: DataTable, labels: Sequence[str] | None, source: str) -> list[Example]:
    if table.choices:
        rows = [as_letters(row, f"{source}, row {number}") for number, row in enumerate(rows, start=1)]
    check_examples(rows, labels, source)
    return rows


def make_splits(rows: Sequence[Example], shares: SplitTable, seed: int) -> Splits:
    """Deal rows to train, dev, calib and test: grouped, stratified, the same for the same rows and seed.

    Rows of one group, and rows whose normalised texts are equal, form one family and stay on one side. Label by label,
    each side first gets the family nearest in size to what it is due, so that every label with four families or more
    stands on every side; every further family goes to the side that lacks most rows of that label.

    Returns
    -------
    Splits
        Every row on exactly one side, in the order of ``rows``.

    Raises
    ------
    DataError
        If the rows form too few families for four sides.
    """
    given = tuple(row for row in rows if row.id.startswith(TEST_ID))
    if given:
        rest = [row for row in rows if not row.id.startswith(TEST_ID)]
        # A test share of nothing: what there is to test on is in a file of its own.
        dealt = _deal_sides(rest, {"dev": shares.dev, "calib": shares.calib}, seed)
        return Splits(dealt["train"], dealt["dev"], dealt["calib"], given)
    dealt = _deal_sides(rows, {"dev": shares.dev, "calib": shares.calib, "test": shares.test}, seed)
    return Splits(**dealt)


def _deal_sides(rows: Sequence[Example], share: dict[str, float], seed: int) -> dict[str, tuple[Example, ...]]:
    families = _families(rows)
    share = {**share, "train": 1 - sum(share.values())}
    chance = random.Random(seed)
    by_label: dict[str, list[list[int]]] = defaultdict(list)
    for family in families:
        counts = Counter(rows[i].label for i in family)
        by_label[min(counts, key=lambda name: (-counts[name], name))].append(family)
    side_of: dict[int, str] = {}
    for label in sorted(by_label):
        chance.shuffle(by_label[label])
        for side, family in _deal(by_label[label], share):
            side_of.update(dict.fromkeys(family, side))
    sides = {side: tuple(row for i, row in enumerate(rows) if side_of[i] == side) for side in share}
    empty = [side for side in share if not sides[side]]
    if empty:
        raise DataError(
            f"{len(rows)} rows in {len(families)} separate groups leave {empty[0]} empty: add rows, "
            f"or use finer groups (rows of one group stay together)"
        )
    return sides


def split_digest(splits: Splits) -> str:
    """16 hex digits over side, id, text, label and group of every row."""
    digest = hashlib.sha256()
    for side in SIDES:
        for row in getattr(splits, side):
            line = json.dumps([side, row.id, row.text, row.label, row.choices, row.group], ensure_ascii=False)
            digest.update(line.encode() + b"\n")
    return digest.hexdigest()[:16]


def split_summary(splits: Splits) -> dict[str, Any]:
    """Rows by side, labels and digest, for reports."""
    sides = {side: len(getattr(splits, side)) for side in SIDES}
    labels = {row.label for side in SIDES for row in getattr(splits, side)}
    return {**sides, "n_labels": len(labels), "digest": split_digest(splits)}


def splits_document(splits: Splits) -> dict[str, Any]:
    """What ``splits.json`` holds: ids by side, and the digest."""
    ids = {side: [row.id for row in getattr(splits, side)] for side in SIDES}
    return {"digest": split_digest(splits), "ids": ids}


def read_splits(path: Path, rows: Sequence[Example]) -> Splits:
    """The splits written at ``path``, filled with the rows' text.

    Raises
    ------
    DataError
        If the rows are not those that were split.
    """
    written = read_json(path)
    by_id = {row.id: row for row in rows}
    changed = DataError(
        f"the data changed since the run began ({path} has digest {written['digest']}): "
        f"put the rows back, or start a new run with `make demo`"
    )
    if sorted(by_id) != sorted(id for side in SIDES for id in written["ids"][side]):
        raise changed
    splits = Splits(**{side: tuple(by_id[id] for id in written["ids"][side]) for side in SIDES})
    if split_digest(splits) != written["digest"]:
        raise changed
    return splits


def _families(rows: Sequence[Example]) -> list[list[int]]:
    """Row numbers that must stay together: connected through a group or a normalised text."""
    parent = list(range(len(rows)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    first: dict[tuple[str, str], int] = {}
    for i, row in enumerate(rows):
        for key in _family_keys(row):
            parent[root(i)] = root(first.setdefault(key, i))
    families: dict[int, list[int]] = defaultdict(list)
    for i in range(len(rows)):
        families[root(i)].append(i)
    return list(families.values())


def _family_keys(row: Example) -> list[tuple[str, str]]:
    keys = [("text", normalise(row.text))]
    return keys if row.group is None else [*keys, ("group", row.group)]


def _deal(families: list[list[int]], share: Mapping[str, float]) -> list[tuple[str, list[int]]]:
    """Sides for the families of one label."""
    n_rows = sum(map(len, families))
    served = [side for side in _FIRST_SERVED if side in share]
    due = {side: share[side] * n_rows for side in served}
    left = list(families)
    dealt = []
    for side in served[: len(families)]:
        nearest = min(range(len(left)), key=lambda i: abs(len(left[i]) - due[side]))
        dealt.append((side, left.pop(nearest)))
        due[side] -= len(dealt[-1][1])
    # Large families first: the small ones then even out what is left.
    for family in sorted(left, key=len, reverse=True):
        side = max(served, key=lambda side: due[side])
        dealt.append((side, family))
        due[side] -= len(family)
    return dealt


def _hub_records(table: DataTable) -> list[dict[str, Any]]:
    """All rows of a Hugging Face dataset, class numbers turned into names."""
    try:
        import datasets
    except ImportError as error:
        raise MissingExtraError('reading a dataset id needs datasets: pip install "labelwright[tune]"') from error
    try:
        loaded = datasets.load_dataset(table.hub, table.config or None, revision=table.revision or None)
    except Exception as error:  # what a hub can answer has no common base class
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(
            f"dataset {table.hub!r} cannot be read: {reason}; check the id, or download it and set path"
        ) from error
    wanted = table.hub_splits or tuple(loaded)
    records: list[dict[str, Any]] = []
    for split in wanted:
        if split not in loaded:
            raise DataError(f"dataset {table.hub!r} has no split {split!r}; it has {', '.join(map(str, loaded))}")
        feature = loaded[split].features.get(table.label)
        for record in loaded[split]:
            if hasattr(feature, "int2str") and isinstance(record[table.label], int):
                record = {**record, table.label: feature.int2str(record[table.label])}
            records.append(record)
    return records
