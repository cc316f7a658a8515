"""An output's parts: answers of a shard each, whole or not there, and what was counted beside them.

``part-00000.jsonl`` is in the order of the input; ``_parts/part-00000.json`` says what was counted while it was
answered, and is written before it: a part that is there has its counts.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

from labelwright.bulk.folders import Folder
from labelwright.bulk.manifest import NAME
from labelwright.errors import DataError

_COUNTS = "_parts"
_AT_ONCE = 16
# What a worker that was killed leaves of a part, or of its counts, on a disk (``labelwright.files.replacing``).
_UNFINISHED = re.compile(r"\.part-\d+(\.json)?\.\d+-\d+\.tmp\.(jsonl|json|starts)")


@dataclass(frozen=True)
class Counts:
    """What a part holds.

    Attributes
    ----------
    n_bytes, n_rows, n_faults, n_abstained : int
    errors : tuple of str
        Of the first rows without an answer, as they stand in the part.
    n_shortened : int
        Rows shortened to fit the model's context.
    engine : str
        What answered.
    has_probabilities : bool
    """

    n_bytes: int
    n_rows: int
    n_faults: int
    n_abstained: int
    errors: tuple[str, ...] = ()
    n_shortened: int = 0
    engine: str = ""
    has_probabilities: bool = True

    @staticmethod
    def of(value: Mapping[str, Any]) -> Counts:
        """Counts as ``asdict`` gives them."""
        return Counts(**{**value, "errors": tuple(value["errors"])})


class Parts:
    """The parts of a job in a folder.

    Parameters
    ----------
    folder : Folder
    n_parts : int
        How many there will be.
    """

    def __init__(self, folder: Folder, n_parts: int) -> None:
        self.folder, self.n_parts = folder, n_parts
        self._width = max(5, len(str(n_parts - 1)))

    def name(self, number: int) -> str:
        """A part's file."""
        return f"part-{number:0{self._width}d}.jsonl"

    def done(self) -> dict[int, Counts]:
        """The parts that are there, with what was counted; one that was altered since is not among them."""
        sizes, counted = self.folder.sizes(), self.folder.sizes(_COUNTS)
        there = [n for n in range(self.n_parts) if self.name(n) in sizes and self._counts_name(n) in counted]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            read = dict(zip(there, pool.map(self._counts, there), strict=True))
        return {n: one for n, one in read.items() if one is not None and one.n_bytes == sizes[self.name(n)]}

    def whole(self, number: int) -> Counts | None:
        """What was counted of a part; None where it is not there as it was written."""
        counts = self._counts(number)
        is_whole = counts is not None and self.folder.sizes().get(self.name(number)) == counts.n_bytes
        return counts if is_whole else None

    def _counts(self, number: int) -> Counts | None:
        try:
            return Counts.of(json.loads(self.folder.read(f"{_COUNTS}/{self._counts_name(number)}") or b""))
        except (ValueError, TypeError, KeyError):
            return None

    def begin(self, number: int, run: str) -> int:
        """Note that a part is begun; how often it was in this run of a command, this time among them."""
        name = f"{_COUNTS}/{self._counts_name(number)}.starts"
        before = (self.folder.read(name) or b"").decode().split()
        n_starts = 1 + (int(before[1]) if len(before) == 2 and before[0] == run else 0)
        self.folder.write(name, f"{run} {n_starts}".encode())
        return n_starts

    def forget_starts(self, number: int) -> None:
        """The part is there."""
        self.folder.remove(f"{_COUNTS}/{self._counts_name(number)}.starts")

    @contextmanager
    def writing(self, number: int) -> Iterator[_Part]:
        """A part to be written, which is there when it is whole and its counts are given (``_Part.counts``)."""
        with self.folder.writing(self.name(number)) as file:
            part = _Part(file)
            yield part
            assert part.counts is not None
            content = json.dumps(asdict(part.counts)) + "\n"
            self.folder.write(f"{_COUNTS}/{self._counts_name(number)}", content.encode())

    def join(self, file: BinaryIO) -> None:
        """All parts, in order, into one file. Raises DataError where one is gone."""
        for number in range(self.n_parts):
            try:
                with self.folder.open(self.name(number)) as part:
                    shutil.copyfileobj(part, file, 2**20)
            except FileNotFoundError as error:
                raise DataError(
                    f"{self.folder}: {self.name(number)} is gone while the parts are joined; if another command did "
                    f"that, the output is there, otherwise run this one again"
                ) from error

    def discard(self) -> None:
        """Remove the parts, and the manifest last: a removal that was cut off leaves what can be gone on with.

        Only files that have names of ours are removed, and folders that are empty then: the folder may be somebody's.
        """
        own = {self.name(number) for number in range(self.n_parts)}
        counts = {self._counts_name(number) for number in range(self.n_parts)}
        counts |= {f"{name}.starts" for name in counts}
        there = [name for name in self.folder.sizes() if name in own or _UNFINISHED.fullmatch(name)]
        there += [
            f"{_COUNTS}/{name}" for name in self.folder.sizes(_COUNTS) if name in counts or _UNFINISHED.fullmatch(name)
        ]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(self.folder.remove, there))
        self.folder.remove_empty(_COUNTS)
        self.folder.remove(NAME)
        self.folder.remove_empty()

    def _counts_name(self, number: int) -> str:
        return f"{self.name(number).removesuffix('.jsonl')}.json"


class _Part:
    """A part while it is written."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.counts: Counts | None = None
