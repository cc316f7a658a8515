"""Schemas as clients send them, and as nobody should: what is filled in always fits what was asked for."""

from __future__ import annotations

from contextlib import suppress
from enum import Enum
from typing import Literal

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from labelwright.errors import DataError
from labelwright.serve.asked.enumeration import read_schema


class Topic(Enum):
    POOL = "pool"
    FENCE = "fence"


class Plain(BaseModel):
    topic: Topic


class Inner(BaseModel):
    label: Literal["pool", "fence"]
    confidence: float
    why: str | None = None


class Nested(BaseModel):
    version: Literal["v1"]
    answer: Inner


class Optional(BaseModel):
    topic: Topic | None


class Free(BaseModel):
    topic: Topic
    reason: str


class Two(BaseModel):
    topic: Topic
    second: Topic


class Itself(BaseModel):
    more: list[Itself]
    topic: Topic


@pytest.mark.parametrize("model", [Plain, Nested, Optional])
def test_what_pydantic_writes_is_answered_in_its_own_words(model):
    form = read_schema(model.model_json_schema())
    assert form.values == ("pool", "fence")
    answer = form.filled("fence", 0.75)
    assert model.model_validate(answer)
    assert "fence" in str(answer)


def test_a_confidence_is_the_labels_probability():
    answer = read_schema(Nested.model_json_schema()).filled("pool", 0.75)
    assert answer == {"version": "v1", "answer": {"label": "pool", "confidence": 0.75}}


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        (Free.model_json_schema(), "property 'reason'"),
        (Two.model_json_schema(), "2 lists of labels"),
        (Itself.model_json_schema(), "property 'more'"),
        ({"type": "object", "properties": {}}, "0 lists of labels"),
        ({"properties": {"n": {"enum": [1, 2]}}, "required": ["n"]}, "other than strings"),
        ({"anyOf": [{"enum": ["a"]}, {"enum": ["b"]}]}, "anyOf of 2"),
        ({"properties": {"topic": {"enum": ["a"]}}, "required": ["topic", "id"]}, "property 'id' is required"),
        ({"$ref": "#"}, "can be followed"),
        ({"$ref": "#/$defs/nowhere"}, "can be followed"),
        ({"properties": {name: {"$ref": "#"} for name in "abcdefgh"}, "required": list("abcdefgh")}, "be followed"),
        (None, "can be followed"),
    ],
)
def test_what_would_have_to_be_made_up_is_refused_in_one_line(schema, said):
    with pytest.raises(DataError, match=said) as caught:
        read_schema(schema)
    assert "\n" not in str(caught.value)
    assert "expected an object with one property" in str(caught.value)


names = st.text(st.characters(codec="utf-8"), max_size=4)
leaves = st.one_of(
    st.builds(lambda values: {"enum": values}, st.lists(names, min_size=1, max_size=3)),
    st.builds(lambda value: {"const": value}, st.one_of(names, st.integers(), st.none())),
    st.just({"type": "string"}),
    st.just({"type": "number"}),
    st.just({"$ref": "#"}),
)
schemas = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(
            lambda properties, required: {
                "type": "object",
                "properties": properties,
                "required": [name for name in properties if name in required],
            },
            st.dictionaries(st.one_of(names, st.just("confidence")), inner, max_size=3),
            st.sets(st.one_of(names, st.just("confidence"))),
        ),
        st.builds(lambda one: {"anyOf": [one, {"type": "null"}]}, inner),
        st.builds(lambda one: {"allOf": [one]}, inner),
    ),
    max_leaves=6,
)


@given(schemas)
def test_whatever_is_not_refused_fits_the_schema(schema):
    try:
        form = read_schema(schema)
    except DataError:
        return
    for label in form.values:
        jsonschema.validate(form.filled(label, 0.5), schema)


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), names),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.one_of(names, st.sampled_from(["$ref", "enum", "properties", "required", "anyOf", "const"])), inner
        ),
    ),
)


@given(json_values)
def test_anything_else_is_refused_and_breaks_nothing(value):
    with suppress(DataError):
        read_schema(value)
