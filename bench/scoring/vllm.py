"""The scorer against a vLLM server on the same processor: structured outputs, and our engine over it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np

from bench.setting import Setting
from bench.timing import Measurement, Side, pairwise, ratio, seconds_of, take_turns
from labelwright.engines.settings import EngineSettings
from labelwright.errors import ModelError
from labelwright.statistics.calibration import UNCALIBRATED

GOAL = 2.0
SERVE = Path("servers/vllm/serve")
ENVIRONMENT = Path(".venv-vllm/.ready")
START_S = 300.0


def score_vs_vllm(setting: Setting, n_rows: int = 64, rounds: int = 3, at: str = "") -> Measurement:
    """Rows per second of ``score`` over those of vLLM with structured outputs ``choice``, all rows in flight at a time.

    vLLM keeps its prefix cache, so the scorer keeps its prefix too; rows that vLLM has seen are in its cache as well,
    so each round has rows of its own. The server sleeps (SIGSTOP) while the scorer computes; one that is there already,
    ``at`` an address, is left alone: on a GPU it computes nothing while it is not asked.
    """
    from labelwright.engines.servers.vllm import VllmEngine

    if not at and not ENVIRONMENT.is_file():
        raise ModelError("vLLM is not installed: `make vllm-server` installs it; or leave this part out with --only")
    options, engine = setting.prompt.options, setting.engine
    with nullcontext((at, None)) if at else _server(setting) as (url, process):
        vllm = VllmEngine.open(setting.weights, EngineSettings(backend="vllm", url=url))
        rows = setting.rendered(n_rows * (rounds + 1))
        parts = [rows[start : start + n_rows] for start in range(0, len(rows), n_rows)]
        scores = engine.score(parts[0], options, UNCALIBRATED)
        chosen = vllm.chosen(parts[0], options)
        few = parts[0][: min(8, n_rows)]
        exact = vllm.score(few, options, UNCALIBRATED)
        turn = {"score": 0, "choice": 0}

        def ours() -> float:
            turn["score"] += 1
            part = parts[turn["score"] % len(parts)]
            with asleep(process):
                return len(part) / seconds_of(lambda: engine.score(part, options, UNCALIBRATED))

        def theirs() -> float:
            turn["choice"] += 1
            part = parts[turn["choice"] % len(parts)]
            return len(part) / seconds_of(lambda: vllm.chosen(part, options))

        taken = take_turns(
            {
                "score": ours,
                "vLLM, choice": theirs,
                "vLLM, all probabilities": lambda: (
                    len(few) / seconds_of(lambda: vllm.score(few, options, UNCALIBRATED))
                ),
            },
            rounds,
        )
    return ratio(
        "score_vs_vllm",
        pairwise(taken["score"], taken["vLLM, choice"]),
        goal=GOAL,
        sides={side: Side("rows/s", tuple(values)) for side, values in taken.items()},
        facts={
            "rows": n_rows,
            "choice_agrees_with_argmax": float(np.mean(chosen == scores.argmax(axis=1))),
            "rows_with_all_probabilities": len(few),
            "all_probabilities_agree": float(np.mean(exact.argmax(axis=1) == scores[: len(few)].argmax(axis=1))),
        },
    )


@contextmanager
def asleep(process: subprocess.Popen | None) -> Iterator[None]:
    """Within this a server of ours does nothing."""
    if process is None:
        yield
        return
    os.killpg(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGCONT)


@contextmanager
def _server(setting: Setting) -> Iterator[tuple[str, subprocess.Popen]]:
    """A vLLM server on a free port, ready to answer; it ends with the block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    dtype = str(setting.engine.model.dtype).removeprefix("torch.")
    environment = {**os.environ, "PORT": str(port), "DTYPE": dtype}
    process = subprocess.Popen(
        [str(SERVE), setting.weights.base],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        begun = time.monotonic()
        while True:
            if process.poll() is not None or time.monotonic() - begun > START_S:
                raise ModelError(f"vLLM did not start; see what `{SERVE} {setting.weights.base}` says")
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(1)
        yield f"http://127.0.0.1:{port}/v1", process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
