"""Where in a JSON schema the label goes: the schema's one list of strings, and a value around it that fits the schema.

A client that wants its answer in a form of its own sends a schema, as pydantic writes it of a class with an ``Enum`` or
a ``Literal``. All that this server can say is a label, so the schema must ask for one label and for nothing that
somebody would have to make up. It is walked once; what comes out is the value with a place for the label in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from labelwright.data.records import listed
from labelwright.errors import DataError

# Longer walks are of a schema that refers to itself. Far below Python's own limit, as each step may be one call deeper.
_STEPS = 200
_SUPPORTED = (
    "expected an object with one property whose enum (or Literal) lists labels, nested if you like, beside it only "
    'constants, optional properties, and a number called "confidence"'
)


class _Place:
    """Where something is filled in later."""


_LABEL, _CONFIDENCE = _Place(), _Place()


@dataclass(frozen=True)
class Form:
    """A schema's value with places for the label and its probability.

    Attributes
    ----------
    values : tuple of str
        What the enumeration lists, in its order, each once.
    """

    values: tuple[str, ...]
    shape: Any

    def filled(self, label: str, confidence: float) -> Any:
        """The value of the schema that says a label, to be written as JSON."""
        return _filled(self.shape, label, confidence)


def read_schema(schema: Any) -> Form:
    """The form that a JSON schema asks for.

    Raises
    ------
    DataError
        It lists no labels, lists them in several places, or requires something that is neither label nor constant.

    Examples
    --------
    >>> form = read_schema({"type": "object", "properties": {"topic": {"enum": ["pool", "fence"]}}})
    >>> form.values, form.filled("fence", 0.9)
    (('pool', 'fence'), {'topic': 'fence'})
    """
    walk = _Walk(schema)
    shape, lists = walk.shape(schema, "the schema")
    if len(lists) != 1:
        raise DataError(f"the schema has {len(lists)} lists of labels: {_SUPPORTED}")
    return Form(lists[0], shape)


class _Walk:
    """A walk over a schema that ends, whatever refers to what in it."""

    def __init__(self, root: Any) -> None:
        self.root = root
        self.steps = 0

    def shape(self, schema: Any, where: str) -> tuple[Any, list[tuple[str, ...]]]:
        """The value that a schema asks for, and the enumerations that are in it."""
        self.steps += 1
        if not isinstance(schema, Mapping) or self.steps > _STEPS:
            raise DataError(f"{where} is no JSON schema that can be followed: {_SUPPORTED}")
        if "$ref" in schema:
            return self.shape(self.referred(schema["$ref"]), where)
        if "const" in schema:
            return schema["const"], []
        if "enum" in schema:
            values = schema["enum"] if isinstance(schema["enum"], list) else []
            # An optional enumeration may list null beside its labels.
            labels = tuple(dict.fromkeys(value for value in values if isinstance(value, str)))
            if not labels or any(not isinstance(value, str) and value is not None for value in values):
                raise DataError(f"{where} lists something other than strings in its enum: {_SUPPORTED}")
            return _LABEL, [labels]
        for key in ("anyOf", "oneOf", "allOf"):
            if key in schema:
                branches = schema[key] if isinstance(schema[key], list) else []
                branches = [one for one in branches if one != {"type": "null"}]
                if len(branches) != 1:
                    raise DataError(f"{where} has {key} of {len(branches)}, which may mean anything: {_SUPPORTED}")
                return self.shape(branches[0], where)
        if isinstance(schema.get("properties"), Mapping):
            return self.object(schema)
        raise DataError(f"{where} asks for something that is neither a label nor a constant: {_SUPPORTED}")

    def object(self, schema: Mapping[str, Any]) -> tuple[Any, list[tuple[str, ...]]]:
        """The same for an object, without the properties that nobody can fill and nobody requires."""
        required = schema["required"] if isinstance(schema.get("required"), list) else []
        shape: dict[str, Any] = {}
        lists: list[tuple[str, ...]] = []
        faults = [
            f"property {str(name)[:60]!r} is required and nowhere described"
            for name in required
            if not isinstance(name, str) or name not in schema["properties"]
        ]
        for name, one in schema["properties"].items():
            if name == "confidence" and isinstance(one, Mapping) and one.get("type") == "number":
                shape[name] = _CONFIDENCE
                continue
            try:
                shape[name], found = self.shape(one, f"property {name[:60]!r}")
                lists += found
            except DataError as error:
                if name in required:
                    faults.append(str(error).removesuffix(f": {_SUPPORTED}"))
        if faults:
            raise DataError(f"{listed(faults, 3)}: {_SUPPORTED}")
        return shape, lists

    def referred(self, pointer: Any) -> Any:
        """What a reference within the schema points to; None where that is nothing."""
        first, *steps = str(pointer).split("/")
        found = self.root if first == "#" else None
        for step in steps:
            step = step.replace("~1", "/").replace("~0", "~")
            found = found.get(step) if isinstance(found, Mapping) else None
        return found


def _filled(shape: Any, label: str, confidence: float) -> Any:
    if shape is _LABEL or shape is _CONFIDENCE:
        return label if shape is _LABEL else confidence
    # A constant may be an object as well; there are no places in it.
    return {name: _filled(one, label, confidence) for name, one in shape.items()} if isinstance(shape, dict) else shape
