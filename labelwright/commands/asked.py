"""``labelwright extract --model``: rows or images, and a language model that is asked for the fields of a schema."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from labelwright.commands.shown import remarks
from labelwright.data.columns import TextColumns
from labelwright.data.records import Fault, Row, scan_records
from labelwright.engines.settings import EngineSettings
from labelwright.errors import DataError
from labelwright.models.weights import Base
from labelwright.pictures.content import keep_image
from labelwright.pictures.imaged import imaged
from labelwright.pictures.kept import Reader, kept_folder
from labelwright.pictures.opening import read_image
from labelwright.pictures.typed.schema import Field

if TYPE_CHECKING:
    from labelwright.pictures.typed.asked import Asker

# What a row or an image is called in its line, and what is asked of it.
_Named = tuple[dict[str, Any], str | DataError]


def asked_lines(arguments: argparse.Namespace, fields: Sequence[Field]) -> Iterator[dict[str, Any]]:
    """A line a row or an image, in order: ``data``, ``probability``, ``missing``; or ``error`` and no data.

    Raises
    ------
    DataError, ModelError
        A file of rows that cannot be read, a model that cannot be opened, or fields that it cannot be asked for; all
        before the first line.
    """
    rows = None if arguments.input is None else _first_read(arguments)
    asker, engine = _asker(arguments, fields)
    named: Iterable[_Named]
    if rows is not None:
        columns = TextColumns.of(arguments.text_column or "text")
        named = (_of_row(row, columns) for row in rows)
    else:
        read = _shown if asker.images else _words(Reader(folder=kept_folder()))
        named = (_of_image(image, read) for image in arguments.images)
    return _lines(named, asker, engine)


def _asker(arguments: argparse.Namespace, fields: Sequence[Field]) -> tuple[Asker, Any]:
    from labelwright.engines.opening import open_engine
    from labelwright.engines.protocol import reads_images
    from labelwright.pictures.typed.asked import Asker, refuse_lists

    if arguments.backend != EngineSettings.backend:
        raise DataError(f"--backend {arguments.backend}: extract asks a model in this process; leave it out")
    refuse_lists(fields)
    default, mass = EngineSettings(), arguments.unexpanded_mass
    settings = EngineSettings(
        device=arguments.device,
        dtype=arguments.dtype,
        long_rows=arguments.long_rows or default.long_rows,
        unexpanded_mass=default.unexpanded_mass if mass is None else mass,
    )
    engine: Any = open_engine(Base(arguments.model), settings)
    return Asker(engine, fields, images=arguments.input is None and reads_images(engine)), engine


def _first_read(arguments: argparse.Namespace) -> Iterator[Row | Fault]:
    """The rows, the first one read: a file that cannot be read is refused before a model is loaded."""
    rows = scan_records(arguments.input)
    first = next(rows, None)
    if first is None:
        raise DataError(f"{arguments.input}: no rows")
    return itertools.chain([first], rows)


def _lines(named: Iterable[_Named], asker: Asker, engine: Any) -> Iterator[dict[str, Any]]:
    from labelwright.pictures.typed.asked import CHUNK_ROWS

    remaining = iter(named)
    while chunk := list(itertools.islice(remaining, CHUNK_ROWS)):
        found = iter(asker.ask([text for _, text in chunk if isinstance(text, str)]))
        for name, text in chunk:
            one = text if isinstance(text, DataError) else next(found)
            if isinstance(one, DataError):
                yield {**name, "data": None, "error": str(one)}
            else:
                yield {**name, "data": one.values, "probability": one.probabilities, "missing": one.reasons}
    remarks(engine)


def _of_row(row: Row | Fault, columns: TextColumns) -> _Named:
    name = {"row": row.number}
    if isinstance(row, Fault):
        return name, DataError(row.reason)
    try:
        return name, columns.need(row.record)
    except DataError as error:
        return name, error


def _of_image(image: str, read: Callable[[bytes], str]) -> _Named:
    name = {"image": image}
    try:
        return name, read(read_image(image))
    except DataError as error:
        return name, error


def _shown(content: bytes) -> str:
    """To a model that looks at it."""
    return imaged("", keep_image(content))


def _words(reader: Reader) -> Callable[[bytes], str]:
    """To a model of text alone: what OCR reads."""

    def read(content: bytes) -> str:
        if not (text := reader.page(content).text):
            raise DataError("no text is read in the image")
        return text

    return read
