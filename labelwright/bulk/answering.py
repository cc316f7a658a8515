"""A worker: a bundle opened as the command's options say, and shards answered with it, each into its part.

Engines make one in each of their processes. What it is given and what it gives are JSON: plain values, no objects.
"""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labelwright.bulk import manifest
from labelwright.bulk.folders import Folder, folder_of
from labelwright.bulk.parts import Counts, Parts
from labelwright.bulk.shards import Shard
from labelwright.commands.opened import open_bundle, reading, with_image_texts
from labelwright.data.formats.places import place_of, shown, told
from labelwright.errors import BundleError, DataError, LabelwrightError, ModelError

if TYPE_CHECKING:
    from labelwright.bundle.types import Bundle
    from labelwright.engines.protocol import Engine

_KEPT_ERRORS = 10
# Times that a shard is begun in one run of a command, where an engine itself begins it again and again.
MOST_STARTS = 6


class TakenOverError(DataError):
    """What a job stands on is no longer there as it was: neither its rows nor its options are at fault."""


class Answerer:
    """Answers shards, one after another.

    Parameters
    ----------
    settings : mapping
        ``options``: the command's, by their names; ``output``: the folder of the parts; ``n_parts``; ``bundle``: the
        hash that the bundle must have; ``job``: the hash that the folder's manifest must have; ``folder``: what
        relative paths begin at; ``run``, for an engine that never gives a shard up: whose starts are counted.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = settings
        self._opened: tuple[Bundle, Engine] | None = None
        if os.path.isdir(settings["folder"]):
            os.chdir(settings["folder"])

    def answer(self, shard: Mapping[str, Any]) -> dict[str, Any]:
        """Answer a shard, unless its part is there.

        Returns
        -------
        dict
            ``number`` and ``counts``; or ``number``, ``refused``, what is wrong, in one line, ``kind``, the error's
            class, and ``of_the_input``, whether rows or options are at fault, which another try does not change.
        """
        try:
            return {"number": shard["number"], "counts": asdict(self._answered(Shard.of(dict(shard))))}
        except LabelwrightError as error:
            # A disk or a store that fails is told as DataError as well, and has the system's own error behind it.
            own = isinstance(error, DataError) and not isinstance(error, TakenOverError)
            return {
                "number": shard["number"],
                "refused": str(error),
                "kind": type(error).__name__,
                "of_the_input": own and not isinstance(error.__cause__, OSError),
            }
        except (
            Exception
        ) as error:  # of a library, or of ours: who gave the command is told, not this process's log alone
            said = told(error, shard["source"], self._settings["options"].get("url") or "")
            where = f"{shown(shard['source'])}, rows from {Shard.of(dict(shard)).start.rows + 1}"
            refused = f"{where}: a worker on {platform.node()} failed ({said}); what is answered is kept"
            return {
                "number": shard["number"],
                "refused": refused,
                "kind": ModelError.__name__,
                "of_the_input": False,
            }

    def _answered(self, shard: Shard) -> Counts:
        folder = folder_of(place_of(self._settings["output"]))
        parts = Parts(folder, self._settings["n_parts"])
        # A shard comes again where its worker died after it was written, or another command works on the same output.
        if (counts := parts.whole(shard.number)) is not None:
            return counts
        if run := self._settings.get("run"):
            _count_start(parts, shard, run)
        bundle, engine = self._open()
        before = engine.n_shortened
        with parts.writing(shard.number) as part:
            counted = _written(part.file, self._records(shard, bundle, engine))
            self._same_job(folder, shard)
            part.counts = Counts(
                *counted,
                n_shortened=engine.n_shortened - before,
                engine=engine.name,
                has_probabilities=getattr(engine, "has_probabilities", True),
            )
        if run:
            parts.forget_starts(shard.number)
        return part.counts

    def _records(self, shard: Shard, bundle: Bundle, engine: Engine) -> Iterator[dict[str, Any]]:
        from labelwright.labelling import label_rows

        arguments, place = self._arguments, place_of(shard.source)
        folder = place.parent if isinstance(place, Path) else None
        rows = with_image_texts(shard.rows(), arguments, bundle.task, folder)
        how = reading(arguments, bundle, shard.source)
        return label_rows(rows, bundle, engine, **how, is_start=not shard.start.rows)

    def _open(self) -> tuple[Bundle, Engine]:
        from labelwright.bundle.files import bundle_identity

        if self._opened is None:
            folder = self._arguments.bundle
            try:
                self._opened = open_bundle(self._arguments)
            except BundleError as error:
                raise BundleError(
                    f"{error} (so says a worker on {platform.node()}: a bundle must lie where every worker reads it)"
                ) from error
            if bundle_identity(folder) != self._settings["bundle"]:
                raise BundleError(
                    f"{folder}: is another bundle on {platform.node()} than where the command was given; copy the same "
                    f"one there, or name one on a disk that all share"
                )
        return self._opened

    def _same_job(self, folder: Folder, shard: Shard) -> None:
        """Nothing is put into a folder that others have taken for something else meanwhile, or of rows that changed."""
        found = manifest.read(folder)
        if found is None or found.job != self._settings["job"]:
            raise TakenOverError(f"{folder}: another command has begun something else there; choose an output for each")
        try:
            manifest.refuse_changed(found, [shard.source])
        except DataError as error:
            raise TakenOverError(str(error)) from error

    @property
    def _arguments(self) -> argparse.Namespace:
        options = self._settings["options"]
        return argparse.Namespace(**{**options, "bundle": Path(options["bundle"])})


def _count_start(parts: Parts, shard: Shard, run: str) -> None:
    """Raise ModelError for a shard that was begun time after time and never ended: it ends whoever answers it."""
    if (n_starts := parts.begin(shard.number, run)) > MOST_STARTS:
        raise ModelError(
            f"{shown(shard.source)}, rows from {shard.start.rows + 1}: {n_starts - 1} workers ended while they "
            f"answered them (out of memory?); what is answered is kept, and the same command goes on with the rest"
        )


def _written(file: Any, records: Iterator[dict[str, Any]]) -> tuple[int, int, int, int, tuple[str, ...]]:
    """Write rows as the plain command does; bytes, rows, faults, abstained, and the first errors."""
    from labelwright.labelling import json_line

    n_rows = n_faults = n_abstained = 0
    errors: list[str] = []
    for record in records:
        n_rows += 1
        n_abstained += "abstained" in record
        if "error" in record:
            n_faults += 1
            if len(errors) < _KEPT_ERRORS:
                errors.append(record["error"])
        file.write((json_line(record) + "\n").encode())
    return file.tell(), n_rows, n_faults, n_abstained, tuple(errors)
