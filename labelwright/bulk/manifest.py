"""What an output is made of: inputs, bundle and options, so that a job goes on with the same ones or not at all.

``_manifest.json`` in the output's folder, written before the first part. It holds nothing secret: URLs without keys and
what stands behind "?".
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from labelwright.bulk.folders import Folder
from labelwright.bulk.shards import Shard, shards_of
from labelwright.data.formats.places import place_of, shown
from labelwright.data.formats.starts import starts_of
from labelwright.data.formats.text_lines import FIRST, Start
from labelwright.data.records import listed, scan_records, unreadable
from labelwright.errors import DataError
from labelwright.files import short_hash

NAME = "_manifest.json"
FORMAT = 2
# Of more files than these nothing is read before the work begins: each is a shard, unless it is Parquet, which says how
# many rows it has.
MOST_READ_BEFORE = 64
_AT_ONCE = 16


@dataclass(frozen=True)
class Input:
    """One file.

    Attributes
    ----------
    path : str
        As it was named, without keys.
    n_bytes : int
    changed : str
        When it was last written, as its filesystem says it; empty where that is not known.
    """

    path: str
    n_bytes: int
    changed: str


@dataclass(frozen=True)
class Manifest:
    """What an output's parts are answers to.

    Attributes
    ----------
    bundle : str
        A hash of its content.
    options : mapping
        Those that change answers, by what they are called on the command line.
    rows_a_shard : int
    inputs : tuple of Input
    starts : tuple of tuple of Start
        Of each file's shards.
    version : str
        Of labelwright, whose code answers.
    """

    bundle: str
    options: Mapping[str, Any]
    rows_a_shard: int
    inputs: tuple[Input, ...]
    starts: tuple[tuple[Start, ...], ...] = ()
    version: str = field(default_factory=lambda: _version())

    @property
    def job(self) -> str:
        """A hash of what is watched of that which makes the answers; docs/bulk/README.md says what is not."""
        inputs = [vars(one) for one in self.inputs]
        return short_hash([self.version, self.bundle, self.options, self.rows_a_shard, inputs])

    def shards(self, sources: Sequence[str]) -> list[Shard]:
        """All of them; ``sources`` are the inputs' names with their keys."""
        return shards_of(sources, self.starts, self.rows_a_shard)

    def as_json(self) -> bytes:
        """What ``read`` reads."""
        inputs = [
            vars(one) | {"shards": [list(start) for start in own]}
            for one, own in zip(self.inputs, self.starts, strict=True)
        ]
        value = {"format": FORMAT, "job": self.job, "labelwright": self.version, "bundle": self.bundle}
        value |= {"options": dict(self.options), "rows_a_shard": self.rows_a_shard, "inputs": inputs}
        return (json.dumps(value, indent=1) + "\n").encode()


def read(folder: Folder) -> Manifest | None:
    """The manifest in a folder; None where there is none. Raises DataError for one that cannot be read."""
    if (content := folder.read(NAME)) is None:
        return None
    try:
        value = json.loads(content)
        if value["format"] != FORMAT:
            raise ValueError(f"format {value['format']!r}, not {FORMAT}")
        inputs = tuple(Input(one["path"], one["n_bytes"], one["changed"]) for one in value["inputs"])
        starts = tuple(tuple(Start(*start) for start in one["shards"]) for one in value["inputs"])
        own = (value["bundle"], value["options"], value["rows_a_shard"])
        return Manifest(*own, inputs, starts, value["labelwright"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{folder}: its {NAME} cannot be read ({error}); choose another folder, or remove this one"
        ) from error


def inputs_of(sources: Sequence[str]) -> tuple[Input, ...]:
    """What can be said of files without reading them. Raises DataError for one that is not there."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return tuple(pool.map(_input, sources))


def refuse_changed(found: Manifest, sources: Sequence[str]) -> None:
    """Raise DataError where inputs are no longer those of a manifest, by size or time."""
    if changed := [one.path for one in inputs_of(sources) if one not in found.inputs]:
        raise DataError(
            f"{listed(changed, 3)}: changed since the job was begun; put back what was there, or remove the output and "
            f"begin again"
        )


def starts_of_all(sources: Sequence[str], rows_a_shard: int) -> tuple[tuple[Start, ...], ...]:
    """Where each file's shards begin.

    Raises
    ------
    DataError
        A file that cannot be read.
    """
    few = len(sources) <= MOST_READ_BEFORE

    def starts(source: str) -> tuple[Start, ...]:
        place = place_of(source)
        if not few and place.suffix.lower() != ".parquet":
            return (FIRST,)
        if few:
            next(scan_records(source), None)  # what is wrong with the file is said as the plain command says it
        try:
            return tuple(starts_of(place, rows_a_shard))
        except OSError as error:
            raise unreadable(place, error) from error

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return tuple(pool.map(starts, sources))


def differences(old: Manifest, new: Manifest) -> list[str]:
    """What is not the same, in words; nothing where a job may go on."""
    said = [] if old.bundle == new.bundle else ["the bundle is another one"]
    if old.version != new.version:
        said.append(f"labelwright was {old.version} and is {new.version}")
    if old.rows_a_shard != new.rows_a_shard:
        said.append(f"--shard-rows was {old.rows_a_shard} and is {new.rows_a_shard}")
    for name in dict.fromkeys([*old.options, *new.options]):
        before, now = old.options.get(name), new.options.get(name)
        if before != now:
            said.append(f"{name} was {_value(before)} and is {_value(now)}")
    was, now_is = {one.path: one for one in old.inputs}, {one.path: one for one in new.inputs}
    changed = [path for path, one in was.items() if path in now_is and now_is[path] != one]
    for what, paths in (
        ("no longer an input", [path for path in was if path not in now_is]),
        ("a new input", [path for path in now_is if path not in was]),
        ("changed since", changed),
    ):
        if paths:
            said.append(f"{listed(paths, 3)}: {what}")
    return said or ([] if old.job == new.job else ["the inputs come in another order"])


def refuse_another(folder: Folder, old: Manifest, new: Manifest) -> None:
    """Raise DataError where a folder was begun with something else."""
    if differing := differences(old, new):
        raise DataError(
            f"{folder}: was begun with something else ({'; '.join(differing)}): give the same again to go on with it, "
            f"or choose another output, or remove this one"
        )


def _version() -> str:
    try:
        return version("labelwright")
    except PackageNotFoundError:  # a clone that is not installed
        return "unknown"


def _value(value: Any) -> str:
    return "not given" if value in (None, "") else json.dumps(value)


def _input(source: str) -> Input:
    place = place_of(source)
    if not place.is_file():
        next(scan_records(source), None)  # raises what the plain command says
    if isinstance(place, Path):
        about = place.stat()
        return Input(shown(source), about.st_size, str(about.st_mtime_ns))
    found = place.about()
    return Input(shown(source), found.size, "" if found.mtime_ns is None else str(found.mtime_ns))
