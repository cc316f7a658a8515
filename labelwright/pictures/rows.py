"""Rows with an image as rows with its text: a column of images becomes a column of text beside it.

Where the model looks at images itself, ``screenshot_shown`` stands for the image in the same way, as a line of text
(``labelwright.pictures.imaged``); it is always made of the image, never taken from a row.

``screenshot`` becomes ``screenshot_text``, which is a column of the text as any other (``Task.text_columns``), so that
whoever reads rows reads these. A row that has that text already is not read again: answers keep it, and so do files
made of them.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from labelwright.data.columns import TEXT, TextColumns, image_shown, image_text
from labelwright.data.formats.arrow_rows import Unusable
from labelwright.data.records import Fault, Row, is_missing
from labelwright.errors import DataError
from labelwright.pictures.cells import image_bytes
from labelwright.pictures.content import keep_image
from labelwright.pictures.imaged import image_line
from labelwright.pictures.kept import Reader, kept_folder
from labelwright.pictures.opening import LIMITS, ImageLimits

# Rows that are answered at a time where each may take seconds to read, so that answers follow.
CHUNK_ROWS = 8
# Behind "the text": the reason of an ``Unusable`` cell.
_NO_TEXT = "is empty, as OCR finds none in the image"
_SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp")
_PATIENCE_S, _TOLD_EVERY_S = 3.0, 1.0


def with_texts(
    rows: Iterable[Row | Fault],
    columns: TextColumns,
    image: str,
    folder: Path | None = None,
    reader: Reader | None = None,
) -> Iterator[Row | Fault]:
    """The rows, in order, each with the text of its image; a ``Fault`` for one whose image cannot be read.

    Parameters
    ----------
    columns : TextColumns
        Of the whole text, that of the image among them.
    image : str
        The column of images; empty for none, and the rows come as they are.
    folder : Path, optional
        That paths are relative to, and may not leave; without it there are none.
    reader : Reader, optional
        By default one that keeps its results in ``kept_folder``.

    Raises
    ------
    MissingExtraError, ModelError
        As ``Ocr.read``.
    """
    if not image:
        yield from rows
        return
    reader = reader or Reader(folder=kept_folder())
    progress = _Progress()
    for row in rows:
        if isinstance(row, Fault):
            yield row
            continue
        try:
            record = read_row(row.record, columns, image, folder, reader)
        except DataError as error:
            yield Fault(row.number, str(error), record=_without_bytes(row.record, image))
        else:
            progress.tell(reader.n_read)
            yield Row(row.number, _without_bytes(record, image))
    progress.end()


def read_row(
    record: Mapping[str, Any],
    columns: TextColumns,
    image: str,
    folder: Path | None,
    reader: Reader,
    limits: ImageLimits = LIMITS,
) -> dict[str, Any]:
    """One row with the text of its image. Raises DataError for an image that cannot be read, or is not there."""
    own, is_shown = image_text(image), image_shown(image) in columns.names
    if not is_shown and (not is_missing(record.get(own)) or _is_whole(record, columns)):
        return dict(record)
    if image not in record:
        raise DataError(
            f"no column {image!r} for image; the row has {sorted(map(str, record))}: name the right column (in a "
            "recipe under [data], on the command line with --image-column)"
        )
    cell = record[image]
    content = image_bytes(cell, folder, limits)
    if is_shown:
        if not content:
            raise DataError("the image is empty; name one or remove the row")
        name = cell.strip()[:80] if isinstance(cell, str) and not cell.startswith("data:") else ""
        return {**record, image_shown(image): image_line(keep_image(content, name, limits))}
    filled = {**record, own: reader.page(content, limits=limits).text if content or not is_missing(cell) else ""}
    # Beside other text an image may be without any; alone it leaves the row with none, and that has a reason.
    if content and columns.is_empty_in(filled):
        filled[own] = Unusable("", _NO_TEXT, missing=True)
    return filled


def texts_of_images(rows: Sequence[Any], columns: TextColumns, image: str) -> list[Any]:
    """What an estimator is given as X, in texts: images (paths, bytes) and rows of columns are read, texts stay.

    Raises
    ------
    DataError
        An image that cannot be read; a text that is the name of one, as nobody means that to be classified.
    """
    reader = Reader(folder=kept_folder())
    texts: list[Any] = []
    for number, row in enumerate(rows, start=1):
        try:
            if isinstance(row, str) and _is_path(row):
                raise DataError(f"{row[:80]!r} is a text and would not be opened: give pathlib.Path({row[:80]!r})")
            if isinstance(row, Path | bytes):
                row = {image: row}
            texts.append(
                columns.need(read_row(row, columns, image, Path.cwd(), reader)) if isinstance(row, Mapping) else row
            )
        except DataError as error:
            raise DataError(f"row {number} of X: {error}") from error
    return texts


def _is_path(text: str) -> bool:
    """Whether a text names a file: one that is there, or an image by its ending."""
    return os.path.isfile(text) or (len(text.split()) == 1 and text.strip().lower().endswith(_SUFFIXES))


def _without_bytes(record: Mapping[str, Any], image: str) -> dict[str, Any]:
    """The row as it is kept beside its answer: an image that came in it as bytes is named by its path, or counted."""
    cell = record.get(image)
    path, content = (cell.get("path"), cell.get("bytes")) if isinstance(cell, Mapping) else (None, cell)
    if not isinstance(content, bytes):
        return dict(record)
    return {**record, image: path or f"{len(content)} bytes"}


def _is_whole(record: Mapping[str, Any], columns: TextColumns) -> bool:
    """Whether the row brings its text as a whole, as what was typed does."""
    return columns.or_whole and columns.of_row(record) == (TEXT,) and TEXT in record


class _Progress:
    """Says on stderr how many images have been read, once it takes a while."""

    def __init__(self) -> None:
        self._begun = self._told = time.monotonic()
        self._is_shown = False

    def tell(self, n_read: int) -> None:
        now = time.monotonic()
        if n_read and now - self._begun > _PATIENCE_S and now - self._told > _TOLD_EVERY_S:
            self._told, self._is_shown = now, True
            rate = n_read / (now - self._begun)
            print(f"\r{n_read} images read, {rate:.1f} a second", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        if self._is_shown:
            print(file=sys.stderr)
