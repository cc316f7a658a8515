"""What the cell of an image column holds: where an image is, or the image itself. Never decodes it.

A cell is a path relative to the folder of its file; a ``data:`` address with the image in base64, as browsers and HTTP
have it; bytes; or ``{"bytes": …, "path": …}``, as Parquet files of image datasets have it.

Rows are data, and a row may come from anywhere: a path must stay in the folder of its file, whether it says ``..``, is
absolute or leads out by a link. Otherwise a row that someone sent could have any file of this machine read to it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labelwright.data.records import checked_text, is_missing
from labelwright.errors import DataError
from labelwright.pictures.opening import LIMITS, ImageLimits, read_image

_DATA = "data:"


def image_bytes(cell: Any, folder: Path | None, limits: ImageLimits = LIMITS) -> bytes:
    """What the image file of a cell holds; no bytes for an empty cell.

    Parameters
    ----------
    folder : Path, optional
        Of the file that the row is from. Without it paths are refused: who sends a row over the network cannot name
        files here. A cell that is a ``Path`` is code's own and may lead anywhere: no file of rows has one.

    Raises
    ------
    DataError
        A path that leaves the folder, a web address, base64 that is none, too many bytes, or whatever ``read_image``
        refuses. The message is the reason of a ``Fault``.
    """
    if isinstance(cell, Mapping):
        cell = cell.get("bytes") or cell.get("path")
    if isinstance(cell, bytes | bytearray | memoryview):
        return bytes(cell)
    if isinstance(cell, Path):
        return read_image(cell, limits=limits)
    if is_missing(cell):
        return b""
    if not isinstance(cell, str):
        raise DataError(f"the image is a {type(cell).__name__}; expected a path, data:image/png;base64,… or bytes")
    said = checked_text(cell.strip(), "image")
    if said[: len(_DATA)].lower() == _DATA:
        return _of_address(said, limits)
    if "://" in said[:20]:
        raise DataError("the image is a web address, and nothing is fetched: fetch it yourself and give its path")
    if folder is None:
        raise DataError("the image is a path, and no files are read here: send it as data:image/png;base64,…")
    return read_image(_inside(said, folder), limits=limits)


def _of_address(said: str, limits: ImageLimits) -> bytes:
    """The bytes of a ``data:`` address (RFC 2397)."""
    about, comma, content = said.partition(",")
    if not comma or not about.lower().rstrip().endswith(";base64"):
        raise DataError("the image's data address is not in base64; expected data:image/png;base64,…")
    # Four characters are three bytes: counted before they are unpacked.
    if len(content) * 3 // 4 > limits.n_bytes + 3:
        raise DataError(f"the image has more than {limits.n_bytes} bytes; make it smaller")
    try:
        return base64.b64decode("".join(content.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise DataError(f"the image is not base64 ({error}); expected data:image/png;base64,…") from error


def _inside(said: str, folder: Path) -> Path:
    """Where a path leads, links followed."""
    try:
        base = folder.resolve()
        place = (base / said).resolve()
    except (OSError, RuntimeError, ValueError) as error:  # links in a circle
        raise DataError(f"the image cannot be reached ({error}); check the path") from error
    if not place.is_relative_to(base):
        raise DataError(
            "the image's path leads out of the folder of its file, by .., a link or from the root: put images beside "
            "the file of rows, or below"
        )
    return place
