"""What one worker answers at a time: a file, or a range of its rows. Fixed by the input, whoever answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

from labelwright.data.formats.arrow_rows import BATCH_ROWS
from labelwright.data.formats.text_lines import Start
from labelwright.data.records import Fault, Row, scan_records
from labelwright.errors import DataError

# Rows a shard: what is lost where a worker dies, and few enough that workers end at about the same time.
ROWS_A_SHARD = 4096


@dataclass(frozen=True)
class Shard:
    """Some rows of one file.

    Attributes
    ----------
    number : int
        Its place among all shards, from 0 on: the number of its part.
    source : str
        The file, as messages of the plain command call it; a URL with its keys.
    start : Start
        Where its first row is.
    n_rows : int, optional
        How many rows at most; all that follow where it is None.
    """

    number: int
    source: str
    start: Start
    n_rows: int | None = None

    def rows(self) -> Iterator[Row | Fault]:
        """Its rows, with the numbers that they have in the file. Raises as ``scan_records``."""
        return islice(scan_records(self.source, start=self.start), self.n_rows)

    def as_json(self) -> dict[str, Any]:
        """What ``Shard.of`` reads."""
        return asdict(self) | {"start": list(self.start)}

    @staticmethod
    def of(value: dict[str, Any]) -> Shard:
        """A shard as ``as_json`` gives it."""
        return Shard(value["number"], value["source"], Start(*value["start"]), value["n_rows"])


def shards_of(sources: Sequence[str], starts: Sequence[Sequence[Start]], rows_a_shard: int) -> list[Shard]:
    """All shards, in the order of files and rows.

    Parameters
    ----------
    sources : sequence of str
    starts : sequence of sequence of Start
        Of each file, in ascending order.
    """
    placed = [
        (source, start, rows_a_shard if n + 1 < len(own) else None)
        for source, own in zip(sources, starts, strict=True)
        for n, start in enumerate(own)
    ]
    return [Shard(number, *one) for number, one in enumerate(placed)]


def in_turn(shards: Sequence[Shard]) -> list[Shard]:
    """In the order in which they are answered: what begins a file first, so that a column misnamed is found at once."""
    return sorted(shards, key=lambda shard: (shard.start.rows > 0, shard.number))


def checked_rows(rows_a_shard: int) -> int:
    """The number itself. Raises DataError where a shard would end within what is scored, or read, at once."""
    if rows_a_shard < 1 or rows_a_shard % BATCH_ROWS:
        raise DataError(f"--shard-rows {rows_a_shard}: expected a multiple of {BATCH_ROWS}, as {ROWS_A_SHARD}")
    return rows_a_shard
