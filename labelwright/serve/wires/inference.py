"""The text classification of text-embeddings-inference: ``/predict`` and ``/info``, with its errors.

What it takes and gives is in ``labelwright.serve.wires.sequences``. A request names no model, so the first one answers.
Whether a text that is too long is cut is the bundle's setting (``long_rows``), as it was when it was measured:
``truncate`` is read and changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from fastapi import APIRouter
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import Response

from labelwright.data.asked.asking import asking
from labelwright.data.asked.classes import blocks_of
from labelwright.decisions.answered import NO_ANSWER
from labelwright.errors import DataError
from labelwright.serve.asked.rows import found_for
from labelwright.serve.bodies import JSON, described, json_answer, read_json
from labelwright.serve.service import Lease, RefusalError, Service, Wire
from labelwright.serve.wires.sequences import SOURCE, predictions, read_inputs
from labelwright.statistics.metrics import answers

_NO_PLACE = "this protocol has no place for that: ask it at /v1/systemone, /v1/chat/completions or /invocations"
_SHOWN_LABELS = 5
# Its status and type of error where they are not ours; all others are of the type "validation".
_ERRORS = {500: (500, "backend"), 502: (424, "backend"), 503: (429, "overloaded")}
_TEXTS = {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 1}
_BATCH = {"type": "array", "items": _TEXTS, "minItems": 1}
_SCHEMA = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "inputs": {"anyOf": [{"type": "string"}, _TEXTS, _BATCH]},
        "raw_scores": {"type": "boolean", "description": "log-probabilities as scores"},
        "truncate": {"type": "boolean"},
    },
}


def router(service: Service) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["text-embeddings-inference"])

    @routes.post(
        "/predict", summary="Texts in, every label with its score out", openapi_extra=described({JSON: _SCHEMA})
    )
    async def predict(request: Request) -> Response:
        body = await read_json(request)
        if not isinstance(body, dict) or "inputs" not in body:
            raise DataError('the body has no inputs: expected {"inputs": "a text"}')
        raw_scores = _switch(body, "raw_scores")
        _switch(body, "truncate")
        texts, is_batch = read_inputs(body["inputs"])
        with service.lease(request) as lease:
            names, scored = await _scored(lease, texts)
            ranked = [predictions(names, probs.tolist(), raw_scores) for probs in scored]
        return json_answer(ranked if is_batch else ranked[0])

    @routes.get("/info", summary="What the first model is, in text-embeddings-inference's words")
    async def info(request: Request) -> Response:
        with service.lease(request) as lease:
            names = asking(lease.bundle.task).listed or lease.served.names
            ids = {str(place): name for place, name in enumerate(names)}
            classifier = {"id2label": ids, "label2id": {name: place for place, name in enumerate(names)}}
            return json_answer(
                {
                    "model_id": lease.served.id,
                    "model_sha": lease.served.identity,
                    "model_type": {"classifier": classifier},
                    "max_client_batch_size": service.limits.rows,
                    "max_concurrent_requests": service.limits.requests,
                }
            )

    return routes


def refused(refusal: RefusalError) -> tuple[int, dict[str, Any]]:
    """``error`` and ``error_type``."""
    status, kind = _ERRORS.get(refusal.status, (refusal.status, "validation"))
    return status, {"error": refusal.message, "error_type": kind}


WIRE = Wire("inference", "POST /predict, GET /info", router, refused)


async def _scored(lease: Lease, texts: list[str]) -> tuple[Sequence[str], list[NDArray[np.float64]]]:
    """The labels, and a score of each for every text."""
    task = lease.bundle.task
    kind = asking(task)
    if (names := kind.listed) is None:
        raise DataError(f"this model answers {kind.said(_SHOWN_LABELS)}; {_NO_PLACE}")
    probs = [one.probs for one in await found_for(lease, [kind.row(text) for text in texts], SOURCE)]
    if any((answers(np.atleast_2d(one)) < 0).any() for one in probs):
        raise RefusalError(502, "no_answer", NO_ANSWER)
    return names, [blocks_of(task, one[None])[0][0] if task.points else one for one in probs]


def _switch(body: dict[str, Any], name: str) -> bool:
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise DataError(f"{name} is a {type(value).__name__}: expected true or false")
    return bool(value)
