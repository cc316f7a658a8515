"""MLflow's scoring protocol: ``/invocations``, ``/ping`` and ``/version``, as its own server has them.

Whoever calls a registered model's endpoint can call this instead: the predictions have the columns that the registered
model has (``labelwright.decisions.answered.table_row``). The tables are read by ``labelwright.serve.wires.tables``. A
request names no model, so the first one answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from labelwright.data.formats.parquet_apart import BeyondError, Bounds, read_apart
from labelwright.decisions.answered import table_row
from labelwright.errors import MissingExtraError
from labelwright.pictures.sent import off_the_loop
from labelwright.serve.asked.rows import found_for
from labelwright.serve.bodies import (
    CSV,
    JSON,
    PARQUET,
    described,
    json_answer,
    media_type_of,
    read_body,
    read_json,
)
from labelwright.serve.limits import Limits
from labelwright.serve.service import RefusalError, Service, Wire
from labelwright.serve.wires.tables import SOURCE, Record, columns_to_read, csv_records, json_records, read_rows

# MLflow's own names of what went wrong.
_CODES = {
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "ENDPOINT_NOT_FOUND",
    500: "INTERNAL_ERROR",
    503: "TEMPORARILY_UNAVAILABLE",
}
_ROWS = {"type": "array"}
_COLUMNS = {"type": "object", "description": "a list a column"}
_CSV_SCHEMA = {"type": "string", "description": "a header, and a line a row"}
_PARQUET_SCHEMA = {"type": "string", "format": "binary", "description": "a Parquet file"}
# Processes that read Parquet at a time; others wait.
_READERS = 2
_SCHEMA = {
    "type": "object",
    "description": "exactly one of the four forms",
    "properties": {
        "dataframe_split": {
            "type": "object",
            "required": ["data"],
            "properties": {"columns": {"type": "array"}, "index": {"type": "array"}, "data": _ROWS},
        },
        "dataframe_records": {"type": "array", "items": {"type": "object"}, "minItems": 1},
        "instances": {"anyOf": [_ROWS, _COLUMNS]},
        "inputs": {"anyOf": [_ROWS, _COLUMNS, {"type": "string"}]},
        "params": {},
    },
}


def router(service: Service) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["MLflow"])
    readers = asyncio.Semaphore(_READERS)

    @routes.post(
        "/invocations",
        summary="A table of texts in, a label a row out",
        openapi_extra=described({JSON: _SCHEMA, CSV: _CSV_SCHEMA, PARQUET: _PARQUET_SCHEMA}),
    )
    async def invocations(request: Request) -> Response:
        body = await read_body(request, JSON, CSV, PARQUET)
        # The model may be swapped while a body comes in; what is read of it is what the model that answers is asked.
        with service.lease(request) as lease:
            records = await _records(request, body, service.limits, readers, columns_to_read(lease.bundle.task))
            task = lease.bundle.task
            rows = await off_the_loop(bool(task.image_column), partial(read_rows, records, task))
            found = await found_for(lease, rows, SOURCE)
            predictions = [table_row(lease.bundle, *one) for one in found]
        return json_answer({"predictions": predictions})

    @routes.get("/ping", summary="Whether the first model can answer")
    async def ping() -> Response:
        is_ready = next(iter(service.served.values())).engine.is_alive and not service.is_stopping
        return Response("\n", 200 if is_ready else 404, media_type=JSON)

    @routes.get("/version", summary="The version of Labelwright, where MLflow's server says its own")
    async def its_version() -> Response:
        return PlainTextResponse(_version())

    return routes


def refused(refusal: RefusalError) -> tuple[int, dict[str, Any]]:
    """``error_code`` and ``message``."""
    status = 400 if refusal.status == 422 else refusal.status
    return status, {"error_code": _CODES.get(status, "BAD_REQUEST"), "message": refusal.message}


WIRE = Wire("mlflow", "POST /invocations, GET /ping, GET /version", router, refused)


async def _records(
    request: Request, body: bytes, limits: Limits, readers: asyncio.Semaphore, columns: Sequence[str]
) -> list[Record]:
    """The rows of a body, whatever its form; of Parquet these columns, where it has one of them.

    Raises RefusalError, and DataError for what is wrong with them.
    """
    media_type = media_type_of(request)
    if media_type != PARQUET:
        return csv_records(body) if media_type == CSV else json_records(await read_json(request))
    try:
        async with readers:
            return list(await read_apart(body, columns, Bounds(limits.rows, limits.body_bytes)))
    except MissingExtraError as error:
        raise RefusalError(415, "invalid_request", f"content-type {PARQUET!r}: {error}") from error
    except BeyondError as error:
        raise RefusalError(413, "too_large", str(error)) from error


def _version() -> str:
    try:
        return version("labelwright")
    except PackageNotFoundError:  # a clone that is not installed
        return "unknown"
