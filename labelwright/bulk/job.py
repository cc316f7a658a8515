"""A bulk job, from the command's options to its exit status: what is asked, what is missing, who answers it.

The driver reads no row that it need not and answers none. It can be killed at any moment; started again it goes on with
the parts that are missing, or refuses where something else is asked than before.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from labelwright import errors
from labelwright.bulk import manifest, on_processes, on_ray
from labelwright.bulk.folders import Folder, folder_of
from labelwright.bulk.manifest import Manifest
from labelwright.bulk.needs import Asked
from labelwright.bulk.options import folder_and_name, for_manifest, for_workers, is_joined, parts_folder
from labelwright.bulk.parts import Counts, Parts
from labelwright.bulk.shards import ROWS_A_SHARD, Shard
from labelwright.commands.opened import asked_bundle
from labelwright.commands.shown import Faults, Progress, told_of_engine
from labelwright.data.formats.places import files_meant, place_of, shown
from labelwright.errors import DataError


class _InputError(DataError):
    """A worker found rows, or options, at fault."""


def run(arguments: argparse.Namespace) -> int:
    """Label what is missing of an output; returns the exit status."""
    sources = files_meant(arguments.input)
    _refuse_folder(arguments.output)
    output = parts_folder(arguments.output)
    folder = folder_of(place_of(output))
    _, weights = asked_bundle(arguments)
    asked, is_new = _begun(folder, sources, arguments)
    shards = asked.shards(sources)
    parts = Parts(folder, len(shards))
    done = parts.done()
    missing = [shard for shard in shards if shard.number not in done]
    print(_told(len(shards), len(done), len(sources)), file=sys.stderr)
    settings = {
        "options": for_workers(arguments),
        "output": output,
        "n_parts": len(shards),
        "bundle": asked.bundle,
        "job": asked.job,
        "folder": os.getcwd(),
    }
    try:
        if missing:
            with closing(_engine(arguments, missing, settings, Asked.of(arguments, weights))) as results:
                done |= _all_of(results)
    except _InputError:
        # A column misnamed, say: nothing that is worth keeping stands in the way of the next try. Parts without an
        # answer are not, however many a worker had ready before another one came to the row that is refused.
        answered = [counts for counts in parts.done().values() if counts.n_faults < counts.n_rows]
        if is_new and len(answered) <= (arguments.workers or os.cpu_count() or 1):
            _discard(parts, asked)
        raise
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on with what is missing", file=sys.stderr)
        raise
    if is_joined(arguments.output):
        manifest.refuse_changed(asked, sources)
        _join(parts, arguments.output)
        _discard(parts, asked)
    return _status([done[shard.number] for shard in shards])


def _begun(folder: Folder, sources: Sequence[str], arguments: argparse.Namespace) -> tuple[Manifest, bool]:
    """The manifest of a folder, and whether it was not there before. Raises DataError where it is of something else."""
    from labelwright.bundle.files import bundle_identity

    asked = Manifest(
        bundle_identity(arguments.bundle),
        for_manifest(arguments),
        arguments.shard_rows or ROWS_A_SHARD,
        manifest.inputs_of(sources),
    )
    found = manifest.read(folder)
    if is_new := found is None:
        if any(name.startswith("part-") for name in folder.sizes()):
            raise DataError(
                f"{folder}: holds parts without a {manifest.NAME}; choose another folder, or remove this one"
            )
        starts = manifest.starts_of_all(sources, asked.rows_a_shard)
        made = Manifest(asked.bundle, asked.options, asked.rows_a_shard, asked.inputs, starts)
        folder.create(manifest.NAME, made.as_json())
        # Somebody else may have come first.
        found = manifest.read(folder)
        assert found is not None
    manifest.refuse_another(folder, found, asked)
    return found, is_new


def _engine(
    arguments: argparse.Namespace, shards: Sequence[Shard], settings: Mapping[str, Any], asked: Asked
) -> Generator[dict[str, Any], None, None]:
    if arguments.engine == "processes":
        return on_processes.answered(shards, settings, asked)
    return on_ray.answered(shards, settings, asked, arguments.ray_address or "")


def _all_of(results: Iterator[dict[str, Any]]) -> dict[int, Counts]:
    """What was counted of each part, by its number. Raises what the first one that is refused was refused with."""
    done: dict[int, Counts] = {}
    progress = Progress()
    try:
        for result in results:
            if "refused" in result:
                kind = _InputError if result["of_the_input"] else getattr(errors, result["kind"], DataError)
                raise kind(result["refused"])
            done[result["number"]] = counts = Counts.of(result["counts"])
            progress.add(counts.n_rows)
    finally:
        if done:  # what comes next begins a line of its own
            progress.end()
    return done


def _join(parts: Parts, output: str) -> None:
    """One file of all parts."""
    folder, name = folder_and_name(output)
    with folder_of(place_of(folder)).writing(name) as file:
        parts.join(file)


def _discard(parts: Parts, job: Manifest) -> None:
    """Remove the parts of a job, unless the folder is another one's by now."""
    found = manifest.read(parts.folder)
    if found is not None and found.job == job.job:
        parts.discard()


def _status(done: Sequence[Counts]) -> int:
    """The exit status, and what the plain command says beside the answers."""
    faults = Faults()
    for counts in done:
        faults.count(counts.n_rows, counts.n_faults, counts.n_abstained, counts.errors)
    for name in dict.fromkeys(counts.engine for counts in done):
        of_it = [counts for counts in done if counts.engine == name]
        told_of_engine(name, sum(one.n_shortened for one in of_it), all(one.has_probabilities for one in of_it))
    return faults.status


def _refuse_folder(output: str) -> None:
    place = place_of(output)
    if is_joined(output) and isinstance(place, Path) and place.is_dir():
        raise DataError(f"{shown(output)}: cannot be written (it is a folder); name a file in it")


def _told(n_parts: int, n_done: int, n_files: int) -> str:
    files = "1 file" if n_files == 1 else f"{n_files} files"
    return f"{n_parts} parts of {files}" + (f", {n_done} of them answered before" if n_done else "")
