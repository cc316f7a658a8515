"""A vLLM server of this process's own: started with the weights, asked as any vLLM is, ended with the engine.

vLLM pins other versions of torch and transformers than a process that imports labelwright may have, so it runs in one
by itself, under whichever Python has it. It answers at a Unix socket in a folder that nobody else on the machine reads:
no port to choose, and no key. A bulk worker that has a GPU gets such a server on that GPU.
"""

from __future__ import annotations

import logging
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
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
from labelwright.engines.servers.http import RETRIES, TIMEOUT_S, one_line_errors, served_models
from labelwright.engines.servers.vllm import VllmEngine
from labelwright.engines.settings import EngineSettings
from labelwright.errors import LabelwrightError, MissingExtraError, ModelError, one_line
from labelwright.models.gpus import VISIBLE, named_gpus
from labelwright.models.loading import load_tokenizer, saved_merged
from labelwright.models.weights import Weights
from labelwright.plain_text import without_secrets
from labelwright.prompt import Rendered
from labelwright.statistics.calibration import Calibration

# The Python that has vLLM, where it is not this one.
PYTHON = "LABELWRIGHT_VLLM_PYTHON"
# What a server may take to load its weights and to compile; where it fails it ends sooner by itself.
START_S = 1800.0
# What it takes to end, once its engine has failed: meanwhile it answers that it has.
_DYING_S = 10.0
_POLL_S = 0.2
_SERVED_AT = "http://localhost/v1"
_HERE = "the vLLM of this process"
# The module, not the command: builds for other hardware have other names as packages, and the command asks for its own.
_MODULE = "vllm.entrypoints.openai.api_server"
# An error in the log's end, and what is said where the error that matters stands above.
_ERROR, _FOLLOWS = re.compile(r"\w*(?:Error|Exception): .+$"), re.compile(r"root cause|EngineDeadError")
_LOG_BYTES = 2**16

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
            It cannot be started, ends, or does not answer in half an hour.
        """
        settings = settings or EngineSettings(backend="vllm-local")
        name, model = str(weights.folder or weights.base), str(saved_merged(weights))
        process = _Process(os.path.abspath(model) if os.path.isdir(model) else model, name, settings)
        try:
            server = process.ready(process.client())
            max_tokens = served_models(server, _HERE)[name].get("max_model_len")
            engine = cls(server, _HERE, name, load_tokenizer(weights), settings, max_tokens)
        except BaseException:
            process.close()
            raise
        engine._process = process
        # Whoever drops an engine may be anybody, an event loop too: that waits for nothing.
        weakref.finalize(engine, process.let_go)
        return engine

    @property
    def is_alive(self) -> bool:
        """Whether the server runs; one that has ended is not started again."""
        return self._process.status() is None

    def close(self) -> None:
        """End the server, and wait until it has: the next model may need its GPU."""
        self._process.close()

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
    """The server behind its guard, with its socket and its log in a folder of its own."""

    def __init__(self, model: str, name: str, settings: EngineSettings) -> None:
        self._python = os.environ.get(PYTHON, "").strip() or sys.executable
        python = shutil.which(self._python)
        if python is None:
            raise ModelError(f"{PYTHON}={self._python}: there is no such program; name the Python that has vLLM")
        environment = _environment(settings.device)
        self._status: int | None = None
        self._heard, self._is_gone, self._lock = b"", False, threading.Lock()
        self.folder = Path(tempfile.mkdtemp(prefix="labelwright-vllm-"))
        self._log, self._socket = self.folder / guard.LOG, self.folder / "socket"
        command = [os.path.abspath(python), "-m", _MODULE, f"--model={model}", f"--served-model-name={name}"]
        # As many tokens a row as the model reads and the memory has room for; every label's log-probability, however
        # many there are; the prompt's beginning computed once. Code that came with the model is not run.
        command += ["--uds", str(self._socket), "--dtype", settings.dtype, "--max-model-len", "auto"]
        command += ["--max-logprobs", "-1", "--enable-prefix-caching", "--no-trust-remote-code"]
        command += ["--disable-uvicorn-access-log", "--disable-log-stats"]
        try:
            self._guard = subprocess.Popen(
                [sys.executable, "-I", "-S", guard.__file__, str(self.folder), *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**environment, "VLLM_RPC_BASE_PATH": str(self.folder)},
                start_new_session=True,  # Ctrl-C ends this process, which ends its server
            )
            # What was called ends at once; the guard goes on as nobody's child.
            if status := self._guard.wait():
                raise ModelError(f"vLLM cannot be started: what guards it ended with status {status}")
        except BaseException as error:
            shutil.rmtree(self.folder, ignore_errors=True)
            if isinstance(error, OSError):
                raise ModelError(f"vLLM cannot be started: {one_line(error)}") from error
            raise

    def client(self) -> openai.OpenAI:
        """Who asks at the socket."""
        transport = httpx.HTTPTransport(uds=str(self._socket))
        http = openai.DefaultHttpxClient(transport=transport, timeout=TIMEOUT_S)
        return openai.OpenAI(base_url=_SERVED_AT, api_key="none", http_client=http, max_retries=0)

    def ready(self, server: openai.OpenAI) -> openai.OpenAI:
        """The same client, once the server answers."""
        logger.info("vLLM is starting; %s says how far it is", self._log)
        begun = time.monotonic()
        with one_line_errors(_HERE):
            while True:
                with suppress(openai.APIConnectionError, openai.InternalServerError):
                    server.models.list()
                    return server.with_options(max_retries=RETRIES)
                if self.status() is not None:
                    raise self._ended()
                if time.monotonic() - begun > START_S:
                    raise ModelError(f"vLLM did not answer within {START_S:.0f} s of its start: {self._said()}")
                time.sleep(_POLL_S)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """What fails since the server ends is told as that."""
        try:
            yield
        except ModelError as error:
            is_sign = isinstance(error.__cause__, openai.APIConnectionError | openai.InternalServerError)
            if self.status(_DYING_S if is_sign else 0) is not None:
                raise self._ended() from error
            raise

    def status(self, within_s: float = 0) -> int | None:
        """The exit status of a server that ends within so many seconds, else None; 137 where its guard was killed."""
        until = time.monotonic() + within_s
        self._hear()
        while self._status is None and (left := until - time.monotonic()) > 0:
            # Not all of it at once: what is told is read by one of those who wait.
            self._is_told(min(left, _POLL_S))
            self._hear()
        return self._status

    def let_go(self) -> None:
        """Have the guard end the server, and remove its folder."""
        assert self._guard.stdin is not None
        with suppress(OSError):
            self._guard.stdin.close()

    def close(self) -> None:
        """The same, and wait until it is done."""
        self.let_go()
        until = time.monotonic() + guard.GRACE_S + guard.REST_S + 5
        while not self._hear() and time.monotonic() < until:
            self._is_told(_POLL_S)

    def _is_told(self, within_s: float) -> bool:
        """Whether the guard tells something, or is gone, within so many seconds."""
        assert self._guard.stdout is not None
        return bool(select.select([self._guard.stdout], [], [], within_s)[0])

    def _hear(self) -> bool:
        """Take in what the guard has told until now, from whichever thread; whether it is gone."""
        assert self._guard.stdout is not None
        with self._lock:
            while not self._is_gone and self._is_told(0):
                told = os.read(self._guard.stdout.fileno(), 256)
                self._heard, self._is_gone = self._heard + told, not told
            pid, status = ([int(line) for line in self._heard.split(b"\n")[:-1]] + [None, None])[:2]
            if status is None and self._is_gone and self._status is None:
                # Somebody has killed the guard: what it was for is left to be done.
                status = 128 + signal.SIGKILL
                if pid:
                    with suppress(ProcessLookupError, PermissionError):
                        os.killpg(pid, signal.SIGKILL)
                shutil.rmtree(self.folder, ignore_errors=True)
            self._status = status if self._status is None else self._status
            return self._is_gone

    def _ended(self) -> LabelwrightError:
        said = self._said()
        if "No module named 'vllm'" in said:
            return MissingExtraError(
                f'backend "vllm-local" needs vLLM, which {self._python} does not have: install it there, or name a '
                f"Python that has it in {PYTHON}"
            )
        return ModelError(f"vLLM ended with status {self._status}: {said}")

    def _said(self) -> str:
        """What the log's end says of what went wrong, in a line."""
        try:
            with self._log.open("rb") as file:
                file.seek(max(0, self._log.stat().st_size - _LOG_BYTES))
                lines = file.read().decode("utf-8", "replace").splitlines()
        except OSError:  # gone with the server
            lines = []
        lines = [line.strip() for line in lines if line.strip()]
        errors = [found[0] for line in lines if (found := _ERROR.search(line)) and not _FOLLOWS.search(line)]
        return without_secrets([*errors[-1:], *lines[-1:], "it wrote nothing"][0])


def _environment(device: str) -> Mapping[str, str]:
    """What the server is told: the GPU that a device with a number names, or none; to tell nobody that it is used.

    Raises
    ------
    ModelError
        A number beyond the GPUs that this process sees.
    """
    # Without the key that a server of vLLM's would ask for: nobody else reaches this one.
    given = {name: value for name, value in os.environ.items() if name != "VLLM_API_KEY"}
    own = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "VLLM_HOST_IP": "127.0.0.1"}
    kind, _, number = device.partition(":")
    if kind == "cpu":
        own[VISIBLE] = ""
    elif number:
        named = named_gpus()
        if named is not None and int(number) >= len(named):
            raise ModelError(f"device {device}: {VISIBLE} lets this process see {len(named)} GPUs, which count from 0")
        own[VISIBLE] = number if named is None else named[int(number)]
    return {**given, **own}
