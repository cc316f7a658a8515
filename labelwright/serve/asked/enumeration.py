"""Where in a JSON schema answers go: its lists of strings and other closed types, and a value around them that fits.

A client that wants its answer in a form of its own sends a schema, as pydantic writes it of a class with an ``Enum`` or
a ``Literal``. All that this server can say is labels, so the schema must ask for these and for nothing that somebody
would have to make up: for one label (``read_schema``), or for answers to a bundle's questions (``read_places``). It is
walked once; what comes out is the value with places for the answers in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf
from typing import Any, Literal

from labelwright.data.records import listed
from labelwright.errors import DataError

# Longer walks are of a schema that refers to itself. Far below Python's own limit, as each step may be one call deeper.
_STEPS = 200
_SUPPORTED = (
    "expected an object with one property whose enum (or Literal) lists labels, nested if you like, beside it only "
    'constants, optional properties, and a number called "confidence"'
)


_SUPPORTED_OF_SEVERAL = (
    "expected an object with a property for each question that is asked: an enum, an array of one, a boolean or an "
    'integer, nested if you like, beside them only constants, optional properties, and a number called "confidence"'
)


@dataclass(frozen=True, eq=False)
class Place:
    """Where an answer is filled in.

    Attributes
    ----------
    kind : {"label", "list", "flag", "number"}
        One of some texts; a list of any of them; true or false; a whole number.
    values : tuple of str
        What may be said there, as texts, each once; empty where a number's bounds are all that is known.
    name : str
        Of the property.
    bounds : (least, most)
        Of a number.
    """

    kind: Literal["label", "list", "flag", "number"]
    values: tuple[str, ...] = ()
    name: str = ""
    bounds: tuple[float, float] = (-inf, inf)


_CONFIDENCE = Place("number", name="confidence")


@dataclass(frozen=True)
class Form:
    """A schema's value with places for answers and their probability."""

    places: tuple[Place, ...]
    shape: Any

    @property
    def values(self) -> tuple[str, ...]:
        """What the first enumeration lists, in its order, each once."""
        return self.places[0].values

    def filled(self, label: str, confidence: float) -> Any:
        """The value of the schema that says a label, to be written as JSON."""
        return self.written({self.places[0]: label}, confidence)

    def written(self, answers: Mapping[Place, Any], confidence: float) -> Any:
        """The value of the schema that says an answer at each of its places."""
        return _filled(self.shape, {**answers, _CONFIDENCE: confidence})


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
    shape, places = _Walk(schema).shape(schema, "the schema")
    if len(places) != 1:
        raise DataError(f"the schema has {len(places)} lists of labels: {_SUPPORTED}")
    return Form(tuple(places), shape)


def read_places(schema: Any) -> Form:
    """The form of a JSON schema with any number of places for answers.

    Raises
    ------
    DataError
        It has none, or requires something that is neither an answer nor constant.
    """
    shape, places = _WalkOfSeveral(schema).shape(schema, "the schema")
    if not places:
        raise DataError(f"the schema asks for no answer: {_SUPPORTED_OF_SEVERAL}")
    return Form(tuple(places), shape)


class _Walk:
    """A walk over a schema that ends, whatever refers to what in it."""

    supported = _SUPPORTED

    def __init__(self, root: Any) -> None:
        self.root = root
        self.steps = 0

    def shape(self, schema: Any, where: str) -> tuple[Any, list[Place]]:
        """The value that a schema asks for, and the places for answers that are in it."""
        self.steps += 1
        if not isinstance(schema, Mapping) or self.steps > _STEPS:
            raise DataError(f"{where} is no JSON schema that can be followed: {self.supported}")
        if "$ref" in schema:
            return self.shape(self.referred(schema["$ref"]), where)
        if "const" in schema:
            return schema["const"], []
        if "enum" in schema:
            place = self.listed(schema["enum"] if isinstance(schema["enum"], list) else [], where)
            return place, [place]
        for key in ("anyOf", "oneOf", "allOf"):
            if key in schema:
                branches = schema[key] if isinstance(schema[key], list) else []
                branches = [one for one in branches if one != {"type": "null"}]
                if len(branches) != 1:
                    raise DataError(f"{where} has {key} of {len(branches)}, which may mean anything: {self.supported}")
                return self.shape(branches[0], where)
        if isinstance(schema.get("properties"), Mapping):
            return self.object(schema)
        if (typed := self.typed(schema, where)) is not None:
            return typed, [typed]
        raise DataError(f"{where} asks for something that is neither a label nor a constant: {self.supported}")

    def listed(self, values: list[Any], where: str) -> Place:
        """The place of an enumeration. Raises DataError for one that lists what cannot be said."""
        # An optional enumeration may list null beside its labels.
        labels = tuple(dict.fromkeys(value for value in values if isinstance(value, str)))
        if not labels or any(not isinstance(value, str) and value is not None for value in values):
            raise DataError(f"{where} lists something other than strings in its enum: {self.supported}")
        return Place("label", labels)

    def typed(self, schema: Mapping[str, Any], where: str) -> Place | None:
        """The place of a type that is closed by itself; here there is none."""
        return None

    def object(self, schema: Mapping[str, Any]) -> tuple[Any, list[Place]]:
        """The same for an object, without the properties that nobody can fill and nobody requires."""
        required = schema["required"] if isinstance(schema.get("required"), list) else []
        shape: dict[str, Any] = {}
        places: list[Place] = []
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
                value, found = self.shape(one, f"property {name[:60]!r}")
                if isinstance(value, Place):
                    # A constant has no place, and one of an object's own properties has its name already.
                    value = replace(value, name=name)
                    found = [value]
                shape[name] = value
                places += found
            except DataError as error:
                if name in required:
                    faults.append(str(error).removesuffix(f": {self.supported}"))
        if faults:
            raise DataError(f"{listed(faults, 3)}: {self.supported}")
        return shape, places

    def referred(self, pointer: Any) -> Any:
        """What a reference within the schema points to; None where that is nothing."""
        first, *steps = str(pointer).split("/")
        found = self.root if first == "#" else None
        for step in steps:
            step = step.replace("~1", "/").replace("~0", "~")
            found = found.get(step) if isinstance(found, Mapping) else None
        return found


class _WalkOfSeveral(_Walk):
    """The same of a schema that asks several questions, each in a type of its own."""

    supported = _SUPPORTED_OF_SEVERAL

    def listed(self, values: list[Any], where: str) -> Place:
        """An enumeration of strings, of whole numbers, or of true and false."""
        known = [value for value in values if value is not None]
        if known and all(isinstance(value, bool) for value in known):
            return Place("flag")
        if known and all(isinstance(value, int) and not isinstance(value, bool) for value in known):
            return Place("number", tuple(dict.fromkeys(map(str, known))))
        return super().listed(values, where)

    def typed(self, schema: Mapping[str, Any], where: str) -> Place | None:
        """A boolean, an integer, or an array of an enumeration."""
        if schema.get("type") == "boolean":
            return Place("flag")
        if schema.get("type") == "integer":
            least, most = (schema.get(key, other) for key, other in (("minimum", -inf), ("maximum", inf)))
            if all(isinstance(one, int | float) for one in (least, most)):
                return Place("number", bounds=(least, most))
        if schema.get("type") == "array" and "items" in schema:
            place, _ = self.shape(schema["items"], where)
            if isinstance(place, Place) and place.kind == "label":
                most = schema.get("maxItems", inf)
                if schema.get("minItems") or not isinstance(most, int | float) or most < len(place.values):
                    raise DataError(f"{where} bounds how many labels a row has, which may be none or all: leave it out")
                return replace(place, kind="list")
        return None


def _filled(shape: Any, answers: Mapping[Place, Any]) -> Any:
    if isinstance(shape, Place):
        return answers[shape]
    # A constant may be an object as well; there are no places in it.
    return {name: _filled(one, answers) for name, one in shape.items()} if isinstance(shape, dict) else shape
