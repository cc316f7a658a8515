"""Servers for the tests: an application in this process, on a free port of this machine, and bundles to serve."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from fakes import FakeEngine
from tiny import CORPUS, tiny_model, tiny_tokenizer

from labelwright.bundle.types import Bundle
from labelwright.data.task import Label, Task
from labelwright.engines.opening import open_engine
from labelwright.engines.protocol import Engine
from labelwright.models.weights import Base
from labelwright.prompt import Prompt, Rendered
from labelwright.serve.served import Served
from labelwright.statistics.calibration import Calibration

# One connection a request, and no certificates, which take longer to read than a request to answer.
CLIENT = httpx.Client(verify=False, timeout=120, limits=httpx.Limits(max_keepalive_connections=0))


@contextmanager
def running(app: Any) -> Iterator[str]:
    """The url of an application that runs while this is open."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, access_log=False, lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 120
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)


@contextmanager
def command(*arguments: object) -> Iterator[tuple[subprocess.Popen[str], str, list[str]]]:
    """The command in a process, its url, and what it has printed so far; killed if it is still there at the end."""
    words = [sys.executable, "-m", "labelwright.cli", "serve", *map(str, arguments), "--port", "0"]
    started = subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    lines: list[str] = []
    try:
        while not lines or not lines[-1].startswith("http"):
            assert started.stdout and started.stderr  # noqa: PT018
            line = started.stdout.readline()
            assert line, started.stderr.read()
            lines.append(line)
        yield started, lines[-1].split()[0], lines
    finally:
        started.kill()
        started.wait()
        started.stdout.close()
        started.stderr.close()


def ticket_task() -> Task:
    labels = (Label("Billing", "Payments"), Label("Technical"), Label("Sales"), Label("Returns"))
    return Task("tickets", "Name the team that the ticket is for.", labels)


def model_bundle(folder: Path, *, context: int = 32_768) -> tuple[Bundle, Engine]:
    """A bundle over a tiny language model whose context holds 255 options, and an engine on it.

    Its tokenizer knows the words of a long list of options, or reading them would take longer than all the rest.
    """
    queues = [f"- Queue {i:03d}: Tickets routed to queue {i}" for i in range(256)]
    tokenizer = tiny_tokenizer(corpus=[*CORPUS, *queues], vocab_size=1200)
    model = tiny_model(vocab_size=len(tokenizer))
    model.config.max_position_embeddings = context
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
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


class Held(FakeEngine):
    """An engine that answers when it is let go, and says which rows came to it."""

    name = "held"

    def __init__(self) -> None:
        super().__init__()
        self.may_go = threading.Event()
        self.has_begun = threading.Event()
        self.texts: list[str] = []

    def score(self, prompts: Sequence[Rendered], options: Sequence[str]) -> Any:
        self.has_begun.set()
        self.texts += [prompt.user for prompt in prompts]
        assert self.may_go.wait(20)
        return super().score(prompts, options)


def asked(names: Sequence[str], text: Any = "the skimmer", **more: Any) -> dict[str, Any]:
    """A System One request with one choice question."""
    return {"model": "jev-latest", "state": text, "questions": {"q": choice(names)}, **more}
