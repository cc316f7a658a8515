"""Schemas over a bundle's questions: which property is which, and what cannot be filled in."""

from __future__ import annotations

import json
from contextlib import suppress
from enum import Enum, IntEnum
from typing import Any, Literal

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from labelwright.data.asked.questions import Question
from labelwright.data.task import Label, Task
from labelwright.errors import DataError
from labelwright.serve.asked.values import plain_answers, read_answers, schema_of

TOPICS = Question("topics", "labels", (Label("pool"), Label("fence")))
STARS = Question("stars", "score", tuple(map(Label, "123")))
URGENT = Question("is it urgent", "yes_no")
WHO = Question("who", "choice", (Label("owner"), Label("tenant")))
TASK = Task.asking("mail", "Read the mail.", (TOPICS, STARS, URGENT, WHO))
BEST = {"topics": (["fence"], 0.8), "stars": ("2", 0.5), "is it urgent": ("yes", 0.9), "who": ("tenant", 1.0)}


class Topic(Enum):
    POOL = "pool"
    FENCE = "fence"


class Stars(IntEnum):
    ONE = 1
    TWO = 2
    THREE = 3


class Inner(BaseModel):
    Stars: Stars
    is_it_urgent: bool
    confidence: float


class Mail(BaseModel):
    version: Literal["v1"]
    topics: list[Topic]
    about: Inner
    author: Literal["owner", "tenant"] | None
    note: str = ""


def written(schema: Any, task: Task = TASK) -> Any:
    return json.loads(read_answers(schema, task).written(BEST))


def test_what_pydantic_writes_of_several_questions_is_answered_in_its_own_words():
    found = Mail.model_validate(written(Mail.model_json_schema()))
    assert found.topics == [Topic.FENCE]
    assert (found.about.Stars, found.about.is_it_urgent, found.author) == (2, True, "tenant")
    assert found.about.confidence == pytest.approx(0.8 * 0.5 * 0.9)


def test_the_schema_of_a_task_is_filled_by_all_its_answers():
    schema = schema_of(TASK)
    found = written(schema)
    jsonschema.validate(found, schema)
    assert found == {"topics": ["fence"], "stars": 2, "is it urgent": True, "who": "tenant"}
    assert json.loads(plain_answers(TASK).written(BEST)) == found


@pytest.mark.parametrize(("question", "text"), [(TOPICS, '["fence"]'), (STARS, "2"), (URGENT, "yes"), (WHO, "tenant")])
def test_one_answer_is_written_by_itself(question, text):
    assert plain_answers(Task.asking("t", "i", (question,))).written(BEST) == text


def properties(**of: Any) -> dict[str, Any]:
    return {"type": "object", "properties": of, "required": list(of)}


FLAG = {"type": "boolean"}


@pytest.mark.parametrize(
    ("schema", "found"),
    [
        (properties(stars={"type": "integer", "minimum": 1, "maximum": 3}), {"stars": 2}),
        (properties(stars={"enum": ["3", "2", "1"]}), {"stars": "2"}),
        (properties(urgent=FLAG, **{"is it urgent": {"enum": ["yes", "no"]}}), None),
        (properties(**{"Is_It_Urgent": {"enum": ["no", "yes"]}}), {"Is_It_Urgent": "yes"}),
        (properties(written_by={"enum": ["tenant", "owner"]}), {"written_by": "tenant"}),
    ],
)
def test_a_property_is_known_by_its_name_or_by_its_answers(schema, found):
    if found is None:
        with pytest.raises(DataError, match="'urgent' is none of this model's questions"):
            written(schema)
        return
    assert written(schema) == found


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        (properties(stars={"enum": ["1", "2"]}), r"'stars' is of another type than the question: expected .*integer"),
        (properties(stars={"type": "integer", "maximum": 2}), "'stars' is of another type"),
        (properties(who={"enum": ["owner"]}), "'who' is of another type"),
        (properties(topics={"enum": ["pool", "fence"]}), "'topics' is of another type .*array"),
        (properties(topics={"type": "array", "items": {"enum": ["pool", "fence"]}, "minItems": 1}), "may be none or"),
        (properties(topics={"type": "array", "items": {"type": "string"}}), "neither a label nor a constant"),
        (
            properties(roof={"enum": ["flat", "steep"]}),
            "'roof' is none of .*: expected topics: any",
        ),
        (properties(late=FLAG), "'late' is none of this model's questions"),
        (properties(who={"enum": ["owner", "tenant"]}, by={"enum": ["owner", "tenant"]}), "question 'who' twice"),
        (properties(why={"type": "string"}), "neither a label nor a constant"),
        ({"type": "object", "properties": {"why": {"type": "string"}}}, "asks for no answer"),
        ({"properties": {"who": {"enum": [1, "owner"]}}, "required": ["who"]}, "something other than strings"),
    ],
)
def test_what_cannot_be_filled_in_is_said_in_one_line(schema, said):
    with pytest.raises(DataError, match=said) as caught:
        read_answers(schema, TASK)
    assert "\n" not in str(caught.value)


types = st.sampled_from(
    [
        FLAG,
        {"type": "integer"},
        {"enum": [1, 2, 3]},
        {"enum": [True, False]},
        {"enum": ["owner", "tenant", None]},
        {"type": "array", "items": {"enum": ["pool", "fence"]}},
        {"type": "array", "items": FLAG, "maxItems": "x"},
        {"type": "number", "minimum": "x"},
        {"const": {"a": 1}},
        {"type": "string"},
    ]
)
names = st.sampled_from(["topics", "stars", "is it urgent", "who", "confidence", "x"])


flat = st.dictionaries(names, types)


@given(st.dictionaries(names, types | flat.map(lambda of: properties(**of))), st.booleans())
def test_whatever_is_filled_in_fits_its_schema(of, required):
    schema = properties(**of) if required else {"type": "object", "properties": of}
    with suppress(DataError):
        jsonschema.Draft202012Validator(schema).validate(written(schema))
