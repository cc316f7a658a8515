"""Many threads that ask for one row each, through the coalescing engine and without it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.setting import Setting
from bench.timing import Measurement, Side, pairwise, ratio, take_turns
from labelwright.engines.coalesce import CoalescingEngine
from labelwright.engines.protocol import Engine
from labelwright.prompt import Rendered
from labelwright.statistics.calibration import UNCALIBRATED, Calibration

N_THREADS = 32


def coalescing(setting: Setting, n_rows: int = 192, rounds: int = 3) -> Measurement:
    """Rows per second of 32 threads asking one row each, coalesced over taking turns at the engine's own lock."""
    prompts = setting.rendered(n_rows)
    options = setting.prompt.options
    engine = _Counted(setting.engine)
    seconds: dict[str, list[NDArray[np.float64]]] = {"coalesced": [], "turns": []}
    answers: dict[str, NDArray[np.float64]] = {}

    def rate(side: str, asked: Any) -> float:
        started = time.perf_counter()
        answers[side], each = _ask_all(asked, prompts, options)
        seconds[side].append(each)
        return len(prompts) / (time.perf_counter() - started)

    setting.engine.score(prompts[:N_THREADS], options, UNCALIBRATED)
    with CoalescingEngine(engine) as shared:
        taken = take_turns(
            {"coalesced": lambda: rate("coalesced", shared), "turns": lambda: rate("turns", setting.engine)}, rounds
        )
    return ratio(
        "coalescing",
        pairwise(taken["coalesced"], taken["turns"]),
        sides={side: Side("rows/s", tuple(values)) for side, values in taken.items()},
        facts={
            "rows": len(prompts),
            "threads": N_THREADS,
            "options": len(options),
            "rows_per_call_mean": engine.n_rows / engine.n_calls,
            # From asking for a row to having it, with 31 others asking.
            "wait_ms": {
                side: {f"p{q}": 1000 * float(np.percentile(np.concatenate(each), q)) for q in (50, 95)}
                for side, each in seconds.items()
            },
            # Rows are added up in another order in a batch than alone.
            "max_log_probability_difference": float(np.abs(answers["coalesced"] - answers["turns"]).max()),
        },
    )


class _Counted:
    """The engine, counting its calls."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.n_calls = self.n_rows = 0

    def score(
        self, prompts: Sequence[Rendered], options: Sequence[str], calibration: Calibration | None = None
    ) -> NDArray[np.float64]:
        self.n_calls += 1
        self.n_rows += len(prompts)
        return self._engine.score(prompts, options, calibration)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)


def _ask_all(
    engine: Engine, prompts: list[Rendered], options: tuple[str, ...]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scores (n_prompts, n_options) and seconds (n_prompts,) of rows asked for one by one from many threads."""

    def ask(prompt: Rendered) -> tuple[NDArray[np.float64], float]:
        started = time.perf_counter()
        scores = engine.score([prompt], options, UNCALIBRATED)
        return scores[0], time.perf_counter() - started

    with ThreadPoolExecutor(N_THREADS) as threads:
        asked = list(threads.map(ask, prompts))
    return np.array([scores for scores, _ in asked]), np.array([seconds for _, seconds in asked])
