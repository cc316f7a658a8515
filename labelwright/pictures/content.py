"""Images that a model looks at, kept by their content: a row names one by its hash, and an engine finds it by that.

What was measured on an image cannot turn into another when its file is replaced, and a golden row finds its own
wherever its bundle is. The folder is for its owner alone, since an image may be private; it can be removed at any time,
and images come back when the rows are read again.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from labelwright.errors import DataError
from labelwright.files import write_bytes
from labelwright.models.packaged import cache_dir
from labelwright.pictures.opening import LIMITS, ImageLimits, open_image

if TYPE_CHECKING:
    from PIL import Image


def keep_image(content: bytes, name: str = "", limits: ImageLimits = LIMITS) -> str:
    """Keep the bytes of an image, and return their hash.

    Raises
    ------
    DataError, MissingExtraError
        As ``open_image``: what cannot be decoded is not kept.
    """
    open_image(content, name=name, limits=limits)
    digest = hashlib.sha256(content).hexdigest()
    place = _place(digest)
    if not place.is_file():
        for folder in (place.parents[1], place.parent):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_bytes(place, content)
    return digest


def kept_bytes(digest: str) -> bytes:
    """What a kept image's file holds. Raises DataError where it is kept no more, or is not what it was."""
    try:
        content = _place(digest).read_bytes()
    except OSError as error:
        raise DataError(f"image {digest[:12]}… is not kept on this machine; read the file of its row again") from error
    if hashlib.sha256(content).hexdigest() != digest:
        raise DataError(
            f"image {digest[:12]}… was changed where it is kept; remove {_place(digest)}, and read it again"
        )
    return content


def opened_image(digest: str) -> Image.Image:
    """A kept image's pixels, RGB. Raises DataError as ``kept_bytes``."""
    return open_image(kept_bytes(digest), name=f"{digest[:12]}…")


def _place(digest: str) -> Path:
    assert not set(digest) - set("0123456789abcdef"), "a hash is all that names a file here"
    return cache_dir() / "images" / digest[:2] / digest
