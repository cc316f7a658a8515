"""OpenAI's routes: ``/v1/chat/completions`` and ``/v1/models/{id}``, with its errors.

What a chat means to a classifier is ``labelwright.serve.wires.chat``'s; the list of models, which System One's clients
read as well, is ``labelwright.serve.wires.models``'.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from fastapi import APIRouter
from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from labelwright.data.asked.asking import asking
from labelwright.decisions.answered import answer
from labelwright.errors import DataError
from labelwright.plain_text import printable_line
from labelwright.prompt import Prompt
from labelwright.serve.asked.rows import found_for
from labelwright.serve.bodies import JSON, described, json_answer, read_json
from labelwright.serve.questions import Question, probabilities_of, put
from labelwright.serve.service import Lease, RefusalError, Service, Wire
from labelwright.serve.wires.chat import (
    Asked,
    Said,
    about,
    answered,
    answered_questions,
    chunks,
    completion,
    read_chat,
)
from labelwright.serve.wires.chat_request import ChatRequest
from labelwright.serve.wires.models import model_object

CHAT, MODEL = "/v1/chat/completions", "/v1/models/{id:path}"
Body = TypeVar("Body", bound=BaseModel)
# OpenAI's types of error by ours; anything else that a client did wrong is an invalid request.
_TYPES = {401: "authentication_error", 403: "permission_error", 500: "server_error", 503: "server_error"}
_CODES = {401: "invalid_api_key", 404: "model_not_found"}


def document(request: type[BaseModel]) -> dict[str, Any]:
    """A request's schema, as a route takes it for the OpenAPI document."""
    schema = request.model_json_schema()
    return described({JSON: _inlined(schema, schema.get("$defs", {}))})


def router(service: Service) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["OpenAI"])

    @routes.post(CHAT, summary="A chat in, the label of its last user message out", openapi_extra=document(ChatRequest))
    async def chat_completions(request: Request) -> Response:
        asked = read_as(ChatRequest, await read_json(request))
        with service.lease(request, asked.model) as lease:
            return await _answer(lease, asked)

    @routes.get(MODEL, summary="One model")
    async def model(request: Request, id: str) -> Response:
        with service.lease(request, id) as lease:
            return json_answer(model_object(lease.served))

    return routes


def refused(refusal: RefusalError) -> tuple[int, dict[str, Any]]:
    """``error`` with its message, type, param and code."""
    # What is said to be unprocessable elsewhere is a bad request here.
    status = 400 if refusal.status == 422 else refusal.status
    param = ".".join(str(step) for step in refusal.faults[0]["loc"][1:]) if refusal.faults else None
    error = {
        "message": refusal.message,
        "type": _TYPES.get(status, "invalid_request_error"),
        "param": param or None,
        "code": _CODES.get(status),
    }
    return status, {"error": error}


WIRE = Wire("openai", "POST /v1/chat/completions, GET /v1/models", router, refused)


def read_as(request: type[Body], body: Any) -> Body:
    """A body as the request that it is to be. Raises RefusalError with all that is wrong with it."""
    try:
        return request.model_validate(body)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        faults = [{"loc": ["body", *one["loc"]], "msg": one["msg"], "type": one["type"]} for one in found]
        said = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in found)
        raise RefusalError(400, "invalid_request", printable_line(said)[:500], faults) from error


async def _answer(lease: Lease, request: ChatRequest) -> Response:
    served = lease.served
    asked = read_chat(request, lease.bundle.task)
    said, prompt, texts = await (_label if asked.answers is None else _typed)(lease, asked)
    notes = about(
        asked,
        said,
        model=served.id,
        identity=served.identity,
        prompt_tokens=served.count_tokens(prompt, texts),
        answer_tokens=served.engine.count_tokens(said.content or ""),
        n=request.n or 1,
    )
    if request.stream:
        return StreamingResponse(chunks(request, said, notes), media_type="text/event-stream")
    return json_answer(completion(request, said, notes))


async def _label(lease: Lease, asked: Asked) -> tuple[Said, Prompt, Sequence[str]]:
    """A label as the answer, and what was asked for it."""
    question = put(lease.bundle, asked.text, _question(asked))
    (probs,) = await probabilities_of(lease, [question])
    if isinstance(probs, DataError):
        raise RefusalError(400, "invalid_request", f"messages: {probs}")
    outside = await question.outside_of(lease, probs)
    beside = question.beside(probs, asked.labels, outside)
    return answered(asked, probs, question.decision, outside, beside), question.prompt, [question.text]


async def _typed(lease: Lease, asked: Asked) -> tuple[Said, Prompt, Sequence[str]]:
    """The same of answers to all of a bundle's questions."""
    assert asked.answers is not None
    bundle = lease.bundle
    row = asking(bundle.task).row(asked.text)
    (found,) = await found_for(lease, [row], "messages", only=True)
    return answered_questions(asked.answers, answer(bundle, *found), bundle), bundle.prompt, row.texts


def _question(asked: Asked) -> Question:
    return Question("", tuple((label, "") for label in asked.labels), is_choice=True)


def _inlined(schema: Any, of: dict[str, Any]) -> Any:
    """A schema with its references written out, to stand inside another document."""
    if isinstance(schema, dict) and "$ref" in schema:
        return _inlined(of[schema["$ref"].rpartition("/")[2]], of)
    if isinstance(schema, dict):
        # Discriminators point to the definitions as well, and say nothing that the schemas do not.
        return {key: _inlined(one, of) for key, one in schema.items() if key not in ("$defs", "discriminator")}
    return [_inlined(one, of) for one in schema] if isinstance(schema, list) else schema
