"""The text classification of text-embeddings-inference: ``/predict`` and ``/info``, with its errors.

What it takes and gives is in ``labelwright.serve.wires.sequences``. A request names no model, so the first one answers.
Whether a text that is too long is cut is the bundle's setting (``long_rows``), as it was when it was measured:
``truncate`` is read and changes nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from fastapi import APIRouter
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import Response

from labelwright.data.records import Fault, refusal
from labelwright.decisions.answered import NO_ANSWER
from labelwright.errors import DataError
from labelwright.serve.bodies import JSON, described, json_answer, read_json
from labelwright.serve.service import Lease, RefusalError, Service, Wire
from labelwright.serve.wires.sequences import SOURCE, predictions, read_inputs
from labelwright.statistics.metrics import answers

_NO_CHOICES = (
    "this model chooses among each row's own choices, for which this protocol has no place: ask it at /v1/systemone, "
    "/v1/chat/completions or /invocations"
)
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
            scored = await _scored(lease, texts)
            ranked = [predictions(lease.served.names, probs.tolist(), raw_scores) for probs in scored]
        return json_answer(ranked if is_batch else ranked[0])

    @routes.get("/info", summary="What the first model is, in text-embeddings-inference's words")
    async def info(request: Request) -> Response:
        with service.lease(request) as lease:
            names = lease.served.names
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


async def _scored(lease: Lease, texts: list[str]) -> list[NDArray[np.float64]]:
    if lease.bundle.task.by_row:
        raise DataError(_NO_CHOICES)
    found = await lease.probabilities(texts)
    if faults := [Fault(n, str(one)) for n, one in enumerate(found, start=1) if isinstance(one, DataError)]:
        raise refusal(SOURCE, faults)
    scored = [one for one in found if not isinstance(one, DataError)]
    if any(answers(one) < 0 for one in scored):
        raise RefusalError(502, "no_answer", NO_ANSWER)
    return scored


def _switch(body: dict[str, Any], name: str) -> bool:
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise DataError(f"{name} is a {type(value).__name__}: expected true or false")
    return bool(value)
