"""A converted folder: ``conversion.json``, which says what it was made of, and the files that a runtime reads.

Written whole or not at all, and held to its hashes when it is opened, as a bundle is. ``README.md`` and
``certificate.json`` are for people and tools; no runtime reads them, so they are not among the hashed files.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labelwright.bundle import files as bundle_files
from labelwright.errors import BundleError
from labelwright.files import sha256_of_file
from labelwright.reading import AGAIN, one_line, read_object, require_file

FILE = "conversion.json"
CARD = "README.md"
CERTIFICATE = "certificate.json"
FORMAT, VERSION = "labelwright-conversion", 1
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Converted:
    """A folder that ``labelwright.conversion.converting`` wrote.

    Attributes
    ----------
    target : str
        A name in ``labelwright.conversion.targets.TARGETS``.
    quantise : str
        The number format that was asked for; empty for the target's own.
    task : str
    names : tuple of str
        The labels, in the order of every vector.
    bundle_sha256 : str
        The bundle it was made of (``labelwright.bundle.files.bundle_identity``).
    settings : mapping
        What the target's own file wrote down for opening; JSON.
    files : mapping of relative path to sha256
        All but the card and the certificate.
    """

    folder: Path
    target: str
    quantise: str
    task: str
    names: tuple[str, ...]
    bundle_sha256: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        """The sha256 of ``conversion.json``, which holds those of the other files."""
        return sha256_of_file(self.folder / FILE)


def write(folder: Path, fill: Callable[[Path], None], *, force: bool = False) -> None:
    """Make a folder with ``fill``, which is given an empty one to write to; it gets its name when that has ended.

    A killed process leaves the older folder, or none, never half a one.

    Parameters
    ----------
    force : bool
        Take the place of a converted folder. Nothing else is ever replaced.

    Raises
    ------
    BundleError
        The folder is there and may not be replaced, or cannot be written.
    """
    refuse_taken(folder, force=force)
    with bundle_files.writing(folder):
        building = bundle_files.unfinished(folder)
        try:
            fill(building)
        except BaseException:
            shutil.rmtree(building, ignore_errors=True)
            raise
        bundle_files.put_in_place(building, folder)


def refuse_taken(folder: Path, *, force: bool) -> None:
    """Raise BundleError where a folder is there that may not be replaced."""
    bundle_files.recover(folder)
    if not os.path.lexists(folder) or (folder.is_dir() and not any(folder.iterdir())):
        return
    if folder.is_symlink() or not (folder / FILE).is_file():
        raise BundleError(f"{folder}: exists and is no converted folder; choose another --output, or remove it first")
    if not force:
        raise BundleError(f"{folder}: exists already; say --force to replace it, or choose another --output")


def seal(converted: Converted) -> Converted:
    """Write ``conversion.json`` with the hash of every file there is; the same value with these."""
    files = {name: sha256_of_file(converted.folder / name) for name in _names(converted.folder)}
    bundle_files.write_part(
        converted.folder / FILE,
        {
            "format": FORMAT,
            "version": VERSION,
            "target": converted.target,
            "quantise": converted.quantise,
            "task": converted.task,
            "labels": list(converted.names),
            "bundle_sha256": converted.bundle_sha256,
            "settings": dict(converted.settings),
            "files": files,
        },
    )
    return read(converted.folder)


def read(folder: Path) -> Converted:
    """What a converted folder says of itself, its files as they were written.

    Raises
    ------
    BundleError
        No such folder, another format, files that are missing, altered, extra, or no files: all of them at once.
    """
    bundle_files.recover(folder)
    if not folder.is_dir() or not os.path.lexists(folder / FILE):
        raise BundleError(f"{folder}: no {FILE}; expected a folder that `labelwright convert` wrote, or a server's URL")
    content = read_object(folder / FILE)
    if content.get("format") != FORMAT or content.get("version") != VERSION:
        raise BundleError(
            f"{folder / FILE}: format {content.get('format')!r} version {content.get('version')!r}; this labelwright "
            f"reads {FORMAT!r} version {VERSION}: install the version that wrote it, or convert again"
        )
    texts = [content.get(one) for one in ("target", "quantise", "task", "bundle_sha256")]
    names: Any = content.get("labels")
    files: Any = content.get("files")
    fits = (
        all(isinstance(one, str) for one in texts)
        and isinstance(names, list)
        and all(isinstance(one, str) for one in names)
        and len(set(names)) == len(names) > 0
        and isinstance(content.get("settings"), dict)
        and isinstance(files, dict)
        and all(isinstance(one, str) and _SHA256.fullmatch(one) for one in files.values())
    )
    if not fits:
        raise BundleError(f"{folder / FILE}: not as `labelwright convert` writes it; {AGAIN}")
    if problems := _problems(folder, files):
        raise BundleError(f"{folder}: {'; '.join(problems)}: {AGAIN}")
    target, quantise, task, identity = map(str, texts)
    return Converted(folder, target, quantise, task, tuple(names), identity, content["settings"], files)


def _problems(folder: Path, files: Mapping[str, str]) -> list[str]:
    present = _names(folder)
    problems = [f"{name}: missing" for name in files if name not in present]
    problems += [f"{name}: extra, not part of the conversion" for name in present if name not in files]
    for name in present:
        if name not in files:
            continue
        try:
            require_file(folder / name)
            if sha256_of_file(folder / name) != files[name]:
                problems.append(f"{name}: altered, its sha256 is not the recorded one")
        except (BundleError, OSError) as error:
            problems.append(f"{name}: {one_line(error)}")
    return problems


def _names(folder: Path) -> list[str]:
    """The files that a runtime may read, as relative POSIX paths; links are not followed."""
    aside = {FILE, CARD, CERTIFICATE}
    return [name for name in bundle_files.names_below(folder) if name not in aside]
