"""A vLLM server of this process's own: started with the weights, asked as any vLLM is, ended with the engine.

vLLM pins other versions of torch and transformers than a process that imports labelwright may have, so it runs in one
by itself, under whichever Python has it. It listens at a Unix socket in a folder that nobody else on the machine reads,
at no port: nothing to choose, nothing taken, and no key. A bulk worker that has a GPU gets such a server on that GPU.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import numpy as np
import openai
from numpy.typing import NDArray

from labelwright.engines.servers import guard
from labelwright.engines.servers.http import TIMEOUT_S, served_models
from labelwright.engines.servers.vllm import VllmEngine
from labelwright.engines.settings import EngineSettings
from labelwright.errors import LabelwrightError, MissingExtraError, ModelError
from labelwright.models.loading import load_tokenizer, saved_merged
from labelwright.models.weights import Weights
from labelwright.plain_text import without_secrets
from labelwright.prompt import Rendered
from labelwright.statistics.calibration import Calibration

# The Python that has vLLM, where it is not this one.
PYTHON = "LABELWRIGHT_VLLM_PYTHON"
# What a server may take to load its weights and to compile; where it fails it ends sooner by itself.
START_S = 1800.0
_POLL_S = 0.2
_SERVED_AT = "http://localhost/v1"
_HERE = "the vLLM of this process"
_CUDA_VISIBLE = "CUDA_VISIBLE_DEVICES"
# The module, not the command: builds for other hardware have other names as packages, and the command asks for its own.
_MODULE = "vllm.entrypoints.openai.api_server"
_ERROR = re.compile(r"\w*(?:Error|Exception): .+$")
# What vLLM says when one of its processes failed, whose own error stands above.
_FOLLOWS = "See root cause above"

logger = logging.getLogger(__name__)


class OwnVllmEngine(VllmEngine):
    """``VllmEngine`` over a server that is its own."""

    _process: _Process

    @classmethod
    def open(cls, weights: Weights, settings: EngineSettings | None = None) -> OwnVllmEngine:
        """Start a server with these weights, an adapter merged into them, and wait until it answers.

        Raises
        ------
        MissingExtraError
            The Python that is asked for has no vLLM.
        ModelError
            It ends, or does not answer in half an hour.
        """
        settings = settings or EngineSettings(backend="vllm-local")
        name = str(weights.folder or weights.base)
        process = _Process(str(saved_merged(weights)), name, settings)
        try:
            server = process.client()
            process.wait(server)
            max_tokens = served_models(server, _HERE)[name].get("max_model_len")
            engine = cls(server, _HERE, name, load_tokenizer(weights), settings, max_tokens)
        except BaseException:
            process.end()
            raise
        engine._process = process
        weakref.finalize(engine, process.end)
        return engine

    def score(
        self, prompts: Sequence[Rendered], options: Sequence[str], calibration: Calibration | None = None
    ) -> NDArray[np.float64]:
        """As ``VllmEngine.score``; ModelError with the server's own words where it ended meanwhile."""
        with self._process.watched():
            return super().score(prompts, options, calibration)

    def generate(self, prompts: Sequence[Rendered], max_new_tokens: int = 8, stop: Sequence[str] = ()) -> list[str]:
        """As ``VllmEngine.generate``; ModelError as above."""
        with self._process.watched():
            return super().generate(prompts, max_new_tokens, stop)


class _Process:
    """The server, its socket and its log, in a folder that is removed with it."""

    def __init__(self, model: str, name: str, settings: EngineSettings) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="labelwright-vllm-"))
        self._log, self._socket = self._folder / "log", self._folder / "socket"
        python = os.environ.get(PYTHON, "").strip() or sys.executable
        command = [python, "-m", _MODULE, "--model", model, f"--served-model-name={name}", "--uds", str(self._socket)]
        # As many tokens a row as the model reads and the memory has room for; every label's log-probability, however
        # many there are; the prompt's beginning computed once. Code that came with the model is not run.
        command += ["--dtype", settings.dtype, "--max-model-len", "auto", "--max-logprobs", "-1"]
        command += ["--enable-prefix-caching", "--no-trust-remote-code"]
        with self._log.open("wb") as log:
            self._guard = subprocess.Popen(
                [sys.executable, "-I", "-S", guard.__file__, str(self._folder), *command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=_environment(settings.device),
                start_new_session=True,  # Ctrl-C ends this process, which ends its server
            )

    def client(self) -> openai.OpenAI:
        """Who asks at the socket."""
        transport = httpx.HTTPTransport(uds=str(self._socket))
        http = openai.DefaultHttpxClient(transport=transport, timeout=TIMEOUT_S)
        return openai.OpenAI(base_url=_SERVED_AT, api_key="none", http_client=http, max_retries=0)

    def wait(self, server: openai.OpenAI) -> None:
        """Until the server answers."""
        logger.info("vLLM is starting; %s says how far it is", self._log)
        begun = time.monotonic()
        while True:
            with suppress(openai.APIConnectionError, openai.APIStatusError):
                server.models.list()
                return
            if self._guard.poll() is not None:
                raise self._ended()
            if time.monotonic() - begun > START_S:
                raise ModelError(f"vLLM did not answer within {START_S:.0f} s of its start: {self._said()}")
            time.sleep(_POLL_S)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """What cannot be reached because it ended is told as that."""
        try:
            yield
        except ModelError as error:
            # The connection breaks some moments before the process is gone.
            with suppress(subprocess.TimeoutExpired):
                self._guard.wait(1 if isinstance(error.__cause__, openai.APIConnectionError) else 0)
                raise self._ended() from error
            raise

    def end(self) -> None:
        """End the server, if it has not; its folder goes with it."""
        assert self._guard.stdin is not None
        with suppress(OSError):
            self._guard.stdin.close()
        try:
            self._guard.wait(guard.GRACE_S + 5)
        except subprocess.TimeoutExpired:
            self._guard.kill()
            self._guard.wait()
        shutil.rmtree(self._folder, ignore_errors=True)  # of one that had ended before

    def _ended(self) -> LabelwrightError:
        said = self._said()
        if re.search(r"No module named '?vllm\b", said):
            python = os.environ.get(PYTHON, "").strip() or sys.executable
            return MissingExtraError(
                f'backend "vllm-local" needs vLLM, which {python} does not have: install it there, or name a Python '
                f"that has it in {PYTHON}"
            )
        return ModelError(f"vLLM ended with status {self._guard.returncode}: {said}")

    def _said(self) -> str:
        """What the log says of what went wrong, in a line."""
        lines = [line.strip() for line in self._log.read_text(encoding="utf-8", errors="replace").splitlines()]
        errors = [found[0] for line in lines if (found := _ERROR.search(line)) and _FOLLOWS not in line]
        said = [*errors[-1:], *[line for line in reversed(lines) if line][:1], "it wrote nothing"][0]
        return without_secrets(said)


def _environment(device: str) -> Mapping[str, str]:
    """What the server sees: of GPUs the one that a device with a number names; it tells nobody that it is used."""
    own = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    kind, _, number = device.partition(":")
    if kind == "cuda" and number:
        seen = [one for one in os.environ.get(_CUDA_VISIBLE, "").split(",") if one]
        own[_CUDA_VISIBLE] = seen[int(number)] if int(number) < len(seen) else number
    return {**os.environ, **own}
