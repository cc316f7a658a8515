"""What HTTP costs: rows through a server in a process of its own, over the same rows scored in this one.

The server is what ``labelwright serve`` starts, on a bundle written for the occasion, at 127.0.0.1. The clients are
threads of this process with a connection each; they end with the rows.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from threading import local
from typing import Any

import numpy as np

from bench.setting import Setting
from bench.timing import Measurement, Side, pairwise, ratio, take_turns
from labelwright.bundle.store import save
from labelwright.bundle.types import Bundle
from labelwright.decide import probabilities
from labelwright.errors import ModelError
from labelwright.statistics.calibration import Calibration

N_CLIENTS = 64
OVERHEAD_GOAL, LATENCY_GOAL = 0.85, 1.15
_TIMEOUT_S = 120

Ask = Callable[[str], dict[str, float]]


def serve_overhead(setting: Setting, n_rows: int = 192, rounds: int = 3) -> Measurement:
    """Rows a second through HTTP with 64 clients that ask one row each, over one call with all the rows."""
    bundle = _bundle(setting)
    texts = [example.text for example in setting.examples[:n_rows]]
    answers: dict[str, Any] = {}

    def in_process() -> float:
        started = time.perf_counter()
        answers["in process"] = probabilities(bundle, setting.engine, texts)
        return len(texts) / (time.perf_counter() - started)

    with _server(bundle) as ask, ThreadPoolExecutor(N_CLIENTS) as clients:

        def served() -> float:
            started = time.perf_counter()
            said = list(clients.map(ask, texts))
            answers["served"] = np.array([[one[name] for name in bundle.task.names] for one in said])
            return len(texts) / (time.perf_counter() - started)

        served(), in_process()
        taken = take_turns({"served": served, "in process": in_process}, rounds)
    return ratio(
        "serve_overhead",
        pairwise(taken["served"], taken["in process"]),
        goal=OVERHEAD_GOAL,
        sides={side: Side("rows/s", tuple(values)) for side, values in taken.items()},
        facts={
            "rows": len(texts),
            "clients": N_CLIENTS,
            # Which rows share a call moves the last digits.
            "max_probability_difference": float(np.abs(answers["served"] - answers["in process"]).max()),
        },
    )


def serve_latency(setting: Setting, n_rows: int = 24, rounds: int = 3) -> Measurement:
    """Milliseconds a row of one client that asks one after the other, over those of calls in process; p50 each."""
    bundle = _bundle(setting)
    texts = [example.text for example in setting.examples[:n_rows]]
    with _server(bundle) as ask:

        def ms(call: Callable[[str], object]) -> float:
            return median(_ms_each(call, texts))

        sides = {
            "served": lambda: ms(ask),
            "in process": lambda: ms(lambda text: probabilities(bundle, setting.engine, [text])),
        }
        for side in sides.values():
            side()
        taken = take_turns(sides, rounds)
    return ratio(
        "serve_latency",
        pairwise(taken["served"], taken["in process"]),
        goal=LATENCY_GOAL,
        at_most=True,
        sides={side: Side("ms", tuple(values)) for side, values in taken.items()},
        facts={"rows": len(texts)},
    )


def _ms_each(call: Callable[[str], object], texts: Sequence[str]) -> Iterator[float]:
    for text in texts:
        started = time.perf_counter()
        call(text)
        yield 1000 * (time.perf_counter() - started)


def _bundle(setting: Setting) -> Bundle:
    return Bundle(setting.task, setting.prompt, setting.weights, Calibration())


@contextmanager
def serving(folders: Sequence[Path]) -> Iterator[str]:
    """The url of a `labelwright serve` over bundles, which runs while this is open.

    Raises
    ------
    ModelError
        If it does not start.
    """
    command = [sys.executable, "-m", "labelwright.cli", "serve", *map(str, folders), "--port", "0"]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            yield _url_of(process, log)
        finally:
            process.terminate()
            process.wait(_TIMEOUT_S)


def _url_of(process: Any, log: Any) -> str:
    """Where a server says that it is; one that cannot start ends without."""
    for line in process.stdout:
        if line.startswith("http://"):
            return str(line.split()[0])
    log.seek(0)
    raise ModelError(f"labelwright serve did not start: {' '.join(log.read().split())[-300:]}")


@contextmanager
def _server(bundle: Bundle) -> Iterator[Ask]:
    """A server on a bundle while this is open: from a text to its probabilities by label, from any thread."""
    with tempfile.TemporaryDirectory() as folder:
        save(bundle, Path(folder) / "bundle")
        with serving([Path(folder) / "bundle"]) as url:
            yield _asking(int(url.rsplit(":", 1)[1]), bundle.task.names)


def _asking(port: int, names: Sequence[str]) -> Ask:
    question = {"q": {"type": "choice", "criteria": dict.fromkeys(names)}}
    mine = local()

    def ask(text: str) -> dict[str, float]:
        if not hasattr(mine, "connection"):
            mine.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
        body = json.dumps({"model": "jev-latest", "state": text, "questions": question})
        mine.connection.request("POST", "/v1/systemone", body, {"content-type": "application/json"})
        response = mine.connection.getresponse()
        said = json.loads(response.read())
        if response.status != 200:
            raise RuntimeError(f"the server answered {response.status}: {said}")
        probs: dict[str, float] = said["answers"]["q"]["probabilities"]
        return probs

    return ask
