"""Two servers of one model on one wire: ours, and llama.cpp's own decision endpoint (``POST /v1/systemone``)."""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path

import numpy as np

from bench.load.client import Asked, ask_all, request
from bench.load.server import serving
from bench.setting import Setting
from bench.timing import Measurement, Side, pairwise, ratio, take_turns
from labelwright.bundle.store import save
from labelwright.bundle.types import Bundle
from labelwright.conversion.servers import QUESTION, system_one_request
from labelwright.prompt import Prompt
from labelwright.statistics.calibration import Calibration

OURS, THEIRS = "labelwright serve", "llama-server"
N_CLIENTS = 16
FORMAT = "q8_0"
_ANY_MODEL = "jev-latest"


def served_vs_llamacpp(setting: Setting, n_rows: int = 64, rounds: int = 3) -> Measurement:
    """Rows a second of `labelwright serve` with 16 clients over those of llama.cpp's server, GGUF Q8_0.

    llama.cpp decides among listed letters, so both answer the same prompt of that style, with the same untuned weights.
    Facts have the milliseconds of a client alone.
    """
    from labelwright.conversion.runtimes import gguf

    template = setting.engine.template
    prompt = Prompt.for_task(setting.task, template, "letter")
    bundle = Bundle(setting.task, prompt, setting.weights, Calibration())
    texts = [example.text for example in setting.examples[:n_rows]]
    sent = [request(_body(prompt, text)) for text in texts]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        save(bundle, folder / "bundle")
        gguf.convert(bundle, folder, FORMAT)
        theirs = gguf.Decisions(folder / gguf.MODEL, gguf.request(bundle), setting.task.names, slots=N_CLIENTS)
        with serving([folder / "bundle"]) as (url, _):
            ports = {OURS: _port(url), THEIRS: _port(theirs.url)}

            def asked(side: str, n_clients: int) -> Asked:
                return asyncio.run(ask_all(ports[side], sent, n_clients))

            answers = {side: _probabilities(asked(side, N_CLIENTS), setting.task.names) for side in ports}
            taken = take_turns(
                {side: lambda side=side: len(sent) / asked(side, N_CLIENTS).seconds for side in ports},  # type: ignore[misc]
                rounds,
            )
            alone = take_turns(
                {side: lambda side=side: float(np.median(asked(side, 1).ms)) for side in ports},  # type: ignore[misc]
                rounds,
            )
        theirs.close()
    return ratio(
        "served_vs_llamacpp",
        pairwise(taken[OURS], taken[THEIRS]),
        sides={side: Side("rows/s", tuple(values)) for side, values in taken.items()},
        facts={
            "rows": len(texts),
            "clients": N_CLIENTS,
            "gguf": FORMAT,
            "ms_of_one_client": alone,
            "one_client_times_as_fast": pairwise(alone[THEIRS], alone[OURS]),
            "same_label": float(np.mean(answers[OURS].argmax(axis=1) == answers[THEIRS].argmax(axis=1))),
            "max_probability_difference": float(np.abs(answers[OURS] - answers[THEIRS]).max()),
        },
    )


def _body(prompt: Prompt, text: str) -> bytes:
    return json.dumps(system_one_request(prompt, text, _ANY_MODEL)).encode()


def _port(url: str) -> int:
    return int(url.rsplit(":", 1)[1])


def _probabilities(asked: Asked, names: tuple[str, ...]) -> np.ndarray:
    """(n_rows, n_labels), by name."""
    found = [said["answers"][QUESTION]["probabilities"] for said in asked.said]
    return np.array([[one[name] for name in names] for one in found])
