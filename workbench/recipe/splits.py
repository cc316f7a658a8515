"""The four sides of a run as a file: ids by side and a digest of the rows, so that changed rows are noticed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from labelwright.data.task import Example, Splits
from labelwright.errors import DataError
from labelwright.files import read_json

SIDES = ("train", "dev", "calib", "test")


def split_digest(splits: Splits) -> str:
    """16 hex digits over side, id, text, label and group of every row."""
    digest = hashlib.sha256()
    for side in SIDES:
        for row in getattr(splits, side):
            line = json.dumps([side, row.id, row.text, row.label, row.choices, row.group], ensure_ascii=False)
            digest.update(line.encode() + b"\n")
    return digest.hexdigest()[:16]


def split_summary(splits: Splits, remarks: Sequence[str] = ()) -> dict[str, Any]:
    """Rows by side, labels and digest, and what there is to say of the rows, for reports."""
    sides = {side: len(getattr(splits, side)) for side in SIDES}
    labels = {row.label for side in SIDES for row in getattr(splits, side)}
    return {**sides, "n_labels": len(labels), "digest": split_digest(splits), "remarks": list(remarks)}


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
