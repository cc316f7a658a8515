"""From an image's file or bytes to pixels, with limits: the only place in the house that decodes an image.

An image is a stranger's file: it may be damaged, made to take all memory (a decompression bomb), or no image. Bytes are
counted before they are read and pixels before they are decoded, by the file's own header. Only the kinds in ``KINDS``
are looked at, so that none is read whose decoder starts another program (EPS), or is seldom used and little tested.

What comes out is what a person would see: turned as EXIF says, alpha on white, palettes and CMYK as RGB, 16 bits as 8.
Of an animated GIF, PNG or WebP it is the first frame. A TIFF of several pages is refused: its first page alone would
pass for the whole.
"""

from __future__ import annotations

import io
import os
import stat
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from labelwright.errors import DataError, MissingExtraError

if TYPE_CHECKING:
    from PIL import Image

# What Pillow may try to read an image as.
KINDS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP")
# As EXIF numbers how the camera was held (JEITA CP-3451, tag Orientation), by the name of Pillow's remedy.
_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
# What becomes of warnings is said in filters that all threads share.
_FILTERS = threading.Lock()


@dataclass(frozen=True)
class ImageLimits:
    """How large an image may be.

    Attributes
    ----------
    n_bytes : int
        Of its file.
    pixels : int
        Width times height; decoded, each takes three to eight bytes.
    side : int
        Width, and height.
    """

    n_bytes: int = 32 * 2**20
    pixels: int = 50_000_000
    side: int = 20_000


LIMITS = ImageLimits()


def open_image(image: Path | str | bytes, *, name: str = "", limits: ImageLimits = LIMITS) -> Image.Image:
    """An image as a person would see it, decoded entirely.

    Parameters
    ----------
    image : Path, str or bytes
        A file, or what a file holds. Whether a row may name that file is not asked here.
    name : str
        What messages call it, if anything: of many rows the same reason is told once, with their numbers.

    Returns
    -------
    PIL.Image.Image
        Of mode RGB, 8 bits a channel.

    Raises
    ------
    DataError
        Missing, no regular file, too large, damaged, of no known kind, of several pages, of pixels that are no colours.
        The message is the reason of a ``Fault``: one line, no row.
    MissingExtraError
        Pillow is not installed.
    """
    what = _called(name)
    content = image if isinstance(image, bytes) else read_image(image, name=name, limits=limits)
    _refuse_long(what, len(content), limits)
    if not content:
        raise DataError(f"{what} is empty; save it again or remove the row")
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise MissingExtraError(f'images need Pillow ({error}): pip install "labelwright[ocr]"') from error
    kinds = f"expected {', '.join(KINDS[:-1])} or {KINDS[-1]}"
    try:
        with _warnings_as_said(Image.DecompressionBombWarning):
            opened = Image.open(io.BytesIO(content), formats=KINDS)
            _refuse_large(what, opened.size, limits)
            _refuse_pages(what, opened)
            opened.load()
            _refuse_large(what, opened.size, limits)
            return _in_rgb(what, _upright(opened))
    except DataError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"{what} has more than {limits.pixels} pixels; make it smaller") from error
    except UnidentifiedImageError as error:
        raise DataError(f"{what} is of no known kind, or damaged; {kinds}") from error
    except Exception as error:  # decoders of damaged files raise anything
        said = " ".join(str(error).split())[:120] or type(error).__name__
        raise DataError(f"{what} is damaged ({said}); save it again or remove the row") from error


def read_image(path: Path | str, *, name: str = "", limits: ImageLimits = LIMITS) -> bytes:
    """What an image's file holds, not yet decoded.

    Raises
    ------
    DataError
        No such file; a folder, a pipe or a device; unreadable; longer than ``limits`` allow.
    """
    what = _called(name)
    try:
        # A pipe without a writer would keep a blocking open waiting for ever.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        try:
            about = os.fstat(handle)
            if stat.S_ISDIR(about.st_mode):
                raise DataError(f"{what} is a folder; give the path of an image file")
            if not stat.S_ISREG(about.st_mode):
                raise DataError(f"{what} is no file but a pipe or a device; give the path of an image file")
            _refuse_long(what, about.st_size, limits)
            # A file that grows meanwhile is cut off one byte beyond, and refused by its length.
            with os.fdopen(handle, "rb", closefd=False) as file:
                return file.read(limits.n_bytes + 1)
        finally:
            os.close(handle)
    except FileNotFoundError as error:
        raise DataError(f"{what} is missing; check the path (it is relative to the file of rows)") from error
    except IsADirectoryError as error:  # where the system opens no folder
        raise DataError(f"{what} is a folder; give the path of an image file") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        said = getattr(error, "strerror", None) or error
        raise DataError(f"{what} cannot be read ({said}); check the file") from error


def _called(name: str) -> str:
    return f"the image {name!r}" if name else "the image"


def _refuse_long(what: str, n_bytes: int, limits: ImageLimits) -> None:
    if n_bytes > limits.n_bytes:
        raise DataError(f"{what} has {n_bytes} bytes, more than {limits.n_bytes}; make it smaller")


def _refuse_large(what: str, size: tuple[int, int], limits: ImageLimits) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise DataError(f"{what} is {width} by {height} pixels: there is nothing to see; remove the row")
    if width * height > limits.pixels or max(size) > limits.side:
        allowed = f"{limits.pixels} in all and {limits.side} a side"
        raise DataError(f"{what} is {width} by {height} pixels, more than {allowed}; make it smaller")


def _refuse_pages(what: str, image: Image.Image) -> None:
    """One step is looked ahead: to count the pages of a file made for it takes for ever."""
    if image.format != "TIFF":
        return
    try:
        image.seek(1)
    except EOFError:
        image.seek(0)
    else:
        raise DataError(f"{what} is a TIFF of several pages; save each page as an image of its own")


@contextmanager
def _warnings_as_said(bomb: type[Warning]) -> Iterator[None]:
    """Pillow's warning of many pixels is an error, and its others are nobody's news; one thread at a time."""
    with _FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", bomb)
        yield


def _upright(image: Image.Image) -> Image.Image:
    from PIL import Image

    try:
        orientation = image.getexif().get(_ORIENTATION_TAG)
    except Exception:  # what cannot be read says nothing; the pixels are whole
        return image
    remedy = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return image.transpose(Image.Transpose[remedy]) if remedy else image


def _in_rgb(what: str, image: Image.Image) -> Image.Image:
    from PIL import Image

    if image.mode.startswith("I;16"):
        image = _eight_bits(image)
    if image.mode in ("I", "F", "LAB"):
        raise DataError(f"{what} has pixels of kind {image.mode}, not colours or 8 or 16 bits of grey; convert it")
    if image.has_transparency_data:
        above = image.convert("RGBA")
        image = Image.new("RGBA", above.size, "white")
        image.alpha_composite(above)
    return image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 bits as 8: Pillow's own conversion cuts off what is above 255, and shows white."""
    import numpy as np
    from PIL import Image

    return Image.fromarray((np.asarray(image.convert("I")) // 257).astype(np.uint8))
