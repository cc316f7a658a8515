"""OCR results on the disk, by the image's content and the OCR's version: a long run that was killed goes on.

Kept are pieces with their places, not the text made of them, so that what is made of them may change. A result is what
an image says, and may be private: its folder is for its owner alone, and `LABELWRIGHT_OCR_CACHE=off` keeps nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from labelwright.files import write_bytes
from labelwright.models.packaged import cache_dir
from labelwright.pictures.layout import Page
from labelwright.pictures.ocr import Ocr
from labelwright.pictures.opening import LIMITS, ImageLimits, open_image

OFF = "off"
_VARIABLE = "LABELWRIGHT_OCR_CACHE"


def kept_folder() -> Path | None:
    """Where results are kept: ``$LABELWRIGHT_OCR_CACHE``, else ``ocr`` among cached models; None where it is "off"."""
    said = os.environ.get(_VARIABLE, "").strip()
    if said.lower() == OFF:
        return None
    return Path(said).expanduser().absolute() if said else cache_dir() / "ocr"


class Reader:
    """Reads images by content, each once.

    Parameters
    ----------
    ocr : Ocr, optional
        What reads; anything with ``version`` and ``read``.
    folder : Path, optional
        Where results are kept; None keeps none.

    Attributes
    ----------
    n_read, n_kept : int
        Images that OCR read, and those whose result was there.
    """

    def __init__(self, ocr: Ocr | None = None, folder: Path | None = None) -> None:
        self._ocr = ocr or Ocr()
        self._folder = folder
        self.n_read = self.n_kept = 0

    @property
    def version(self) -> str:
        """Of what reads. Raises MissingExtraError where it is not installed."""
        return self._ocr.version

    def page(self, content: bytes, name: str = "", limits: ImageLimits = LIMITS) -> Page:
        """What is written in an image.

        Raises
        ------
        DataError, MissingExtraError
            As ``open_image``. What is refused is not kept.
        ModelError
            The OCR fails.
        """
        place = self._place(content)
        if place is not None and (found := _read(place)) is not None:
            self.n_kept += 1
            return found
        page = self._ocr.read(open_image(content, name=name, limits=limits))
        self.n_read += 1
        if place is not None:
            _write(place, page)
        return page

    def _place(self, content: bytes) -> Path | None:
        if self._folder is None:
            return None
        digest = hashlib.sha256(content).hexdigest()
        return self._folder / self._ocr.version / digest[:2] / f"{digest[2:]}.json"


def _read(place: Path) -> Page | None:
    try:
        return Page.from_dict(json.loads(place.read_bytes()))
    except (OSError, ValueError, LookupError, TypeError):  # none, or one that a disk damaged: read again
        return None


def _write(place: Path, page: Page) -> None:
    """A disk that is full, or a folder that is not ours, costs only the keeping."""
    try:
        for folder in (place.parents[3], place.parents[2], place.parents[1], place.parent):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_bytes(place, json.dumps(page.to_dict(), ensure_ascii=False).encode())
    except OSError:
        return
