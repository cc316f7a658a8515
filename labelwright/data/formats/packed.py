"""Files at their place: of which kind, whether packed (gzip, bzip2, xz, zip), and opened as what was packed."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from labelwright.data.formats.places import Place
from labelwright.errors import DataError

# The kinds of files with rows, by the ending of their names.
KINDS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".tab": "csv",
    ".psv": "csv",
    ".txt": "csv",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".xlsx": "sheet",
    ".xlsm": "sheet",
    ".xlsb": "sheet",
    ".xls": "sheet",
    ".ods": "sheet",
}
ENDINGS = "expected a file ending in .jsonl, .json, .csv, .tsv, .txt, .parquet, .arrow, .xlsx, .xls or .ods"
_OPEN: dict[str, Callable[[Any], Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_DAMAGE = (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, NotImplementedError, RuntimeError)


def kind_of(path: Place) -> str:
    """The kind of a file's rows, one of the values of ``KINDS``; an empty text for none.

    >>> kind_of(Path("rows.CSV.gz")), kind_of(Path("notes.docx"))
    ('csv', '')
    """
    suffix = path.suffix.lower()
    if suffix in _OPEN:
        return KINDS.get(Path(path.stem).suffix.lower(), "")
    if suffix == ".zip":
        with _damage(path), path.open("rb") as file, zipfile.ZipFile(file) as archive:
            return KINDS.get(Path(_member(archive, path)).suffix.lower(), "")
    return KINDS.get(suffix, "")


@contextmanager
def opened(path: Place, seeking: bool = False) -> Iterator[BinaryIO]:
    """The file's bytes, unpacked on the way.

    Parameters
    ----------
    seeking : bool
        Whether the reader jumps about, as those of Parquet and sheets do; what is packed is then unpacked in memory.

    Raises
    ------
    DataError
        Damaged, or a zip archive that does not hold one file with rows.
    """
    suffix = path.suffix.lower()
    with _damage(path), path.open("rb") as file:
        if suffix == ".zip":
            with zipfile.ZipFile(file) as archive, archive.open(_member(archive, path)) as member:
                yield io.BytesIO(member.read()) if seeking else member  # type: ignore[misc]
        elif suffix in _OPEN:
            with _OPEN[suffix](file) as unpacked:
                yield io.BytesIO(unpacked.read()) if seeking else unpacked
        else:
            yield file


@contextmanager
def _damage(path: Place) -> Iterator[None]:
    """What the unpacking libraries raise as a DataError."""
    try:
        yield
    except (gzip.BadGzipFile, *_DAMAGE) as error:
        if isinstance(error, RecursionError):
            raise
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path}: cannot be unpacked ({said}); copy it again, or unpack it yourself") from error


def _member(archive: zipfile.ZipFile, path: Place) -> str:
    """The archive's one file with rows; what desktops put beside it is passed over."""
    names = [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX/")]
    found = [name for name in names if KINDS.get(Path(name).suffix.lower()) and not Path(name).name.startswith(".")]
    if len(found) != 1:
        raise DataError(
            f"{path}: expected one file with rows in the archive, found {len(found)}; unpack it and name the file, or "
            f"the folder"
        )
    return found[0]
