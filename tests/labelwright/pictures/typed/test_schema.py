"""A schema is data: what can be filled is read, everything else is refused with its place."""

from __future__ import annotations

import json

import pytest

from labelwright.errors import DataError
from labelwright.pictures.typed.schema import fields_of, read_schema


def schema(**properties):
    return {"type": "object", "properties": properties}


def test_fields_know_their_kind_and_captions():
    found = fields_of(
        schema(
            full_name={"type": "string"},
            born={"type": ["string", "null"], "format": "date", "title": "Date of birth", "x-date-order": "dmy"},
            topic={"enum": ["a", "b"], "x-reads": "page", "x-captions": ["About"]},
            goods={"type": "array", "items": schema(price={"type": "number"})},
        )
    )
    assert [one.kind for one in found] == ["string", "date", "enum", "items"]
    assert [one.captions for one in found] == [("full name",), ("Date of birth",), ("topic", "About"), ("goods",)]
    assert (found[1].order, found[2].reads, found[2].choices) == ("dmy", "page", ("a", "b"))
    assert [one.name for one in found[3].fields] == ["price"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([], 'expected a JSON Schema of "type": "object"'),
        ({"type": "object"}, 'with "properties"'),
        (schema(a={"$ref": "https://example.com/s.json"}), r"\$ref is not followed"),
        (schema(a={"type": "string", "$dynamicRef": "file:///etc/hostname"}), r"\$dynamicRef is not followed"),
        (schema(a={"type": "string", "allOf": [{"not": {"$recursiveRef": "#"}}]}), r"\$recursiveRef is not followed"),
        (schema(a={"type": "string", "$REF": "#"}), r"\$REF is not followed"),
        (schema(a={"type": "text"}), "not a JSON Schema: at properties/a/type"),
        (schema(a={"type": "object"}), "a: type is 'object', expected one of"),
        (schema(a={}), "a: type is None"),
        (schema(a={"enum": [1, 2]}), "a: expected an enum of texts"),
        (schema(a={"type": "string", "x-date-order": "ymd"}), "x-date-order is 'ymd'"),
        (schema(a={"type": "string", "x-captions": "Sum due"}), "a: x-captions is 'Sum due', expected a list of texts"),
        (schema(a={"type": "string", "x-captions": 3}), "a: x-captions is '3', expected a list of texts"),
        (schema(a={"type": "string", "x-captions": ["Sum", " "]}), "a: x-captions is .* expected a list of texts"),
        (schema(a={"enum": ["b"], "x-reads": "all"}), "x-reads is 'all'"),
        (schema(a={"type": "array", "items": {"type": "string"}}), "a: expected an array of flat objects"),
        (schema(a={"type": "array", "items": schema(b={"type": "array"})}), "a.b: expected an array of flat objects"),
    ],
)
def test_what_cannot_be_filled_is_refused(content, said):
    with pytest.raises(DataError, match=said) as raised:
        fields_of(content)
    assert "\n" not in str(raised.value)


def test_a_reference_number_is_a_field_as_any_other():
    assert [one.name for one in fields_of(schema(ref={"type": "string"}, our_Ref={"type": "string"}))] == [
        "ref",
        "our_Ref",
    ]


def test_files_are_named(tmp_path):
    place = tmp_path / "s.json"
    with pytest.raises(DataError, match="cannot be read"):
        read_schema(place)
    place.write_text("{")
    with pytest.raises(DataError, match=r"s\.json: not JSON"):
        read_schema(place)
    place.write_text(json.dumps(schema(a={"type": "number"})))
    assert read_schema(place)[0].kind == "number"
