"""Servers for the tests: an application in this process, on a free port of this machine, and bundles to serve."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from tiny import tiny_model_folder

from labelwright.bundle.types import Bundle
from labelwright.data.task import Label, Task
from labelwright.engines.opening import open_engine
from labelwright.engines.protocol import Engine
from labelwright.models.weights import Base
from labelwright.prompt import Prompt
from labelwright.serve.served import Served
from labelwright.statistics.calibration import Calibration


@contextmanager
def running(app: Any) -> Iterator[str]:
    """The url of an application that runs while this is open."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, access_log=False, lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)


def ticket_task() -> Task:
    labels = (Label("Billing", "Payments"), Label("Technical"), Label("Sales"), Label("Returns"))
    return Task("tickets", "Name the team that the ticket is for.", labels)


def model_bundle(folder: Path, *, context: int = 32_768) -> tuple[Bundle, Engine]:
    """A bundle over a tiny language model whose context holds 255 options, and an engine on it."""
    tiny_model_folder(folder)
    config = folder / "config.json"
    about = json.loads(config.read_text(encoding="utf-8"))
    config.write_text(json.dumps(about | {"max_position_embeddings": context}), encoding="utf-8")
    weights = Base(str(folder))
    engine = open_engine(weights)
    task = ticket_task()
    calibration = Calibration(1.7, (0.3, -0.1, 0.0, 0.2))
    return Bundle(task, Prompt.for_task(task, engine.template), weights, calibration), engine


def served(bundle: Bundle, engine: Engine, id: str = "tickets") -> dict[str, Served]:
    """One model under an id."""
    return {id: Served(id, bundle, engine)}


def choice(names: Sequence[str], instructions: str = "Which team?") -> dict[str, Any]:
    """A choice question without descriptions."""
    return {"type": "choice", "instructions": instructions, "criteria": dict.fromkeys(names)}
