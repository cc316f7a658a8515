"""Where files lie: on a disk, or behind a URL that pyarrow or fsspec opens; and which files a pattern means.

Everything that reads rows takes a ``Place``: a ``Path``, or a ``Remote`` that has of a path's methods those that
readers need. A URL may carry keys (``s3://key:secret@bucket``); nothing that is written or said shows them.
"""

from __future__ import annotations

import glob
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO
from urllib.parse import quote, unquote, urlsplit

from labelwright.errors import DataError, MissingExtraError, one_line

_URL = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://")
# What pyarrow opens itself; everything else is asked of fsspec.
_OF_ARROW = frozenset({"s3", "gs", "gcs", "abfs", "abfss", "hdfs", "viewfs"})
# Bytes that are asked of a store at once where rows are read in order.
_READ_BYTES = 4 * 2**20


def is_url(name: str) -> bool:
    """Whether a name is a URL.

    >>> is_url("s3://bucket/a.csv"), is_url("C:/a.csv"), is_url("rows/a.csv")
    (True, False, False)
    """
    return _URL.match(name) is not None


def place_of(name: Path | str) -> Path | Remote:
    """The file, or the folder, that a name means; ``file://`` is a path like any other."""
    if isinstance(name, Path) or not is_url(name):
        return Path(name)
    if name.lower().startswith("file://"):
        return Path(unquote(urlsplit(name).path))
    return Remote(name)


def shown(name: str) -> str:
    """A name as it may be shown and kept: a URL without its user, its password and what stands behind "?".

    A password may hold a "/" or a "?" that should have been written %2F or %3F: where a ":" stands before them, all up
    to the last "@" goes, what may be a port and a folder too.

    >>> shown("s3://key:secret@bucket/a.csv?endpoint_override=127.0.0.1:9000"), shown("what?.csv")
    ('s3://bucket/a.csv', 'what?.csv')
    """
    if not is_url(name):
        return name
    path, query = _parted(name)
    scheme, _, rest = path.partition("://")
    host, slash, below = rest.partition("/")
    if "@" in host:
        return f"{scheme}://{host.rpartition('@')[2]}{slash}{below}"
    if ":" not in host:
        return path
    # Where the password ends nobody can say.
    return f"{scheme}://…" if "@" in query else f"{scheme}://{rest.rpartition('@')[2]}"


def told(error: BaseException, *urls: str) -> str:
    """What a library says of URLs, in one line; its error's kind alone where it may say what ``shown`` leaves out."""
    return one_line(error) if all(shown(url) == url for url in urls) else type(error).__name__


@dataclass(frozen=True)
class Remote:
    """A file or a folder behind a URL.

    Attributes
    ----------
    url : str
        As it was given, keys included. In messages the place stands as ``shown`` says.
    """

    url: str

    def __str__(self) -> str:
        return shown(self.url)

    def __repr__(self) -> str:
        return f"Remote({shown(self.url)!r})"

    @property
    def path(self) -> str:
        """Where it lies in its filesystem: "bucket/a.csv"."""
        return _opened(self.url)[1]

    @property
    def filesystem(self) -> Any:
        """Its ``pyarrow.fs.FileSystem``."""
        return _opened(self.url)[0]

    @property
    def name(self) -> str:
        """The last part of its path, without what stands behind "?": keys, where a server gives files for a time."""
        return PurePosixPath(_parted(self.path)[0]).name

    @property
    def stem(self) -> str:
        """Its name without the last ending."""
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        """The last ending of its name, dot included."""
        return PurePosixPath(self.name).suffix

    def is_file(self) -> bool:
        """Whether there is such a file. Raises DataError where that cannot be asked."""
        return bool(self.about().is_file)

    def about(self) -> Any:
        """``pyarrow.fs.FileInfo`` of it. Raises DataError where that cannot be asked."""
        try:
            return self.filesystem.get_file_info(self.path)
        except OSError as error:
            raise DataError(f"{self}: cannot be asked about ({one_line(error)}); check the URL and its keys") from error

    def open(self, mode: str = "rb") -> BinaryIO:
        """The file's bytes, to be read in any order. Raises OSError."""
        assert mode == "rb"
        return io.BufferedReader(self.filesystem.open_input_file(self.path), _READ_BYTES)

    def below(self, relative: str) -> Remote:
        """The place of what lies in this folder."""
        path, query = _parted(self.url)
        return Remote(f"{path.rstrip('/')}/{relative}{'?' + query if query else ''}")


# Where the first part of a path is what stands in the URL for a host.
_OF_BUCKETS = frozenset({"s3", "gs", "gcs"})

Place = Path | Remote


def files_meant(pattern: str) -> list[str]:
    """The files that a name with ``*``, ``?``, ``[…]`` or ``**`` means, sorted; in a URL "?" is none of these.

    A name without these, or of a file that is there, means itself, whether there is such a file or not.

    Raises
    ------
    DataError
        No file of that pattern.
    """
    if not is_url(pattern) or pattern.lower().startswith("file://"):
        local = pattern if not is_url(pattern) else str(place_of(pattern))
        if not glob.has_magic(local) or Path(local).is_file():
            return [local]
        found = sorted(one for one in glob.glob(local, recursive=True) if Path(one).is_file())
    else:
        path, _ = _parted(pattern)
        if not re.search(r"[*\[]", path):
            return [pattern]
        found = sorted(_remote_files(pattern), key=shown)
    if not found:
        raise DataError(f"{shown(pattern)}: no file is called like that; check the pattern, and quote it in a shell")
    return found


def _remote_files(pattern: str) -> Iterator[str]:
    """URLs of the files of a pattern, in no order."""
    from pyarrow.fs import FileSelector

    path, query = _parted(pattern)
    head = re.split(r"[*\[]", path, maxsplit=1)[0]
    start = Remote(head.rpartition("/")[0] + (f"?{query}" if query else ""))
    root = start.path
    wanted = path[len(head.rpartition("/")[0]) :].strip("/").split("/")
    try:
        listed = start.filesystem.get_file_info(FileSelector(root, allow_not_found=True, recursive=len(wanted) > 1))
    except OSError as error:
        raise DataError(f"{start}: cannot be listed ({one_line(error)}); check the URL and its keys") from error
    for one in listed:
        below = one.path[len(root) :].strip("/")
        if one.is_file and matches(below.split("/"), wanted):
            yield start.below(below).url


def matches(parts: Sequence[str], patterns: Sequence[str]) -> bool:
    """Whether the parts of a path are those of a pattern; ``**`` stands for any number of them.

    >>> matches(["a", "b", "c.csv"], ["**", "*.csv"]), matches(["a", "c.csv"], ["*.csv"])
    (True, False)
    """
    if not patterns:
        return not parts
    if patterns[0] == "**":
        return any(matches(parts[n:], patterns[1:]) for n in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], patterns[0]) and matches(parts[1:], patterns[1:])


def _parted(url: str) -> tuple[str, str]:
    """A URL before its "?", and what stands behind it."""
    path, _, query = url.partition("?")
    return path, query


@lru_cache(maxsize=4096)
def _opened(url: str) -> tuple[Any, str]:
    """The filesystem of a URL, and the path in it."""
    path, query = _parted(url)
    scheme, _, rest = path.partition("://")
    host, slash, below = rest.partition("/")
    if scheme.lower() in _OF_ARROW and ":" in host and "@" not in host and "@" in below + query:
        raise DataError(f'{shown(url)}: a "/" in its password has to be written %2F, a "?" %3F')
    try:
        filesystem = _filesystem(scheme.lower(), host, query)
    except ImportError as error:
        needed = f"{one_line(error)}; install what pyarrow or fsspec needs for {scheme}://"
        raise MissingExtraError(f'{shown(url)}: {needed} (pip install "labelwright[parquet]")') from error
    except (OSError, ValueError, NotImplementedError) as error:
        raise DataError(f"{shown(url)}: cannot be opened ({told(error, url)}); check the URL") from None
    if scheme.lower() in _OF_BUCKETS:
        return filesystem, f"{host.rpartition('@')[2]}{slash}{below}".rstrip("/")
    if scheme.lower() in _OF_ARROW:
        return filesystem, f"/{below}"
    return filesystem, str(filesystem.handler.fs._strip_protocol(url))


@lru_cache(maxsize=64)
def _filesystem(scheme: str, host: str, query: str) -> Any:
    """The filesystem that a URL's scheme, host and settings say. Raises what pyarrow or fsspec does."""
    from pyarrow import fs

    if scheme in _OF_ARROW:
        return fs.FileSystem.from_uri(f"{scheme}://{quote(host, ':@%')}/{'?' + query if query else ''}")[0]
    import fsspec

    return fs.PyFileSystem(fs.FSSpecHandler(fsspec.core.url_to_fs(f"{scheme}://{host}")[0]))
