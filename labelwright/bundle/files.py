"""The files of a bundle folder: which may be in it, their hashes, and how a finished folder takes an older one's place.

Knows nothing of what the files mean; ``labelwright.bundle.store`` does.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from labelwright.errors import BundleError
from labelwright.files import sha256_of_file
from labelwright.reading import AGAIN, one_line, read_json, read_object, require_file

HASHES = "hashes.json"

# Nothing that could hold code when it is loaded: no pickle (.bin, .pt, .pkl), no Python.
ADAPTER_SUFFIXES = frozenset({".safetensors", ".json"})
MODEL_SUFFIXES = ADAPTER_SUFFIXES | {".txt", ".model", ".jinja"}
# skops checks types before it loads them, and labelwright.predictors.skops_file lets only scikit-learn's through.
# A graph in ONNX is data, and labelwright.predictors.onnx lets none name other files.
PREDICTOR_SUFFIXES = MODEL_SUFFIXES | {".skops", ".onnx"}
# What libraries write beside weights for people to read; left behind, not refused.
_NOT_COPIED = frozenset({"README.md", ".gitattributes"})
# In a tokenizer's own files any word may be a key.
_VOCABULARIES = frozenset(
    {"tokenizer.json", "rows.tokenizer.json", "vocab.json", "added_tokens.json", "special_tokens_map.json"}
)
# Keys under which libraries look for code: their own classes, kernels of the hub, modules to import.
_NAMES_CODE = frozenset({"auto_map", "auto_mapping", "custom_pipelines", "megatron_config", "custom_generate"})
_KERNEL = re.compile(r"_?(attn|experts)_implementation(_internal)?")


def write_part(path: Path, value: Any) -> None:
    """Write what ``read_part`` reads: the same bytes on every platform and in every edition, for they are hashed."""
    path.write_bytes((json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n").encode())


def read_part(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises BundleError where there is none."""
    if not os.path.lexists(path):
        raise BundleError(f"{path.parent}: no {path.name}; expected a folder written by labelwright.bundle.store.save")
    return read_object(path)


def inside(folder: Path, relative: object) -> Path:
    """``folder / relative``, for a path that came out of a file. Raises BundleError if it leads out of the folder."""
    path = PurePosixPath(str(relative))
    if not isinstance(relative, str) or not path.parts or path.is_absolute() or ".." in path.parts or "\\" in relative:
        raise BundleError(f"{folder}: path {relative!r} leads out of the bundle; expected a relative path inside it")
    return folder.joinpath(*path.parts)


def copy_weights(
    source: Path,
    target: Path,
    suffixes: frozenset[str],
    required: str,
    needs_tensors: bool = True,
    folders: Sequence[Path] = (),
) -> None:
    """Copy a folder of weights, refusing every file that is not of an allowed kind.

    Parameters
    ----------
    folders : sequence of Path
        In it, which are copied likewise.

    Raises
    ------
    BundleError
        If the folder or its ``required`` file is missing, there are no safetensors where they are needed, or a file is
        of another kind.
    """
    if not source.is_dir():
        raise BundleError(f"{source}: no such folder of weights; the stage that wrote it has to run again")
    refuse_foreign(source, suffixes, folders)
    require_complete(source, required, needs_tensors)
    target.mkdir()
    for path in sorted(source.iterdir()):
        if path in folders:
            copy_weights(path, target / path.name, suffixes, required, needs_tensors)
        elif path.name not in _NOT_COPIED:
            shutil.copyfile(path, target / path.name)


def refuse_foreign(folder: Path, suffixes: frozenset[str], folders: Sequence[Path] = ()) -> None:
    """Raise BundleError for a file that is neither of an allowed kind nor plainly for reading.

    So is a folder in it refused, or a link to one, which is none of ``folders``.
    """
    for path in sorted(folder.iterdir()):
        if path in folders and not path.is_symlink():
            continue
        if path.name not in _NOT_COPIED and (path.suffix not in suffixes or not path.is_file()):
            raise BundleError(
                f"{path}: not allowed in a bundle, which holds only {', '.join(sorted(suffixes))} files there "
                f"(no pickle, no code); save the weights as safetensors and remove it"
            )


def require_complete(folder: Path, required: str, needs_tensors: bool) -> None:
    """Raise BundleError where a folder of weights lacks its ``required`` file, or the safetensors that it needs."""
    names = {path.name for path in folder.iterdir()}
    if required not in names or (needs_tensors and not any(name.endswith(".safetensors") for name in names)):
        expected = f"{required} and .safetensors files" if needs_tensors else required
        raise BundleError(f"{folder}: expected {expected}, found {', '.join(sorted(names)) or 'nothing'}")


def refuse_code(folder: Path) -> None:
    """Raise BundleError where a model's JSON files are damaged, or name code for a library to import or to fetch.

    Libraries are told not to trust such code wherever they can be told. This stands before them: not all of them ask.
    """
    for path in sorted(folder.glob("*.json")):
        value = read_json(path)
        if path.name not in _VOCABULARIES and (found := _named_code(value)):
            raise BundleError(f"{path}: {found} names code to be run, which nothing here does: not opened")
        if path.name.endswith(".index.json"):
            _refuse_shards_elsewhere(path, value)
        if path.name == "adapter_config.json" and value.get("peft_type", "LORA") != "LORA":
            raise BundleError(f"{path}: peft_type is {value['peft_type']!r}; expected an adapter of type 'LORA'")


def _refuse_shards_elsewhere(path: Path, value: Any) -> None:
    """Raise BundleError where an index of shards names what is no file beside it: libraries would open any path."""
    shards = value.get("weight_map") if isinstance(value, dict) else None
    if not isinstance(shards, dict):
        raise BundleError(f"{path}: names no shards (weight_map); copy the whole folder again, or export again")
    beside = {one.name for one in path.parent.iterdir() if one.is_file() and not one.is_symlink()}
    elsewhere = sorted({str(shard) for shard in shards.values()} - beside)
    if elsewhere:
        raise BundleError(f"{path}: {elsewhere[0]!r} is not a file of this folder: not opened")


def drop_code(folder: Path) -> None:
    """Take ``auto_map`` out of a model's configuration: its base came with code, which transformers does not need."""
    for path in (folder / "config.json", folder / "tokenizer_config.json"):
        if path.is_file() and (about := read_part(path)).pop("auto_map", None):
            write_part(path, about)


def _named_code(value: Any) -> str:
    """The first key at any depth that names code; "" for none."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        for key, inner in one.items() if isinstance(one, dict) else enumerate(one):
            if isinstance(inner, dict | list):
                waiting.append(inner)
            if key in _NAMES_CODE and inner:
                return str(key)
            if isinstance(key, str) and _KERNEL.fullmatch(key) and "/" in json.dumps(inner):
                return f"{key} = {inner!r}"
            if key == "megatron_core" and inner not in (None, "megatron.core"):
                return f"{key} = {inner!r}"
    return ""


def write_hashes(folder: Path) -> None:
    """Write ``hashes.json``: the sha256 of every other file. Written last, it marks a folder as complete."""
    names = _names(folder)
    for name in names:
        require_file(folder / name)
    write_part(
        folder / HASHES, {"algorithm": "sha256", "files": {name: sha256_of_file(folder / name) for name in names}}
    )


def hashed_files(folder: Path) -> dict[str, str]:
    """The files that ``hashes.json`` lists, with their hashes. Raises BundleError if it is missing or malformed."""
    table = read_part(folder / HASHES)
    files = table.get("files")
    if table.get("algorithm") != "sha256" or not isinstance(files, Mapping):
        raise BundleError(f"{folder / HASHES}: expected sha256 hashes under 'files'; export the bundle again")
    return {inside(folder, name).relative_to(folder).as_posix(): str(value) for name, value in files.items()}


def compare_hashes(folder: Path) -> tuple[str, ...]:
    """One line for each file that is missing, altered, extra, or no file; empty where all is as it was written."""
    expected, present = hashed_files(folder), set(_names(folder))
    problems = []
    for name in sorted(present | set(expected)):
        if name not in present:
            problems.append(f"{name}: missing")
        elif name not in expected:
            problems.append(f"{name}: extra, not part of the bundle")
        else:
            problems += _compared(folder / name, name, expected[name])
    return tuple(problems)


def _compared(path: Path, name: str, expected: str) -> list[str]:
    try:
        require_file(path)
        found = sha256_of_file(path)
    except BundleError as error:
        return [str(error).replace(str(path), name, 1)]
    except OSError as error:
        return [f"{name}: cannot be read ({one_line(error)})"]
    return [] if found == expected else [f"{name}: altered, its sha256 is not the recorded one"]


def require_as_written(folder: Path) -> None:
    """Raise BundleError unless the folder holds exactly the files that ``hashes.json`` lists, unaltered: all faults."""
    problems = compare_hashes(folder)
    if problems:
        raise BundleError(f"{folder}: {'; '.join(problems)}: {AGAIN}")


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """What a disk says that is full or may not be written becomes a BundleError that names the folder."""
    try:
        yield
    except OSError as error:
        raise BundleError(
            f"{folder}: cannot be written ({one_line(error)}); free some space, or choose a folder that may be written"
        ) from error


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
    try:
        os.rename(finished, folder)
    except OSError:
        recover(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def recover(folder: Path) -> None:
    """Undo a replacement that was cut off between its two renames; otherwise does nothing."""
    old = _replaced(folder)
    if not os.path.lexists(folder) and old.is_dir():
        with writing(folder):
            os.rename(old, folder)


def _replaced(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.replaced")


def _names(folder: Path) -> list[str]:
    """``names_below`` but ``hashes.json``."""
    return [name for name in names_below(folder) if name != HASHES]


def names_below(folder: Path) -> list[str]:
    """Everything below a folder but folders, as relative POSIX paths, sorted. Links are not followed."""
    names, waiting = [], [folder]
    while waiting:
        try:
            paths = list(waiting.pop().iterdir())
        except OSError as error:
            raise BundleError(f"{folder}: cannot be read ({one_line(error)}); check its permissions") from error
        for path in paths:
            if stat.S_ISDIR(path.lstat().st_mode):
                waiting.append(path)
            else:
                names.append(path.relative_to(folder).as_posix())
    return sorted(names)


def bundle_identity(folder: Path) -> str:
    """A hash of a bundle's table of hashes; empty where there is no bundle."""
    path = folder / HASHES
    return sha256_of_file(path) if path.is_file() else ""
