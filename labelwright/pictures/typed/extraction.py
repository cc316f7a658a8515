"""A page and fields in, values and reasons out. The only place that decides what a field's value on a page is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from labelwright.data.records import listed
from labelwright.data.spelling import text_key
from labelwright.pictures.layout import Page
from labelwright.pictures.typed.captions import Captions
from labelwright.pictures.typed.lists import Line, entries, table_rows, title_of
from labelwright.pictures.typed.schema import Field
from labelwright.pictures.typed.values import UnclearError, date_of, number, numbers, yes_no

# From what stands beside a caption, or on the whole page, to one of an enumeration; None to abstain.
Classifier = Callable[[str], str | None]
_LONGEST = 500


@dataclass
class Extracted:
    """What was found on a page.

    Attributes
    ----------
    values : dict of str
        By field, in the schema's order; None for what was not found.
    reasons : dict of str to str
        Why a field is None, by its name; those of items behind their number, ``items[2].price``.
    probabilities : dict of str to float
        By field: of a model's answer to a closed question, uncalibrated, 0 to 1.
    """

    values: dict[str, Any] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    probabilities: dict[str, float] = field(default_factory=dict)


def extract(page: Page, fields: Sequence[Field], classifiers: Mapping[str, Classifier] | None = None) -> Extracted:
    """The fields of a page.

    Parameters
    ----------
    classifiers : mapping of str to callable, optional
        By field: what answers an enumeration whose text is none of its values as it is written.
    """
    known = [caption for one in fields for caption in one.captions]
    captions = Captions(page.pieces, known)
    found = Extracted()
    for one in fields:
        try:
            if one.kind == "items":
                found.values[one.name] = checked(one, _items(one, captions, found.reasons))
            elif one.kind == "enum":
                found.values[one.name] = _choice(one, captions, page, (classifiers or {}).get(one.name))
            else:
                found.values[one.name] = _value(one, captions)
        except UnclearError as error:
            found.values[one.name] = None
            found.reasons[one.name] = str(error)
    return found


def _value(one: Field, captions: Captions) -> Any:
    """A field's value from the nearest place that has one. Raises UnclearError with what speaks against the nearest."""
    against = ""
    for text in _texts(one, captions):
        try:
            return checked(one, _read(one, text))
        except UnclearError as error:
            against = against or str(error)
    raise UnclearError(against or _nowhere(one, captions))


def _texts(one: Field, captions: Captions) -> Iterator[str]:
    """What may be the value; of what stands before a caption only the number that it counts."""
    for place in captions.places(one.captions, counted=one.kind in ("integer", "number")):
        if place.where != "before":
            yield place.text
        else:  # without one that is clear the whole says why
            ends = [place.text[start:] for _, start, end in numbers(place.text) if end == len(place.text)]
            yield ends[0] if ends else place.text


def _read(one: Field, text: str) -> Any:
    if one.kind == "date":
        return date_of(text, one.order)
    if one.kind == "boolean":
        return yes_no(text)
    if one.kind == "string":
        return text[:_LONGEST]
    value = number(text)
    if one.kind == "number":
        return value
    if not value.is_integer():
        raise UnclearError(f"{text[:60]!r} is no whole number")
    return int(value)


def _choice(one: Field, captions: Captions, page: Page, classify: Classifier | None) -> str:
    """One of an enumeration: as it is written, else as the classifier answers."""
    beside = (place.text for place in captions.places(one.captions, counted=False))
    text = page.text if one.reads == "page" else next(beside, "")
    if not text:
        raise UnclearError(_nowhere(one, captions))
    written = [choice for choice in one.choices if text_key(choice) == text_key(text)]
    if len(written) == 1:
        return written[0]
    if classify is None:
        raise UnclearError(f"{text[:60]!r} is none of {listed(one.choices)}, and no bundle answers the field")
    if (answer := classify(text)) is None:
        raise UnclearError("the bundle gives no answer")
    return str(checked(one, answer))


def _items(one: Field, captions: Captions, reasons: dict[str, str]) -> list[dict[str, Any]]:
    rows = table_rows(captions.lines, one.fields, captions)
    items = []
    if rows is not None:
        readers = [_of_row(one.fields, row) for row in rows]
    else:
        readers = [_of_entry(one.fields, entry) for entry in entries(captions.lines, one.fields)]
    if not readers:
        raise UnclearError("no header with the items' captions, no numbered entries, and nothing that is counted")
    for number_, read in enumerate(readers):
        item: dict[str, Any] = {}
        for own in one.fields:
            try:
                item[own.name] = read(own)
            except UnclearError as error:
                item[own.name] = None
                reasons[f"{one.name}[{number_}].{own.name}"] = str(error)
        items.append(item)
    return items


def _of_row(fields: Sequence[Field], row: Mapping[str, str]) -> Callable[[Field], Any]:
    def read(own: Field) -> Any:
        if own.name not in row:
            raise UnclearError(f"nothing in the column {own.captions[0]!r}, or no such column")
        if own.kind == "enum":
            return _written(own, row[own.name])
        return checked(own, _read(own, row[own.name]))

    return read


def _of_entry(fields: Sequence[Field], entry: Sequence[Line]) -> Callable[[Field], Any]:
    """The entry's title is its first field of text; the others stand beside their captions in it."""
    captions = Captions([piece for line in entry for piece in line], [c for one in fields for c in one.captions])
    title = next((one.name for one in fields if one.kind == "string"), None)

    def read(own: Field) -> Any:
        if own.name == title:
            return checked(own, _read(own, title_of(entry)))
        if own.kind == "enum":
            return _choice(own, captions, Page((), 0, 0), None)
        return _value(own, captions)

    return read


def _written(own: Field, text: str) -> str:
    found = [choice for choice in own.choices if text_key(choice) == text_key(text)]
    if len(found) != 1:
        raise UnclearError(f"{text[:60]!r} is none of {listed(own.choices)}")
    return found[0]


def _nowhere(one: Field, captions: Captions) -> str:
    if captions.has(one.captions, counted=True):
        return f"nothing stands beside the caption {one.captions[0]!r}"
    return f"no caption {listed(map(repr, one.captions))} on the page"


def checked(one: Field, value: Any) -> Any:
    """The value, where it satisfies the schema, else UnclearError; of a list, null in its items is told elsewhere."""
    from jsonschema import Draft202012Validator
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    schema = dict(one.schema)
    if one.kind == "items":
        schema.pop("items", None)
    try:
        # Without a registry of its own the validator would open whatever file or address a schema names.
        error = next(Draft202012Validator(schema, registry=Registry()).iter_errors(value), None)
    except Unresolvable as unknown:
        raise UnclearError("found, and the schema leads elsewhere: write it out") from unknown
    if error is not None:
        raise UnclearError(f"found, and refused by the schema: {error.message[:200]}")
    return value
