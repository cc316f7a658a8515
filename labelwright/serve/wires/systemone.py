"""System One: ``POST /v1/systemone``, a state and typed questions in, a probability for every answer out.

The contract is the one that jevcompat 0.1.1 checks (its SPEC.md). A question is of one type: ``choice`` (2 to 255 named
options), ``noul`` (how likely is yes) or ``score`` (2 to 10 levels, and the expected one). Which question is the
bundle's own, and how others are put to its model, is ``labelwright.serve.questions``'. A question's id takes no
part, unless it says nothing else by which it could be known.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from fastapi import APIRouter
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import Response

from labelwright.bundle.types import Bundle
from labelwright.decisions.answered import NO_ANSWER
from labelwright.decisions.decision import Decision
from labelwright.errors import DataError, LabelwrightError
from labelwright.serve.bodies import JSON, described, json_answer, read_json
from labelwright.serve.questions import Question, as_text, of_bundle, probabilities_of, put
from labelwright.serve.service import Lease, RefusalError, Service, Wire
from labelwright.statistics.metrics import answers

PATH = "/v1/systemone"
# What clients send who were not told a model's name; it is the first model.
ANY_MODEL = frozenset({"jev-latest"})
MOST_OPTIONS, MOST_LEVELS = 255, 10
_FEWEST = 2
# What a request may ask of the bundle's promise, each behind x_ (``labelwright.decisions.asked.Asked``).
_ASKED = ("max_error", "confidence", "by_label", "sets")

_Fault = dict[str, Any]


def router(service: Service) -> APIRouter:
    """The one route."""
    routes = APIRouter(tags=["System One"])

    @routes.post(
        PATH,
        summary="A state and questions in, a probability for every answer out",
        openapi_extra=described({JSON: _SCHEMA}),
    )
    async def systemone(request: Request) -> Response:
        body = await read_json(request)
        if faults := list(faults_of(body, service.limits.questions)):
            raise invalid(faults)
        name = None if body["model"] in ANY_MODEL else body["model"]
        with service.lease(request, name) as lease:
            return json_answer(await answered(lease, body))

    return routes


def refused(refusal: RefusalError) -> tuple[int, dict[str, Any]]:
    """``detail`` is a list of all faults of a body, or one error with its type."""
    if refusal.faults:
        return refusal.status, {"detail": list(refusal.faults)}
    if refusal.status == 422:
        return 422, {"detail": [_fault([], refusal.message, refusal.kind)]}
    return refusal.status, {"detail": {"error_type": refusal.kind, "message": refusal.message}}


WIRE = Wire("systemone", "POST /v1/systemone (choice, noul, score)", router, refused)


async def answered(lease: Lease, body: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to a request in which ``faults_of`` finds nothing. Raises RefusalError."""
    state, questions = body["state"], body["questions"]
    wanted = {name: body[f"x_{name}"] for name in _ASKED if body.get(f"x_{name}") is not None}
    # Other requests are not to wait until this one's promise is worked out.
    bundle = await asyncio.to_thread(_promising, lease.bundle, wanted) if wanted else lease.bundle
    puts = {id: put(bundle, state, _question(id, one)) for id, one in questions.items()}
    if not lease.served.has_language_model and (foreign := [id for id, one in puts.items() if not one.is_own]):
        raise invalid(
            [_fault(["questions", id], f"not answered: {of_bundle(bundle)}", "not_answered") for id in foreign]
        )
    found = await probabilities_of(lease, list(puts.values()))
    said = {}
    for (id, one), probs in zip(puts.items(), found, strict=True):
        if isinstance(probs, DataError):
            raise invalid([_fault(["state"], str(probs), "value_error")])
        if answers(probs) < 0:
            raise RefusalError(502, "no_answer", NO_ANSWER)
        outside = await one.outside_of(lease, probs)
        beside = one.beside(probs, _question(id, questions[id]).names, outside)
        said[id] = _answer(questions[id], probs, one.decision, outside) | {"x_level": one.level} | beside
    n_tokens = sum(lease.served.count_tokens(one.prompt, [one.text]) for one in puts.values() if not one.is_own)
    n_tokens += lease.served.count_tokens(bundle.prompt, [one.text for one in puts.values() if one.is_own])
    return {
        "model": lease.served.id,
        "answers": said,
        "usage": {"input_tokens": n_tokens, "output_tokens": len(questions)},
    }


def _promising(bundle: Bundle, wanted: Mapping[str, Any]) -> Bundle:
    """The bundle with what this request asks of its promise. Raises RefusalError for what it cannot keep."""
    try:
        asked = replace(bundle, promise=bundle.promise.ask(**wanted))
        # Both are kept by the bundle, and cost time here and not where they are read.
        _ = asked.decision, asked.set_thresholds
        return asked
    except LabelwrightError as error:
        raise invalid([_fault([f"x_{next(iter(wanted))}"], str(error), "value_error")]) from error


def _question(id: str, question: Mapping[str, Any]) -> Question:
    """A checked question in the words of ``labelwright.serve.questions``; its id names one that says nothing else."""
    kind, criteria = question["type"], question.get("criteria") or {}
    instructions = as_text(question.get("instructions"))
    called = instructions or id
    if kind == "choice":
        options = tuple((name, as_text(description)) for name, description in criteria.items())
        return Question(instructions or "Which of the labels fits?", options, is_choice=True, called=called)
    if kind == "score":
        levels = tuple((str(level), as_text(description)) for level, description in enumerate(criteria))
        return Question(instructions or "Which level fits?", levels, is_scale=True, called=called)
    yes_and_no = tuple((name, as_text(criteria.get(side))) for name, side in (("yes", "true"), ("no", "false")))
    return Question(instructions or "Is it so? Answer yes or no.", yes_and_no, called=called)


def _answer(
    question: Mapping[str, Any], probs: NDArray[np.float64], decision: Decision, outside: Any
) -> dict[str, Any]:
    values: list[float] = probs.tolist()
    if question["type"] == "noul":
        return {"type": "noul", "noul": values[0]}
    if question["type"] == "choice":
        names, decided = list(question["criteria"]), decision.decide(probs[None], outside)
        return {
            "type": "choice",
            # The contract has no place for none: what it would have said, and beside it that it says nothing.
            "choice": names[int(decided.choice[0])],
            "probabilities": dict(zip(names, values, strict=True)),
            "confidence": choice_confidence(values),
        }
    return {
        "type": "score",
        "score": sum(level * p for level, p in enumerate(values)),
        "legend": {str(level): said for level, said in enumerate(question["criteria"])},
        "probabilities": {str(level): p for level, p in enumerate(values)},
        "confidence": score_confidence(values),
    }


def choice_confidence(probs: Sequence[float]) -> float:
    """How far the highest probability is from even to certain, in [0, 1].

    >>> choice_confidence([0.75, 0.25]), choice_confidence([0.5, 0.5])
    (0.5, 0.0)
    """
    even = 1 / len(probs)
    return min(1.0, max(0.0, (max(probs) - even) / (1 - even)))


def score_confidence(probs: Sequence[float]) -> float:
    """How near the levels' probability lies to the likeliest level, in [0, 1]; 0 is as far as that of all alike.

    The mean distance from the likeliest level, over that of even probabilities from the middle, taken from 1.

    >>> score_confidence([0.0, 1.0, 0.0]), score_confidence([0.5, 0.0, 0.5])
    (1.0, 0.0)
    """
    n = len(probs)
    mode = max(range(n), key=lambda level: probs[level])
    spread = sum(p * abs(level - mode) for level, p in enumerate(probs))
    even = sum(abs(level - (n - 1) / 2) for level in range(n)) / n
    return max(0.0, 1 - spread / even)


def invalid(faults: Sequence[_Fault]) -> RefusalError:
    """The refusal of a body for all that is wrong with it."""
    return RefusalError(422, "invalid_request", str(faults[0]["msg"]), faults)


def _fault(where: Sequence[Any], message: str, kind: str) -> _Fault:
    return {"loc": ["body", *where], "msg": message, "type": kind}


def faults_of(body: Any, most_questions: int) -> list[_Fault]:
    """All that is wrong with a request, as FastAPI would say it."""
    if not isinstance(body, dict):
        return [_fault([], "Input should be a valid dictionary", "dict_type")]
    found = [
        _fault([name], "Field required", "missing") for name in ("state", "model", "questions") if name not in body
    ]
    if "state" in body and not isinstance(body["state"], str | dict | list):
        found.append(_fault(["state"], "Input should be a valid string, object or array", "union_type"))
    if "model" in body and not isinstance(body["model"], str):
        found.append(_fault(["model"], "Input should be a valid string", "string_type"))
    if "questions" not in body:
        return found
    questions = body["questions"]
    if not isinstance(questions, dict):
        return [*found, _fault(["questions"], "Input should be a valid dictionary", "dict_type")]
    if not 1 <= len(questions) <= most_questions:
        return [*found, _counted(["questions"], "questions", len(questions), 1, most_questions)]
    for id, question in questions.items():
        found += _question_faults(["questions", id], question)
    return found


def _question_faults(where: list[Any], question: Any) -> list[_Fault]:
    if not isinstance(question, dict):
        return [_fault(where, "Input should be a valid dictionary", "dict_type")]
    if "type" not in question:
        return [_fault([*where, "type"], "Field required", "missing")]
    kind, criteria = question["type"], question.get("criteria")
    if kind not in ("noul", "choice", "score"):
        return [_fault([*where, "type"], "Input should be 'noul', 'choice' or 'score'", "union_tag_invalid")]
    where = [*where, kind]
    found = _text_faults([*where, "instructions"], question.get("instructions"))
    where = [*where, "criteria"]
    if kind == "noul":
        if criteria is not None and (not isinstance(criteria, dict) or set(criteria) - {"true", "false"}):
            return [*found, _fault(where, "Input should be an object with 'true' and/or 'false'", "model_type")]
        described: Mapping[Any, Any] = criteria or {}
    elif kind == "choice":
        if not isinstance(criteria, dict):
            return [*found, _fault(where, "Input should be a valid dictionary", "dict_type")]
        if not _FEWEST <= len(criteria) <= MOST_OPTIONS:
            return [*found, _counted(where, "options", len(criteria), _FEWEST, MOST_OPTIONS)]
        described = criteria
    else:
        if not isinstance(criteria, list):
            return [*found, _fault(where, "Input should be a valid list", "list_type")]
        if not _FEWEST <= len(criteria) <= MOST_LEVELS:
            return [*found, _counted(where, "levels", len(criteria), _FEWEST, MOST_LEVELS)]
        described = dict(enumerate(criteria))
        found += [_fault([*where, at], "Field required", "missing") for at, one in described.items() if one is None]
    for name, description in described.items():
        found += _text_faults([*where, name], description)
    return found


def _text_faults(where: list[Any], value: Any) -> list[_Fault]:
    if value is None or isinstance(value, str | dict | list):
        return []
    return [_fault(where, "Input should be a valid string, object or array", "union_type")]


def _counted(where: list[Any], noun: str, n: int, least: int, most: int) -> _Fault:
    kind = "too_short" if n < least else "too_long"
    return _fault(where, f"expected {least} to {most} {noun}, found {n}", kind)


_SAID = {"anyOf": [{"type": "string"}, {"type": "object"}, {"type": "array"}, {"type": "null"}]}
_LEVEL = {"anyOf": [{"type": "string"}, {"type": "object"}, {"type": "array"}]}


def _schema(kind: str, criteria: dict[str, Any], *required: str) -> dict[str, Any]:
    properties = {"type": {"const": kind}, "instructions": _SAID, "criteria": criteria}
    return {"type": "object", "properties": properties, "required": ["type", *required]}


_QUESTIONS = [
    _schema(
        "noul",
        {
            "anyOf": [
                {"type": "object", "properties": {"true": _SAID, "false": _SAID}, "additionalProperties": False},
                {"type": "null"},
            ]
        },
    ),
    _schema(
        "choice",
        {"type": "object", "additionalProperties": _SAID, "minProperties": _FEWEST, "maxProperties": MOST_OPTIONS},
        "criteria",
    ),
    _schema("score", {"type": "array", "items": _LEVEL, "minItems": _FEWEST, "maxItems": MOST_LEVELS}, "criteria"),
]
_SCHEMA = {
    "type": "object",
    "required": ["model", "state", "questions"],
    "properties": {
        "model": {"type": "string", "description": "A model's id, or jev-latest for the first"},
        "state": {"anyOf": [{"type": "string"}, {"type": "object"}, {"type": "array"}]},
        "x_max_error": {"type": "number", "description": "Abstain where more of the answered rows might be wrong"},
        "x_confidence": {"type": "number", "description": "With which that is promised"},
        "x_by_label": {"type": "boolean", "description": "Promise it for the rows of each answered label"},
        "x_sets": {"type": "number", "description": "Give sets of labels that so often hold the right one"},
        "questions": {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": {"anyOf": _QUESTIONS},
        },
    },
}
