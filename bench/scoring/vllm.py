"""The scorer against vLLM on the same machine: structured outputs of a server or in process, and our engine over it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.setting import SEED, Setting
from bench.timing import Measurement, Side, pairwise, ratio, seconds_of, take_turns
from labelwright.engines.settings import EngineSettings
from labelwright.engines.tokens import most_tokens
from labelwright.errors import ModelError
from labelwright.models.folders import model_folder
from labelwright.prompt import Rendered
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
    options = setting.prompt.options
    with nullcontext((at, None)) if at else _server(setting) as (url, process):
        vllm = VllmEngine.open(setting.weights, EngineSettings(backend="vllm", url=url))
        few = setting.rendered(min(8, n_rows))
        exact = vllm.score(few, options, UNCALIBRATED)
        agree = exact.argmax(axis=1) == setting.engine.score(few, options, UNCALIBRATED).argmax(axis=1)
        more = {
            "vLLM, all probabilities": lambda: len(few) / seconds_of(lambda: vllm.score(few, options, UNCALIBRATED)),
        }
        found = _against("score_vs_vllm", setting, n_rows, rounds, vllm.chosen, more, process)
    facts = {"rows_with_all_probabilities": len(few), "all_probabilities_agree": float(np.mean(agree))}
    return replace(found, goal=None if at else GOAL, facts={**found.facts, **facts})


def score_vs_vllm_in_process(
    setting: Setting, n_rows: int, rounds: int, told: Mapping[str, Any] | None = None
) -> Measurement:
    """As ``score_vs_vllm``, with no server between: vLLM's ``LLM.generate`` over all rows at once.

    Parameters
    ----------
    told : mapping of str to Any, optional
        What vLLM is told besides, such as its share of the memory.
    """
    with closing(InProcess(setting, told or {})) as vllm:
        return _against("score_vs_vllm_in_process", setting, n_rows, rounds, vllm.chosen)


class InProcess:
    """vLLM in this process, with its defaults: prefix cache, compiled passes, CUDA graphs.

    Parameters
    ----------
    told : mapping of str to Any
        More arguments of ``vllm.LLM``.
    """

    def __init__(self, setting: Setting, told: Mapping[str, Any]) -> None:
        from vllm import LLM

        self._tokens = setting.engine.tokens
        self._llm = LLM(
            model=str(model_folder(setting.weights.base)),
            dtype=str(setting.engine.model.dtype).removeprefix("torch."),
            max_model_len=setting.engine.tokens.max_tokens,
            enable_prefix_caching=True,
            seed=SEED,
            trust_remote_code=False,
            **told,
        )

    def close(self) -> None:
        """End its process, so that its memory is free."""
        self._llm.llm_engine.engine_core.shutdown()

    def chosen(self, prompts: Sequence[Rendered], options: Sequence[str]) -> np.ndarray:
        """Which option is written, greedily, (n_prompts,)."""
        from vllm import SamplingParams
        from vllm.sampling_params import StructuredOutputsParams

        longest = most_tokens(options)
        asked = SamplingParams(
            temperature=0.0, max_tokens=longest, structured_outputs=StructuredOutputsParams(choice=list(options))
        )
        fed = [{"prompt_token_ids": [*sequence]} for sequence in self._tokens.sequences(prompts, longest)]
        answers = self._llm.generate(fed, asked, use_tqdm=False)
        labels = [option.strip() for option in options]
        return np.array([labels.index(answer.outputs[0].text.strip()) for answer in answers])


def _against(
    name: str,
    setting: Setting,
    n_rows: int,
    rounds: int,
    chosen: Callable[[Sequence[Rendered], Sequence[str]], np.ndarray],
    more: Mapping[str, Callable[[], float]] | None = None,
    process: subprocess.Popen | None = None,
) -> Measurement:
    """Rows per second of ``score`` over those of something that chooses, each round on rows of its own."""
    options, engine = setting.prompt.options, setting.engine
    rows = setting.rendered(n_rows * (rounds + 1))
    parts = [rows[start : start + n_rows] for start in range(0, len(rows), n_rows)]
    scores = engine.score(parts[0], options, UNCALIBRATED)
    agree = chosen(parts[0], options) == scores.argmax(axis=1)
    turn = {"score": 0, "choice": 0}

    def ours() -> float:
        turn["score"] += 1
        part = parts[turn["score"] % len(parts)]
        with asleep(process):
            return len(part) / seconds_of(lambda: engine.score(part, options, UNCALIBRATED))

    def theirs() -> float:
        turn["choice"] += 1
        part = parts[turn["choice"] % len(parts)]
        return len(part) / seconds_of(lambda: chosen(part, options))

    taken = take_turns({"score": ours, "vLLM, choice": theirs, **(more or {})}, rounds)
    return ratio(
        name,
        pairwise(taken["score"], taken["vLLM, choice"]),
        sides={side: Side("rows/s", tuple(values)) for side, values in taken.items()},
        facts={"rows": n_rows, "choice_agrees_with_argmax": float(np.mean(agree))},
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
