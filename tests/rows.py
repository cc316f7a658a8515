"""What tests ask of rows and splits, and nothing else does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from labelwright.data.choices import over_letters
from labelwright.data.records import read_rows, refusal
from labelwright.data.task import Example, Splits, family_keys


def read_records(path: Path | str) -> list[dict[str, Any]]:
    """All rows of a file as dictionaries. Raises DataError, in one message, for every row that cannot be read."""
    rows, faults = read_rows(path)
    if faults:
        raise refusal(str(path), faults)
    return [row.record for row in rows]


def as_letters(example: Example) -> Example:
    """One row over letters."""
    return over_letters([example])[0]


def find_leaks(splits: Splits) -> list[tuple[str, str]]:
    """Pairs of ids on two sides of the splits that share one of their ``family_keys``."""
    owner: dict[tuple[str, ...], tuple[str, str]] = {}
    leaks: dict[tuple[str, str], None] = {}
    for side in ("train", "dev", "calib", "test"):
        for example in getattr(splits, side):
            for key in family_keys(example):
                other_side, other_id = owner.setdefault(key, (side, example.id))
                if other_side != side:
                    leaks[other_id, example.id] = None
    return list(leaks)
