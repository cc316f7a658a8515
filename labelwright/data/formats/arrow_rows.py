"""Rows of a Parquet or Arrow file as dictionaries. Knows what ``datasets`` writes there: the names of class numbers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from labelwright.data.formats.packed import opened
from labelwright.data.formats.places import Place
from labelwright.errors import DataError, MissingExtraError

# Rows that become Python values at once. Where one of them is beyond Python, its column's batch is written otherwise:
# so reading that begins in the middle of a file begins at a multiple of these.
BATCH_ROWS = 1024


@dataclass(frozen=True)
class Unusable:
    """A cell that cannot be used, and harms only who reads its column.

    Attributes
    ----------
    written : str
        How it is written where all columns are passed on.
    reason : str
        Behind "the label": "is -1, which …".
    missing : bool
        Whether it stands for no value.
    """

    written: str
    reason: str
    missing: bool = False

    def __str__(self) -> str:
        return self.written


def parquet_rows(path: Place, n_before: int = 0) -> Iterator[dict[str, Any]]:
    """Rows, one at a time. Raises DataError, or MissingExtraError without pyarrow.

    Parameters
    ----------
    n_before : int
        Rows that are passed over, a multiple of ``BATCH_ROWS``; groups of rows before that are not read.
    """
    arrow = _arrow()
    import pyarrow.parquet as parquet

    try:
        with opened(path, seeking=True) as content, parquet.ParquetFile(content) as file:
            yield from rows_of(_batches(file, n_before), file.schema_arrow, path)
    except arrow.ArrowException as error:
        raise _no_parquet(path, error) from error


def n_parquet_rows(path: Place) -> int:
    """How many rows a Parquet file says it has. Raises as ``parquet_rows`` does."""
    arrow = _arrow()
    import pyarrow.parquet as parquet

    try:
        with opened(path, seeking=True) as content, parquet.ParquetFile(content) as file:
            return int(file.metadata.num_rows)
    except arrow.ArrowException as error:
        raise _no_parquet(path, error) from error


def _no_parquet(path: Place, error: Exception) -> DataError:
    return DataError(f"{path}: not a Parquet file ({str(error).splitlines()[0]}); write it again")


def _batches(file: Any, n_before: int) -> Iterator[Any]:
    """The batches behind so many rows, parted as they are when the file is read from its beginning."""
    if not n_before:
        yield from file.iter_batches(batch_size=BATCH_ROWS)
        return
    ends = list(accumulate(file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)))
    groups = [n for n, end in enumerate(ends) if end > n_before]
    if not groups:
        return
    ahead = n_before - (ends[groups[0] - 1] if groups[0] else 0)
    waiting: Any = None
    for batch in file.iter_batches(batch_size=BATCH_ROWS, row_groups=groups):
        passed = min(ahead, batch.num_rows)
        ahead -= passed
        tables = [one for one in (waiting, _table(batch.slice(passed))) if one is not None]
        waiting = _arrow().concat_tables(tables)
        while waiting.num_rows >= BATCH_ROWS:
            yield from waiting.slice(0, BATCH_ROWS).combine_chunks().to_batches()
            waiting = waiting.slice(BATCH_ROWS)
    if waiting is not None and waiting.num_rows:
        yield from waiting.combine_chunks().to_batches()


def _table(batch: Any) -> Any:
    return _arrow().Table.from_batches([batch])


def arrow_rows(path: Place) -> Iterator[dict[str, Any]]:
    """Rows of an Arrow stream, as ``datasets`` saves them, or an Arrow file. Raises as ``parquet_rows`` does."""
    arrow = _arrow()
    try:
        with opened(path, seeking=True) as content:
            is_file = content.read(6) == b"ARROW1"
            content.seek(0)
            if is_file:
                reader = arrow.ipc.open_file(content)
                batches = map(reader.get_batch, range(reader.num_record_batches))
                yield from rows_of(batches, reader.schema, path)
            else:
                stream = arrow.ipc.open_stream(content)
                yield from rows_of(stream, stream.schema, path)
    except arrow.ArrowException as error:
        raise DataError(f"{path}: not an Arrow file ({str(error).splitlines()[0]}); write it again") from error


def _arrow() -> Any:
    try:
        import pyarrow
    except ImportError as error:
        raise MissingExtraError('reading Parquet needs pyarrow: pip install "labelwright[parquet]"') from error
    return pyarrow


def rows_of(batches: Iterable[Any], schema: Any, source: Place | str) -> Iterator[dict[str, Any]]:
    """Rows of Arrow's batches; ``source`` is what a message calls them. Raises DataError for a column twice."""
    names = schema.names
    repeated = [name for name, n in Counter(names).items() if n > 1]
    if repeated:
        raise DataError(f"{source}: column {repeated[0][:80]!r} is there twice; keep one")
    classes = class_names(schema.metadata)
    for batch in batches:
        columns = [
            [class_name(value, classes[name]) for value in values] if name in classes else values
            for name, values in zip(names, map(_values, batch.columns), strict=True)
        ]
        # A file without columns has rows all the same.
        cells = zip(*columns, strict=True) if columns else ([()] * batch.num_rows)
        yield from (dict(zip(names, row, strict=True)) for row in cells)


def class_name(value: Any, names: Sequence[str]) -> Any:
    """The name of a class number; numbers that are none become ``Unusable``."""
    if not isinstance(value, int):
        return value
    if 0 <= value < len(names):
        return names[value]
    if value == -1:
        return Unusable("-1", "is -1, which stands for a row without one", missing=True)
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
