"""Rows of a Parquet file as dictionaries. Knows what ``datasets`` writes into a file: the names of class numbers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labelwright.errors import DataError, MissingExtraError

_BATCH_ROWS = 1024


@dataclass(frozen=True)
class Unusable:
    """A cell that cannot be used, and harms only who reads its column.

    Attributes
    ----------
    written : str
        How it is written where all columns are passed on.
    reason : str
        Behind "the label": "is -1, which …".
    """

    written: str
    reason: str

    def __str__(self) -> str:
        return self.written


def parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Rows, one at a time. Raises DataError, or MissingExtraError without pyarrow."""
    try:
        import pyarrow as arrow
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise MissingExtraError('reading Parquet needs pyarrow: pip install "labelwright[parquet]"') from error
    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            repeated = [name for name, n in Counter(names).items() if n > 1]
            if repeated:
                raise DataError(f"{path}: column {repeated[0]!r} is there twice; keep one")
            classes = class_names(file.schema_arrow.metadata)
            for batch in file.iter_batches(batch_size=_BATCH_ROWS):
                columns = [
                    [class_name(value, classes[name]) for value in values] if name in classes else values
                    for name, values in zip(names, map(_values, batch.columns), strict=True)
                ]
                # A file without columns has rows all the same.
                cells = zip(*columns, strict=True) if columns else ([()] * batch.num_rows)
                yield from (dict(zip(names, row, strict=True)) for row in cells)
    except arrow.ArrowException as error:
        raise DataError(f"{path}: not a Parquet file ({str(error).splitlines()[0]}); write it again") from error


def class_name(value: Any, names: Sequence[str]) -> Any:
    """The name of a class number; numbers that are none become ``Unusable``."""
    if not isinstance(value, int):
        return value
    if 0 <= value < len(names):
        return names[value]
    if value == -1:
        return Unusable("-1", "is -1, which stands for a row without one")
    return Unusable(str(value), f"is number {value} of {len(names)} classes")


def class_names(metadata: dict[bytes, bytes] | None) -> dict[str, list[str]]:
    """Names of classes by column, where ``datasets`` has left them in the file."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        return {
            column: list(map(str, feature["names"]))
            for column, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and feature.get("names")
        }
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        return {}  # not from datasets, or not in the form known here


def _values(column: Any) -> list[Any]:
    """A column as Python values; times beyond what Python has a type for as text."""
    import pyarrow as arrow

    # What lies out of range raises anything from OverflowError to ArrowInvalid.
    try:
        return list(column.to_pylist())
    except (ValueError, OverflowError, TypeError, KeyError, arrow.ArrowException):
        pass
    try:
        return list(column.cast(arrow.string()).to_pylist())
    except (ValueError, OverflowError, arrow.ArrowException):
        unusable = Unusable(f"<{column.type}>", f"is of type {column.type} with values that cannot be read")
        return [unusable if valid else None for valid in column.is_valid().to_pylist()]
