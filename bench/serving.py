"""What HTTP costs: rows through a server in a process of its own, over the same rows scored in this one.

The server is what ``labelwright serve`` starts, on a bundle written for the occasion, at 127.0.0.1. The clients have a
connection each and share one event loop of this process; they end with the rows.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from bench.load.client import Asked, ask_all, question, request
from bench.load.server import serving
from bench.setting import Setting
from bench.timing import Measurement, Side, pairwise, ratio, take_turns
from labelwright.bundle.store import save
from labelwright.bundle.types import Bundle
from labelwright.decide import probabilities
from labelwright.statistics.calibration import Calibration

N_CLIENTS = 64
OVERHEAD_GOAL, LATENCY_GOAL = 0.85, 1.15


# From texts and a number of clients to what these were answered.
Ask = Callable[[Sequence[str], int], Asked]


def serve_overhead(setting: Setting, n_rows: int = 192, rounds: int = 3) -> Measurement:
    """Rows a second through HTTP with 64 clients that ask one row each, over one call with all the rows."""
    bundle = _bundle(setting)
    texts = [example.text for example in setting.examples[:n_rows]]
    answers: dict[str, Any] = {}

    def in_process() -> float:
        started = time.perf_counter()
        answers["in process"] = probabilities(bundle, setting.engine, texts)
        return len(texts) / (time.perf_counter() - started)

    with _server(bundle, _dtype(setting)) as ask:

        def served() -> float:
            started = time.perf_counter()
            said = [one["answers"]["q"]["probabilities"] for one in ask(texts, N_CLIENTS).said]
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
    with _server(bundle, _dtype(setting)) as ask:

        def in_process() -> float:
            return median(_ms_each(lambda text: probabilities(bundle, setting.engine, [text]), texts))

        sides = {"served": lambda: float(np.median(ask(texts, 1).ms)), "in process": in_process}
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


def _dtype(setting: Setting) -> str:
    """What the setting's own engine computes in: both sides are the same work."""
    return str(setting.engine.model.dtype).removeprefix("torch.")


@contextmanager
def _server(bundle: Bundle, dtype: str) -> Iterator[Ask]:
    """A server on a bundle while this is open: asks for texts with so many clients."""
    with tempfile.TemporaryDirectory() as folder:
        save(bundle, Path(folder) / "bundle")
        with serving([Path(folder) / "bundle"], dtype=dtype) as (url, _):
            port = int(url.rsplit(":", 1)[1])
            names = bundle.task.names
            yield lambda texts, n_clients: asyncio.run(
                ask_all(port, [request(question(names, text)) for text in texts], n_clients)
            )
