"""Folders that an output is written to, on a disk or behind a URL, in which a file is whole or not there.

What is written takes its name when it is whole, on a disk and in a store.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from labelwright.data.formats.places import Place, Remote
from labelwright.errors import DataError, one_line
from labelwright.files import replacing, write_bytes

_COPIED_BYTES = 8 * 2**20
# Up to these bytes a store gives an object another name; larger ones are put under their own name, and removed where
# that is cut off. https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html and, for Azure,
# https://learn.microsoft.com/rest/api/storageservices/copy-blob-from-url.
_MOST_COPIED_BYTES = {"s3": 5 * 2**30, "gcs": 5 * 2**40, "abfs": 256 * 2**20}


class Folder(Protocol):
    """Files by their names, ``/`` between a folder and what is in it."""

    def sizes(self, below: str = "") -> dict[str, int]:
        """Bytes of every file in the folder, or in one of its folders, by name; none where there is no folder."""
        ...

    def read(self, name: str) -> bytes | None:
        """A file's content; None where there is none."""
        ...

    def open(self, name: str) -> BinaryIO:
        """A file to be read. Raises OSError."""
        ...

    def write(self, name: str, content: bytes) -> None:
        """Put a file into its place, whole."""
        ...

    def writing(self, name: str) -> Any:
        """Context manager of a binary file, which takes its place, whole, unless something is raised."""
        ...

    def create(self, name: str, content: bytes) -> None:
        """``write``, unless the file is there already."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        ...

    def remove_empty(self, below: str = "") -> None:
        """Remove the folder, or one of its folders, unless something is in it."""
        ...


def folder_of(place: Place) -> Folder:
    """The folder at a place, which need not be there yet."""
    return LocalFolder(place) if isinstance(place, Path) else RemoteFolder(place)


class LocalFolder:
    """A ``Folder`` on a disk."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    def sizes(self, below: str = "") -> dict[str, int]:
        """As ``Folder`` says."""
        found: dict[str, int] = {}
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(self.path / below) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # renamed meanwhile
                    if entry.is_file():
                        found[entry.name] = entry.stat().st_size
        return found

    def read(self, name: str) -> bytes | None:
        """As ``Folder`` says."""
        try:
            return (self.path / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def open(self, name: str) -> BinaryIO:
        """As ``Folder`` says."""
        return (self.path / name).open("rb")

    def write(self, name: str, content: bytes) -> None:
        """As ``Folder`` says."""
        with _writable(self, name):
            write_bytes(self._made(name), content)

    @contextmanager
    def writing(self, name: str) -> Iterator[BinaryIO]:
        """As ``Folder`` says."""
        with _writable(self, name), replacing(self._made(name)) as unfinished, unfinished.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())

    def create(self, name: str, content: bytes) -> None:
        """As ``Folder`` says; of several that create it at once, one does."""
        with _writable(self, name):
            path = self._made(name)
            own = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
            try:
                write_bytes(own, content)
                with suppress(FileExistsError):
                    _linked(own, path)
            finally:
                own.unlink(missing_ok=True)

    def remove(self, name: str) -> None:
        """As ``Folder`` says."""
        with suppress(FileNotFoundError, NotADirectoryError), _writable(self, name):
            (self.path / name).unlink()

    def remove_empty(self, below: str = "") -> None:
        """As ``Folder`` says."""
        with suppress(OSError):
            (self.path / below).rmdir()

    def _made(self, name: str) -> Path:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


def _linked(own: Path, path: Path) -> None:
    """Give a file a second name unless somebody has it; where names cannot be linked, the name that it is to have."""
    try:
        os.link(own, path)
    except FileExistsError:
        raise
    except OSError:
        if not path.exists():
            os.replace(own, path)


class RemoteFolder:
    """A ``Folder`` behind a URL. What is written lies on this machine's disk until it is whole."""

    def __init__(self, place: Remote) -> None:
        self.place = place

    def __str__(self) -> str:
        return str(self.place)

    def sizes(self, below: str = "") -> dict[str, int]:
        """As ``Folder`` says."""
        from pyarrow.fs import FileSelector

        place = self._at(below) if below else self.place
        with _writable(self, below):
            found = place.filesystem.get_file_info(FileSelector(place.path, allow_not_found=True))
        return {one.base_name: one.size for one in found if one.is_file}

    def read(self, name: str) -> bytes | None:
        """As ``Folder`` says."""
        try:
            with self.open(name) as file:
                return file.read()
        except FileNotFoundError:
            return None

    def open(self, name: str) -> BinaryIO:
        """As ``Folder`` says."""
        return self._at(name).open("rb")

    def write(self, name: str, content: bytes) -> None:
        """As ``Folder`` says."""
        with self.writing(name) as file:
            file.write(content)

    @contextmanager
    def writing(self, name: str) -> Iterator[BinaryIO]:
        """As ``Folder`` says."""
        with tempfile.TemporaryFile() as whole, _writable(self, name):
            yield whole
            whole.seek(0)
            self._put(self._at(name), whole)

    def create(self, name: str, content: bytes) -> None:
        """As ``Folder`` says; of several that create it at once the last one does."""
        if self.read(name) is None:
            self.write(name, content)

    def remove(self, name: str) -> None:
        """As ``Folder`` says."""
        with _writable(self, name), suppress(FileNotFoundError):
            self._at(name).filesystem.delete_file(self._at(name).path)

    def remove_empty(self, below: str = "") -> None:
        """As ``Folder`` says."""
        from pyarrow.fs import FileSelector

        place = self._at(below) if below else self.place
        with suppress(OSError):
            if not place.filesystem.get_file_info(FileSelector(place.path)):
                place.filesystem.delete_dir(place.path)

    def _at(self, name: str) -> Remote:
        return self.place.below(name)

    def _put(self, place: Remote, whole: BinaryIO) -> None:
        filesystem, path = place.filesystem, place.path
        # A file has its name when all of it is there. A store's stream has no other end than to be closed, which gives
        # its object a name also where the half is missing; HDFS and the like show a file while it grows.
        target = f"{path.rpartition('/')[0]}/.{uuid.uuid4().hex}.tmp"
        if filesystem.type_name in _MOST_COPIED_BYTES:
            if os.fstat(whole.fileno()).st_size > _MOST_COPIED_BYTES[filesystem.type_name]:
                target = path
        else:
            filesystem.create_dir(path.rpartition("/")[0], recursive=True)
        try:
            with filesystem.open_output_stream(target) as stream:
                shutil.copyfileobj(whole, stream, _COPIED_BYTES)
            if target != path:
                filesystem.move(target, path)
        except BaseException:
            with suppress(Exception):
                filesystem.delete_file(target)
            raise


@contextmanager
def _writable(folder: LocalFolder | RemoteFolder, name: str) -> Iterator[None]:
    """What a disk, or a store, has against it, in one line."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        named = f"{str(folder).rstrip('/')}/{name}" if name else str(folder)
        raise DataError(f"{named}: cannot be written ({one_line(error)}); check the folder, its space, its keys") from (
            error
        )
