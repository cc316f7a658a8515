"""OpenAI's Decisions (public beta): ``/v1/decisions``, typed questions about an input, a probability for every answer.

It is System One in other words: a list of questions in place of a map, "predicate" for "noul", an input of messages for
a state. So a request is put into System One's words, answered there, and the answers are put back. The fields are those
of ``openai.types.decision_create_params`` in openai-python 3.57; of an input, the text of user messages is read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field, StrictBool, StrictStr
from starlette.requests import Request
from starlette.responses import Response

from labelwright.errors import DataError
from labelwright.serve.bodies import json_answer, read_json
from labelwright.serve.service import Service, Wire
from labelwright.serve.wires import systemone
from labelwright.serve.wires.openai import document, read_as, refused

PATH = "/v1/decisions"


class Part(BaseModel):
    """A part of a text; images are not read."""

    type: Literal["input_text", "input_json"]
    text: str | None = None
    data: Any = None

    @property
    def words(self) -> str:
        """The part as plain text."""
        return (self.text or "") if self.type == "input_text" else json.dumps(self.data, ensure_ascii=False)


class Message(BaseModel):
    """A message of the input: what a user said, for that is what a classifier reads."""

    role: Literal["user"]
    content: str | list[Part]
    type: Literal["message"] = "message"


class Predicate(BaseModel):
    """How likely is it that a statement about the input is true?"""

    type: Literal["predicate"]
    instructions: str | list[Part]
    name: str | None = None


class ChoiceValue(BaseModel):
    """One of the choices."""

    value: StrictStr | StrictBool
    description: str | None = None


class Choice(BaseModel):
    """Which of the choices?"""

    type: Literal["choice"]
    instructions: str | list[Part]
    choices: list[ChoiceValue] = Field(min_length=2, max_length=systemone.MOST_OPTIONS)
    name: str | None = None


class Level(BaseModel):
    """A level of a score, the lowest first."""

    label: str
    description: str | None = None


class Score(BaseModel):
    """Which of the levels, and the expected one?"""

    type: Literal["score"]
    instructions: str | list[Part]
    levels: list[Level] = Field(min_length=2, max_length=systemone.MOST_LEVELS)
    name: str | None = None


Question = Annotated[Predicate | Choice | Score, Field(discriminator="type")]


class DecisionRequest(BaseModel):
    """A request; fields that are not named here (caching, safety identifiers) have no influence."""

    model: str
    input: str | list[Message]
    questions: list[Question] = Field(min_length=1)


def router(service: Service) -> APIRouter:
    """The one route."""
    routes = APIRouter(tags=["OpenAI"])

    @routes.post(PATH, summary="An input and questions in, typed answers out", openapi_extra=document(DecisionRequest))
    async def decisions(request: Request) -> Response:
        asked = read_as(DecisionRequest, await read_json(request))
        body = as_systemone(asked)
        if faults := systemone.faults_of(body, service.limits.questions):
            raise systemone.invalid(faults)
        with service.lease(request, asked.model) as lease:
            return json_answer(from_systemone(asked, await systemone.answered(lease, body)))

    return routes


WIRE = Wire("decisions", "POST /v1/decisions (predicate, choice, score)", router, refused)


def as_systemone(asked: DecisionRequest) -> dict[str, Any]:
    """The same request in System One's words; a question's place in the list is its id.

    Raises
    ------
    DataError
        Choices that read the same, as "true" and true do.
    """
    if isinstance(asked.input, str):
        state = asked.input
    else:
        state = "\n".join(_words(message.content) for message in asked.input)
    questions = {str(place): _question(one, place) for place, one in enumerate(asked.questions)}
    return {"model": asked.model, "state": state, "questions": questions}


def from_systemone(asked: DecisionRequest, answered: Mapping[str, Any]) -> dict[str, Any]:
    """System One's answer in the words of Decisions, answers in the questions' order."""
    counted = answered["usage"]["input_tokens"]
    return {
        "model": answered["model"],
        "answers": [_answer(one, answered["answers"][str(place)]) for place, one in enumerate(asked.questions)],
        "usage": {
            "input_tokens": counted,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            # Nothing is generated.
            "output_tokens": 0,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": counted,
        },
    }


def _question(one: Predicate | Choice | Score, place: int) -> dict[str, Any]:
    said = _words(one.instructions)
    if isinstance(one, Predicate):
        return {"type": "noul", "instructions": said}
    if isinstance(one, Score):
        levels = [f"{level.label}: {level.description}" if level.description else level.label for level in one.levels]
        return {"type": "score", "instructions": said, "criteria": levels}
    criteria = {_name(choice.value): choice.description for choice in one.choices}
    if len(criteria) < len(one.choices):
        raise DataError(f"questions.{place}: two of its choices read the same; give each value once")
    return {"type": "choice", "instructions": said, "criteria": criteria}


def _answer(one: Predicate | Choice | Score, answer: Mapping[str, Any]) -> dict[str, Any]:
    head = {"type": one.type, "name": one.name, **{key: said for key, said in answer.items() if key.startswith("x_")}}
    if isinstance(one, Predicate):
        return head | {"probability": answer["noul"]}
    probs, sure = answer["probabilities"], {"confidence": answer["confidence"]}
    if isinstance(one, Score):
        shares = [
            {"value": value, "label": level.label, "probability": probs[str(value)]}
            for value, level in enumerate(one.levels)
        ]
        return head | sure | {"score": answer["score"], "probabilities": shares}
    shares = [{"value": choice.value, "probability": probs[_name(choice.value)]} for choice in one.choices]
    best = next(choice.value for choice in one.choices if _name(choice.value) == answer["choice"])
    return head | sure | {"choice": best, "probabilities": shares}


def _words(said: str | list[Part]) -> str:
    return said if isinstance(said, str) else "\n".join(part.words for part in said)


def _name(value: str | bool) -> str:
    return value if isinstance(value, str) else str(value).lower()
