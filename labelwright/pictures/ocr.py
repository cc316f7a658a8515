"""From pixels to a ``Page``: RapidOCR's models, which come in its package, through ONNX Runtime on the CPU.

The only file that knows which OCR it is. A page longer than the models read well is read in strips; text that the
models put together though it stands apart, as the words beside several buttons, is parted again.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labelwright.errors import MissingExtraError, ModelError
from labelwright.pictures.layout import Page, Piece

if TYPE_CHECKING:
    from PIL import Image

# Counted up where the same image would be read otherwise: what was kept before is then read again.
_SETTINGS = 1
_DETECTOR, _RECOGNISER = "PP-OCRv6_det_small.onnx", "PP-OCRv6_rec_small.onnx"
# The package makes images smaller whose longer side is longer, and refuses those of strange proportions.
_LONGEST_SIDE = 2000
_LONGEST_STRIP, _OVERLAP = 1600, 160
# Shorter sides are enlarged to 736 pixels, however long the other is: a part is given so much of its longer side.
_SHORTEST_SHARE = 0.4
_SHORTEST_SIDE = 64
# Words of a piece that are so many of its heights apart stand apart.
_APART = 1.0


class Ocr:
    """Reads images; its models are opened at the first one.

    Parameters
    ----------
    n_threads : int
        Of ONNX Runtime; 0 for its own choice, a thread a core.
    """

    def __init__(self, n_threads: int = 0) -> None:
        self._n_threads = n_threads
        self._lock = threading.Lock()
        self._opened: Any = None

    @property
    def version(self) -> str:
        """Of package, models and settings: what the same image may be read otherwise by."""
        _package()
        return f"rapidocr-{version('rapidocr')}-{_SETTINGS}"

    def read(self, image: Image.Image) -> Page:
        """What is written in an image of mode RGB; a page without pieces where nothing is.

        Raises
        ------
        MissingExtraError
            The package is not installed.
        ModelError
            Its models cannot be opened, or fail.
        """
        with self._lock:  # the package keeps what it is at in its own objects
            found = [piece for box in _strips(*image.size) for piece in self._strip(image, box)]
        return Page(tuple(found), *image.size)

    def _strip(self, image: Image.Image, box: tuple[int, int, int, int]) -> Iterator[Piece]:
        """Pieces of one part of an image whose middles lie in it; what lies in the margin is the next part's."""
        import numpy as np

        left, top, right, bottom = box
        width, height = image.size
        x, y = max(0, left - _OVERLAP), max(0, top - _OVERLAP)
        seen = image.crop((x, y, min(width, right + _OVERLAP), min(height, bottom + _OVERLAP)))
        part = np.asarray(_with_margin(seen))
        try:
            # As OpenCV has it, blue first.
            said = self._engine()(np.ascontiguousarray(part[..., ::-1]), return_word_box=True)
        except MissingExtraError:
            raise
        except Exception as error:  # OpenCV's, ONNX Runtime's and the package's own have no common base
            raise ModelError(f"OCR failed on {width} by {height} pixels ({type(error).__name__}: {error})") from error
        if getattr(said, "boxes", None) is None or said.txts is None:
            return
        n = len(said.txts)
        words = said.word_results if len(said.word_results or ()) == n else [()] * n
        for corners, text, score, own in zip(said.boxes, said.txts, said.scores, words, strict=True):
            whole = _piece(text, corners, float(score))
            for one in _parted(whole, own):
                placed = Piece(one.text, one.left + x, one.top + y, one.right + x, one.bottom + y, one.score)
                middle = (placed.left + placed.right) / 2, (placed.top + placed.bottom) / 2
                if left <= middle[0] < right and top <= middle[1] < bottom:
                    yield placed

    def _engine(self) -> Any:
        if self._opened is None:
            package = _package()
            models = Path(package.__file__).parent / "models"
            # By path: named otherwise, what is missing would be fetched from the network.
            self._opened = package.RapidOCR(
                params={
                    "Global.log_level": "error",
                    "Global.use_cls": False,
                    "Global.max_side_len": _LONGEST_SIDE,
                    "Det.model_path": str(models / _DETECTOR),
                    "Rec.model_path": str(models / _RECOGNISER),
                    "EngineConfig.onnxruntime.intra_op_num_threads": self._n_threads or -1,
                }
            )
        return self._opened


def _package() -> Any:
    try:
        import onnxruntime  # noqa: F401 (the package asks for it only when a model is opened)
        import rapidocr
    except ImportError as error:
        raise MissingExtraError(f'reading images needs OCR ({error}): pip install "labelwright[ocr]"') from error
    return rapidocr


def _strips(width: int, height: int) -> Iterator[tuple[int, int, int, int]]:
    """Parts that cover an image once: all of it, or, where it is long, strips of it."""
    for top, bottom in _cuts(height):
        for left, right in _cuts(width):
            yield left, top, right, bottom


def _cuts(side: int) -> list[tuple[int, int]]:
    """From where to where a side is cut.

    >>> _cuts(900), _cuts(3300)
    ([(0, 900)], [(0, 1100), (1100, 2200), (2200, 3300)])
    """
    if side <= _LONGEST_SIDE:
        return [(0, side)]
    n = math.ceil(side / _LONGEST_STRIP)
    return list(pairwise(side * i // n for i in range(n + 1)))


def _with_margin(part: Image.Image) -> Image.Image:
    """A part that is not too narrow, what is added in the colour of its corner: a line alone is found with a margin."""
    from PIL import Image

    least = max(_SHORTEST_SIDE, int(_SHORTEST_SHARE * max(part.size)))
    if min(part.size) >= least:
        return part
    wider = Image.new("RGB", (max(part.width, least), max(part.height, least)), part.getpixel((0, 0)))
    wider.paste(part, (0, 0))
    return wider


def _piece(text: str, corners: Any, score: float) -> Piece:
    xs, ys = [float(x) for x, _ in corners], [float(y) for _, y in corners]
    return Piece(text, min(xs), min(ys), max(xs), max(ys), score)


def _parted(piece: Piece, words: Sequence[Any]) -> list[Piece]:
    """A piece as several where its words stand far apart; its own spelling is kept."""
    places, at = [], 0
    for text, _, corners in words:
        start = piece.text.find(text, at)
        if start < 0:
            return [piece]
        places.append((start, at := start + len(text), _piece(text, corners, piece.score)))
    cuts = [
        n
        for n in range(1, len(places))
        if places[n][2].left - places[n - 1][2].right > _APART * piece.height
    ]  # fmt: skip
    if not cuts:
        return [piece]
    parts = []
    for first, stop in zip([0, *cuts], [*cuts, len(places)], strict=True):
        start = 0 if first == 0 else places[first][0]
        end = len(piece.text) if stop == len(places) else places[stop][0]
        left = piece.left if first == 0 else places[first][2].left
        right = piece.right if stop == len(places) else places[stop - 1][2].right
        parts.append(Piece(piece.text[start:end].strip(), left, piece.top, right, piece.bottom, piece.score))
    return parts
