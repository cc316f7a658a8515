"""The files of a bundle folder: which may be in it, their hashes, and how a finished folder takes an older one's place.

Knows nothing of what the files mean; ``labelwright.bundle`` does.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from labelwright.errors import BundleError

HASHES = "hashes.json"

# Nothing that could hold code when it is loaded: no pickle (.bin, .pt, .pkl), no Python.
ADAPTER_SUFFIXES = frozenset({".safetensors", ".json"})
MODEL_SUFFIXES = ADAPTER_SUFFIXES | {".txt", ".model", ".jinja"}
# skops checks types before it loads them, and labelwright.predictors.skops_file lets only scikit-learn's through.
PREDICTOR_SUFFIXES = MODEL_SUFFIXES | {".skops"}
# What libraries write beside weights for people to read; left behind, not refused.
_NOT_COPIED = frozenset({"README.md", ".gitattributes"})


def write_json(path: Path, value: Any) -> None:
    """Write UTF-8 JSON, the same bytes on every platform."""
    path.write_bytes((json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises BundleError where there is none."""
    if not path.is_file():
        raise BundleError(f"{path.parent}: no {path.name}; expected a folder written by labelwright.bundle.save")
    try:
        value = json.loads(path.read_bytes().decode())
    except ValueError as error:
        raise BundleError(f"{path}: not UTF-8 JSON ({error}); export the bundle again") from error
    if not isinstance(value, dict):
        raise BundleError(f"{path}: expected a JSON object, found {type(value).__name__}; export the bundle again")
    return value


def inside(folder: Path, relative: object) -> Path:
    """``folder / relative``, for a path that came out of a file. Raises BundleError if it leads out of the folder."""
    path = PurePosixPath(str(relative))
    if not isinstance(relative, str) or not path.parts or path.is_absolute() or ".." in path.parts or "\\" in relative:
        raise BundleError(f"{folder}: path {relative!r} leads out of the bundle; expected a relative path inside it")
    return folder.joinpath(*path.parts)


def copy_weights(
    source: Path, target: Path, suffixes: frozenset[str], required: str, needs_tensors: bool = True
) -> None:
    """Copy a folder of weights, refusing every file that is not of an allowed kind.

    Raises
    ------
    BundleError
        If the folder or its ``required`` file is missing, there are no safetensors where they are needed, or a file is
        of another kind.
    """
    if not source.is_dir():
        raise BundleError(f"{source}: no such folder of weights; the stage that wrote it has to run again")
    refuse_foreign(source, suffixes)
    names = {path.name for path in source.iterdir()}
    if required not in names or (needs_tensors and not any(name.endswith(".safetensors") for name in names)):
        expected = f"{required} and .safetensors files" if needs_tensors else required
        raise BundleError(f"{source}: expected {expected}, found {', '.join(sorted(names)) or 'nothing'}")
    target.mkdir()
    for path in sorted(source.iterdir()):
        if path.name not in _NOT_COPIED:
            shutil.copyfile(path, target / path.name)


def refuse_foreign(folder: Path, suffixes: frozenset[str]) -> None:
    """Raise BundleError for a sub-folder, or a file that is neither of an allowed kind nor plainly for reading."""
    for path in sorted(folder.iterdir()):
        if path.name not in _NOT_COPIED and (path.suffix not in suffixes or not path.is_file()):
            raise BundleError(
                f"{path}: not allowed in a bundle, which holds only {', '.join(sorted(suffixes))} files there "
                f"(no pickle, no code); save the weights as safetensors and remove it"
            )


def write_hashes(folder: Path) -> None:
    """Write ``hashes.json``: the sha256 of every other file. Written last, it marks a folder as complete."""
    write_json(
        folder / HASHES, {"algorithm": "sha256", "files": {name: _sha256(folder / name) for name in _names(folder)}}
    )


def hashed_files(folder: Path) -> dict[str, str]:
    """The files that ``hashes.json`` lists, with their hashes. Raises BundleError if it is missing or malformed."""
    table = read_json(folder / HASHES)
    files = table.get("files")
    if table.get("algorithm") != "sha256" or not isinstance(files, Mapping):
        raise BundleError(f"{folder / HASHES}: expected sha256 hashes under 'files'; export the bundle again")
    return {inside(folder, name).relative_to(folder).as_posix(): str(value) for name, value in files.items()}


def compare_hashes(folder: Path) -> tuple[str, ...]:
    """One line for each file that is missing, altered, or extra; empty where the folder is as it was written."""
    expected, present = hashed_files(folder), set(_names(folder))
    problems = []
    for name in sorted(present | set(expected)):
        if name not in present:
            problems.append(f"{name}: missing")
        elif name not in expected:
            problems.append(f"{name}: extra, not part of the bundle")
        elif _sha256(folder / name) != expected[name]:
            problems.append(f"{name}: altered, its sha256 is not the recorded one")
    return tuple(problems)


def unfinished(folder: Path) -> Path:
    """A sibling folder to write into, empty: what a killed save left there is removed."""
    path = folder.with_name(f".{folder.name}.saving")
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


def put_in_place(finished: Path, folder: Path) -> None:
    """Rename a finished folder to its name; one that already has the name is removed afterwards.

    No filesystem call of Python's swaps two folders, so between two renames the name is free for a moment;
    ``recover`` puts the older folder back if the process died there.
    """
    old = _replaced(folder)
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.rename(folder, old)
    os.rename(finished, folder)
    shutil.rmtree(old, ignore_errors=True)


def recover(folder: Path) -> None:
    """Undo a replacement that was cut off between its two renames; otherwise does nothing."""
    old = _replaced(folder)
    if not folder.exists() and old.exists():
        os.rename(old, folder)


def _replaced(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.replaced")


def _names(folder: Path) -> list[str]:
    """Every file below the folder but ``hashes.json``, as relative POSIX paths."""
    paths = (path for path in sorted(folder.rglob("*")) if not path.is_dir() or path.is_symlink())
    return [name for path in paths if (name := path.relative_to(folder).as_posix()) != HASHES]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
