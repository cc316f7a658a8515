"""Rows of one JSON document: a list of objects, or columns. JSON lines are read by ``labelwright.data.records``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from labelwright.data.formats.text_lines import decoded_lines, holds_undecoded
from labelwright.errors import DataError

_EXPECTED = "expected a list of objects, one a row"


def json_rows(file: BinaryIO, source: str, encoding: str = "") -> Iterator[dict[str, Any]] | None:
    """The rows of a JSON document; None where the file is no single document, and so may be JSON lines.

    A list of objects; an object that holds one such list, whatever it is called ("data", "rows"), beside what is none;
    or an object of columns, each a list, or a mapping from row to cell as data frames write it.

    Raises
    ------
    DataError
        JSON that is none of these; text that cannot be decoded.
    """
    lines = []
    for number, line in enumerate(decoded_lines(file, source, encoding), start=1):
        if holds_undecoded(line):
            raise DataError(f"{source}, line {number}: not UTF-8; save the file as UTF-8, or say its encoding")
        lines.append(line)
    try:
        document = json.loads("".join(lines))
    except RecursionError as error:
        raise DataError(f"{source}: nested too deeply; {_EXPECTED}") from error
    except ValueError as error:
        if lines and lines[0].lstrip()[:1] == "[":
            said = getattr(error, "msg", "a number that is too long")
            raise DataError(
                f"{source}: not JSON ({said}, line {getattr(error, 'lineno', 1)}); write it again"
            ) from error
        return None
    return _rows(document, source)


def _rows(document: Any, source: str) -> Iterator[dict[str, Any]] | None:
    if isinstance(document, Mapping):
        lists = [value for value in document.values() if isinstance(value, list) and _are_objects(value)]
        if len(lists) == 1:
            return iter(lists[0])
        if len(lists) > 1:
            named = ", ".join(repr(key) for key, value in document.items() if value in lists)
            raise DataError(f"{source}: holds several lists of rows ({named}); write each to a file of its own")
        objects = list(document.values())
        if _are_objects(objects) and all(key.isdecimal() for key in document):  # rows by number
            return iter(objects)
        if columns := _columns(document):
            return (dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True))
        return None  # one line of JSON lines is a document, too
    if isinstance(document, list) and _are_objects(document):
        return iter(document)
    raise DataError(f"{source}: {_EXPECTED}")


def _are_objects(value: list[Any]) -> bool:
    return bool(value) and all(isinstance(one, dict) for one in value)


def _columns(document: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Cells by column, of a document that is written by columns; nothing where it is not."""
    values = list(document.values())
    if set(document) in ({"columns", "data"}, {"columns", "index", "data"}):  # a data frame's parts
        try:
            return {str(name): [row[i] for row in document["data"]] for i, name in enumerate(document["columns"])}
        except (TypeError, LookupError):
            return {}
    if values and all(isinstance(one, list) for one in values) and len({len(one) for one in values}) == 1:
        return dict(document)
    if len(values) > 1 and all(isinstance(one, dict) for one in values) and len({tuple(one) for one in values}) == 1:
        return {name: list(cells.values()) for name, cells in document.items()}
    return {}
