"""``GET /v1/models``: which models there are, in one answer that System One's and OpenAI's clients both read."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from labelwright.data.asked.asking import asking
from labelwright.data.asked.questions import points_of
from labelwright.data.task import Task
from labelwright.serve.asked.values import is_typed, schema_of
from labelwright.serve.bodies import json_answer
from labelwright.serve.served import Served
from labelwright.serve.service import Service, Wire
from labelwright.serve.wires.systemone import refused

_SHOWN_LABELS = 5


def described(served: Served) -> str:
    """What a model answers, in a line."""
    task = served.bundle.task
    return f"{task.name}: {asking(task).said(_SHOWN_LABELS)}"


def router(service: Service) -> APIRouter:
    """The one route."""
    routes = APIRouter(tags=["models"])

    @routes.get("/v1/models", summary="The models, the first of which answers where none is named")
    async def models(request: Request) -> Response:
        return json_answer(_listed(list(service.served.values())))

    return routes


def model_object(served: Served) -> dict[str, Any]:
    """A model as OpenAI describes it; beside it what it is asked, where that is more than one label of a list.

    ``x_questions``: each as System One takes it, by its name. ``x_schema``: the answers to all of them as a JSON
    schema, for a chat's ``response_format``.
    """
    task = served.bundle.task
    typed = {"x_questions": questions_of(task), "x_schema": schema_of(task)} if is_typed(task) else {}
    return {
        "id": served.id,
        "object": "model",
        "created": served.created,
        "owned_by": "labelwright",
        "x_identity": served.identity,
        **typed,
    }


def questions_of(task: Task) -> dict[str, Any]:
    """A task's questions in System One's words, by the names of its points.

    >>> from labelwright.data.asked.questions import Question
    >>> questions_of(Task.asking("mail", "Read it.", [Question("urgent", "yes_no")]))
    {'urgent': {'type': 'noul', 'instructions': 'urgent'}}
    """
    asked = {}
    for point in points_of(task.questions):
        kind = task.questions[point.question].kind
        criteria = {one.name: one.description or None for one in point.answers}
        if kind == "choice":
            asked[point.name] = {"type": "choice", "instructions": point.name, "criteria": criteria}
        elif kind == "score":
            asked[point.name] = {"type": "score", "instructions": point.name, "criteria": list(criteria)}
        else:
            asked[point.name] = {"type": "noul", "instructions": point.name}
    return asked


def _listed(models: list[Served]) -> dict[str, Any]:
    data = [model_object(one) for one in models]
    described_too = [
        {
            "name": one.id,
            "description": described(one),
            "release_date": time.strftime("%Y-%m-%d", time.gmtime(one.created)),
        }
        for one in models
    ]
    return {"object": "list", "data": data, "models": described_too}


WIRE = Wire("models", "GET /v1/models", router, refused)
