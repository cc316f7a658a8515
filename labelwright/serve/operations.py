"""For who runs the server: is it alive, is it ready, what does it count, what does it speak."""

from __future__ import annotations

from html import escape

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from labelwright.serve.bodies import json_answer
from labelwright.serve.metrics import CONTENT_TYPE, Metrics
from labelwright.serve.service import Service

_DOCS = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Labelwright</title>
<h1>Labelwright</h1><p>As data: <a href="openapi.json">openapi.json</a></p>
<table>{rows}</table></html>"""


def router(service: Service, metrics: Metrics) -> APIRouter:
    """``/health``, ``/ready``, ``/metrics`` and ``/docs``."""
    routes = APIRouter(tags=["operations"])

    @routes.get("/health", summary="Whether the server is alive")
    async def health() -> Response:
        return json_answer({"status": "ok"})

    @routes.get("/ready", summary="Whether every model is loaded and its engine runs", responses={503: {}})
    async def ready() -> Response:
        models = {id: served.engine.is_alive for id, served in service.served.items()}
        is_ready = all(models.values()) and not service.is_stopping
        return json_answer({"ready": is_ready, "models": models}, 200 if is_ready else 503)

    @routes.get("/metrics", summary="Counts, for Prometheus", response_class=Response)
    async def numbers() -> Response:
        return Response(metrics.text(), media_type=CONTENT_TYPE)

    @routes.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> Response:
        # FastAPI's own page runs a script from another server.
        rows = [
            f"<tr><td>{method.upper()} <code>{escape(path)}</code><td>{escape(said.get('summary', ''))}"
            for path, methods in request.app.openapi()["paths"].items()
            for method, said in methods.items()
        ]
        return HTMLResponse(_DOCS.format(rows="".join(rows)))

    return routes
