"""A JSON Schema as the fields that can be looked for on a page; one that asks for more is refused when it is read.

Fields are the properties of an object: ``string`` (with ``format: "date"`` for dates), ``integer``, ``number``,
``boolean``, ``enum``, and ``array`` of flat objects. A field's caption on the page is its ``title``, else its name, or
one of ``x-captions``. All else that JSON Schema says of a value (``pattern``, ``minimum``, …) is held to afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labelwright.errors import DataError, MissingExtraError

_KINDS = ("string", "integer", "number", "boolean", "array")
_ORDERS = ("dmy", "mdy")
# Where an enumeration's classifier looks: at what stands beside the caption, or at the whole page.
_READS = ("beside", "page")


@dataclass(frozen=True)
class Field:
    """What is looked for.

    Attributes
    ----------
    kind : str
        "string", "date", "integer", "number", "boolean", "enum" or "items".
    captions : tuple of str
        What may stand beside it on the page.
    schema : mapping
        What a value must satisfy.
    fields : tuple of Field
        Of each item, where it is a list.
    order : {"", "dmy", "mdy"}
        How dates of numbers alone are written; "" refuses those that could be either.
    reads : {"beside", "page"}
    """

    name: str
    kind: str
    captions: tuple[str, ...]
    schema: Mapping[str, Any]
    fields: tuple[Field, ...] = ()
    order: str = ""
    reads: str = "beside"

    @property
    def choices(self) -> tuple[str, ...]:
        """Of an enumeration, as text."""
        return tuple(map(str, self.schema.get("enum", ())))


def read_schema(path: Path | str) -> tuple[Field, ...]:
    """The fields of a schema's file. Raises DataError for one that is none, or asks for what no page can be asked."""
    from labelwright.reading import MAX_JSON_BYTES, parse_json

    path = Path(path)
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise DataError(f"{path}: too long for a schema")
        content = parse_json(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); check the path") from error
    except ValueError as error:
        raise DataError(f"{path}: not JSON ({str(error).splitlines()[0]}); expected a JSON Schema") from error
    try:
        return fields_of(content)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def fields_of(content: Any) -> tuple[Field, ...]:
    """The fields of a schema. Raises DataError as ``read_schema``."""
    if not isinstance(content, Mapping) or content.get("type") != "object" or not content.get("properties"):
        raise DataError('expected a JSON Schema of "type": "object" with "properties"')
    if reference := _reference(content):
        raise DataError(f"{reference} is not followed, as it may lead anywhere: write the schema out")
    _check(content)
    return _fields(content["properties"], "")


def _reference(content: Any) -> str:
    """A keyword in a schema that leads elsewhere ($ref, $dynamicRef, $recursiveRef), at any depth; empty for none."""
    waiting = [content]
    while waiting:
        one = waiting.pop()
        if isinstance(one, Mapping):
            if found := [key for key in one if key.startswith("$") and key.casefold().endswith("ref")]:
                return found[0]
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
    return ""


def _check(content: Mapping[str, Any]) -> None:
    try:
        from jsonschema import Draft202012Validator
        from jsonschema.exceptions import SchemaError
    except ImportError as error:
        raise MissingExtraError(
            f'schemas need jsonschema ({error}): pip install "labelwright[ocr]" or "labelwright[extract]"'
        ) from error
    try:
        Draft202012Validator.check_schema(dict(content))
    except SchemaError as error:
        place = "/".join(map(str, error.absolute_path)) or "the top"
        raise DataError(f"not a JSON Schema: at {place}: {error.message}") from error


def _fields(properties: Mapping[str, Any], within: str) -> tuple[Field, ...]:
    return tuple(_field(name, schema, within) for name, schema in properties.items())


def _field(name: str, schema: Any, within: str) -> Field:
    where = f"{within}{name}"
    if not isinstance(schema, Mapping):
        raise DataError(f"{where}: expected an object that says its type")
    more = schema.get("x-captions", [])
    if not isinstance(more, list) or not all(isinstance(one, str) and one.strip() for one in more):
        raise DataError(f"{where}: x-captions is {str(more)[:60]!r}, expected a list of texts that are not empty")
    captions = (str(schema.get("title") or name.replace("_", " ")), *more)
    order, reads = str(schema.get("x-date-order", "")), str(schema.get("x-reads", "beside"))
    if order and order not in _ORDERS:
        raise DataError(f"{where}: x-date-order is {order!r}, expected one of {', '.join(_ORDERS)}")
    if reads not in _READS:
        raise DataError(f"{where}: x-reads is {reads!r}, expected one of {', '.join(_READS)}")
    if "enum" in schema:
        if not all(isinstance(one, str) and one.strip() for one in schema["enum"]):
            raise DataError(f"{where}: expected an enum of texts")
        return Field(name, "enum", captions, schema, reads=reads)
    kind = schema.get("type")
    if isinstance(kind, list):  # ["string", "null"]: null is what is not found
        others = [one for one in kind if one != "null"]
        kind = others[0] if len(others) == 1 else None
    if kind not in _KINDS:
        raise DataError(f"{where}: type is {kind!r}, expected one of {', '.join(_KINDS)}, or an enum")
    if kind == "array":
        items = schema.get("items")
        if within or not isinstance(items, Mapping) or items.get("type") != "object" or not items.get("properties"):
            raise DataError(f"{where}: expected an array of flat objects with properties")
        return Field(name, "items", captions, schema, _fields(items["properties"], f"{where}."))
    if kind == "string" and schema.get("format") == "date":
        kind = "date"
    return Field(name, kind, captions, schema, order=order)
