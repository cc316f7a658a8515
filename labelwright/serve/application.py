"""The application: every wire of ``WIRES`` over the same models, the operations, and the gate around them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TextIO

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from labelwright.serve import operations
from labelwright.serve.gate import Gate
from labelwright.serve.keys import Keys
from labelwright.serve.limits import Limits
from labelwright.serve.metrics import Metrics
from labelwright.serve.served import Served
from labelwright.serve.service import RefusalError, Service, Wire
from labelwright.serve.wires import decisions, inference, mlflow, models, openai, systemone

# What is spoken; each is one file of ``labelwright.serve.wires``.
WIRES: tuple[Wire, ...] = (systemone.WIRE, models.WIRE, openai.WIRE, decisions.WIRE, mlflow.WIRE, inference.WIRE)


def application(
    served: Mapping[str, Served],
    limits: Limits | None = None,
    keys: Keys | None = None,
    *,
    hosts: frozenset[str] = frozenset(),
    log: TextIO | None = None,
) -> FastAPI:
    """Everything that is served, as an ASGI application; ``app.state.service`` holds its models.

    Parameters
    ----------
    served : mapping of str to Served
        By model id; the first one answers where none is named.
    limits : Limits, optional
    keys : Keys, optional
        Without any, everybody may ask.
    hosts : frozenset of str
        What a Host header may name; empty for anything.
    log : text file, optional
        Where a line of JSON for each request goes.
    """
    service = Service(served, limits or Limits())
    metrics = Metrics(service)
    app = FastAPI(
        title="Labelwright",
        summary="Closed-set classifiers with calibrated probabilities",
        version="1",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        exception_handlers={HTTPException: _as_refusal},
    )
    app.state.service = service
    places: dict[str, tuple[str, Any]] = {}
    for wire in WIRES:
        routes = wire.router(service)
        app.include_router(routes)
        places |= {route.path: (wire.name, wire.refused) for route in routes.routes if isinstance(route, Route)}
    app.include_router(operations.router(service, metrics))
    for route in app.routes:
        if isinstance(route, Route):
            places.setdefault(route.path, ("operations", systemone.WIRE.refused))
    app.add_middleware(
        Gate,
        service=service,
        metrics=metrics,
        keys=keys or Keys(),
        wires=places,
        refused=systemone.WIRE.refused,
        hosts=hosts,
        log=log,
    )
    return app


async def _as_refusal(request: Request, error: Exception) -> Response:
    """What the router has against a request, for the gate to put into the wire's shape."""
    assert isinstance(error, HTTPException)
    kinds = {404: "not_found", 405: "method_not_allowed"}
    message = {404: "there is nothing at this path; see /docs", 405: "this path takes another method; see /docs"}
    raise RefusalError(
        error.status_code,
        kinds.get(error.status_code, "invalid_request"),
        message.get(error.status_code, "the request cannot be answered"),
    )
