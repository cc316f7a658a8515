"""What a person says of a bulk job, and what of the command's options goes to its workers or changes its answers."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from labelwright.bulk.shards import ROWS_A_SHARD, checked_rows
from labelwright.data.formats.places import is_url, place_of, shown
from labelwright.errors import DataError

ENGINES = ("processes", "ray")
# Options of `predict` by which a worker opens the bundle and reads rows. Each may change an answer.
_OF_ANSWERS = (
    "backend",
    "device",
    "dtype",
    "url",
    "long_rows",
    "unexpanded_mass",
    "text_column",
    "image_column",
    "choices_column",
    "max_error",
    "confidence",
    "by_label",
    "sets",
    "top",
)
# Those of a bulk job alone, by their names on the command line.
_OF_ENGINES = {
    "--workers": "workers",
    "--threads": "threads",
    "--worker-memory": "worker_memory",
    "--shard-rows": "shard_rows",
    "--ray-address": "ray_address",
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Who answers many rows, and how they are shared out."""
    bulk = parser.add_argument_group("many rows", "docs/bulk/README.md")
    bulk.add_argument(
        "--engine",
        choices=ENGINES,
        help="answer in several workers, and go on where it stopped: processes of this machine, or Ray's",
    )
    bulk.add_argument("--workers", type=int, metavar="N", help="each with a model of its own (default: what fits)")
    bulk.add_argument(
        "--threads",
        type=int,
        metavar="N",
        help="CPUs a worker (default: 1; with a language model, all of a machine's, or its share for each GPU)",
    )
    bulk.add_argument(
        "--worker-memory", type=float, metavar="GIB", help="memory that is declared to Ray a worker (default: 1)"
    )
    bulk.add_argument(
        "--shard-rows",
        type=int,
        metavar="N",
        help=f"rows that are answered, or lost, at once (default: {ROWS_A_SHARD})",
    )
    bulk.add_argument(
        "--ray-address",
        metavar="HOST:PORT",
        help="of a Ray cluster (default: RAY_ADDRESS, or one of this machine's own)",
    )


def check(arguments: argparse.Namespace) -> None:
    """Raise DataError for options that do not go together."""
    given = [option for option, name in _OF_ENGINES.items() if getattr(arguments, name) is not None]
    if arguments.engine is None:
        if given:
            raise DataError(f"{' and '.join(given)}: of --engine {' or '.join(ENGINES)}; name one, or leave them out")
        return
    if arguments.input in (None, "-") or arguments.output is None:
        raise DataError(
            f"--engine {arguments.engine}: goes on where it stopped, so it takes files as --input, and as --output a "
            f"folder or a file ending in .jsonl"
        )
    if arguments.engine != "ray" and (of_ray := {"--ray-address", "--worker-memory"} & set(given)):
        raise DataError(f"{' and '.join(sorted(of_ray))}: of --engine ray")
    for name in ("workers", "threads", "worker_memory"):
        if (value := getattr(arguments, name)) is not None and value <= 0:
            raise DataError(f"--{name.replace('_', '-')} {value}: expected more than 0")
    checked_rows(arguments.shard_rows or ROWS_A_SHARD)


def for_workers(arguments: argparse.Namespace) -> dict[str, Any]:
    """What a worker opens the bundle with; it may hold keys, and is given to workers alone."""
    return {name: getattr(arguments, name) for name in _OF_ANSWERS} | {"bundle": str(arguments.bundle)}


def for_manifest(arguments: argparse.Namespace) -> dict[str, Any]:
    """The same for the manifest: by their names on the command line, without keys, and those alone that were given."""
    return {
        f"--{name.replace('_', '-')}": shown(value) if name == "url" else value
        for name in _OF_ANSWERS
        if (value := getattr(arguments, name)) not in (None, "")
    }


def is_joined(output: str) -> bool:
    """Whether an output is one file, made of the parts at the end."""
    return _path(output)[0].lower().endswith(".jsonl")


def parts_folder(output: str) -> str:
    """Where the parts of an output lie while it is made: the folder that it names, or one beside the file.

    >>> parts_folder("answers"), parts_folder("s3://bucket/answers.jsonl?region=eu")
    ('answers', 's3://bucket/answers.jsonl.parts?region=eu')
    """
    path, query = _path(output)
    return f"{path}.parts{query}" if is_joined(output) else f"{path}{query}"


def folder_and_name(output: str) -> tuple[str, str]:
    """The folder of an output that is one file, and its name in it.

    >>> folder_and_name("file:///a/my%20answers.jsonl"), folder_and_name("s3://bucket/answers.jsonl?region=eu")
    (('/a', 'my answers.jsonl'), ('s3://bucket?region=eu', 'answers.jsonl'))
    """
    path, query = _path(output)
    if not is_url(path):
        return str(Path(path).parent), Path(path).name
    folder, _, name = path.rpartition("/")
    return f"{folder}{query}", name


def _path(output: str) -> tuple[str, str]:
    """An output's name, and what stands behind it from "?" on, in a URL; ``file://`` is a path."""
    if isinstance(place := place_of(output), Path):
        return str(place), ""
    path, mark, query = output.partition("?")
    return path, mark + query
