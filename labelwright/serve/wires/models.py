"""``GET /v1/models``: which models there are, in one answer that System One's and OpenAI's clients both read."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from labelwright.data.records import listed
from labelwright.serve.bodies import json_answer
from labelwright.serve.served import Served
from labelwright.serve.service import Service, Wire
from labelwright.serve.wires.systemone import refused

_SHOWN_LABELS = 5


def described(served: Served) -> str:
    """What a model answers, in a line."""
    task = served.bundle.task
    if task.by_row:
        return f"{task.name}: one of up to {task.max_choices} choices that come with the question"
    return f"{task.name}: one of {len(served.names)} labels: {listed(served.names, _SHOWN_LABELS)}"


def router(service: Service) -> APIRouter:
    """The one route."""
    routes = APIRouter(tags=["models"])

    @routes.get("/v1/models", summary="The models, the first of which answers where none is named")
    async def models(request: Request) -> Response:
        return json_answer(_listed(list(service.served.values())))

    return routes


def model_object(served: Served) -> dict[str, Any]:
    """A model as OpenAI describes it."""
    return {
        "id": served.id,
        "object": "model",
        "created": served.created,
        "owned_by": "labelwright",
        "x_identity": served.identity,
    }


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
