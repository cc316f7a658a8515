"""Shards answered by processes on this machine, with nothing but the standard library.

A process that dies gives its shard to another one; a shard that ends process after process ends the job.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import suppress
from typing import IO, Any

from labelwright.bulk.needs import Asked, this_machine, visible_gpus
from labelwright.bulk.shards import Shard, in_turn
from labelwright.data.formats.places import shown
from labelwright.errors import ModelError
from labelwright.models.gpus import VISIBLE

MOST_TRIES = 3
# It finds the house where the command found it, and nothing in the folder that it is called from.
_START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from labelwright.bulk.worker import main; main()"
# Variables by which libraries that compute are told how many threads they have.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")


def answered(
    shards: Sequence[Shard], settings: Mapping[str, Any], asked: Asked
) -> Generator[dict[str, Any], None, None]:
    """What becomes of each shard, as ``labelwright.bulk.answering.Answerer.answer`` says it, in any order.

    Raises
    ------
    DataError
        More workers than GPUs, where each takes one.
    ModelError
        A shard whose process died time after time; or "cuda" is asked for, and there is no GPU.
    """
    machine = this_machine(asked.device)
    needs, n_workers = asked.on([machine])
    environment = {**os.environ, **dict.fromkeys(_THREADS, str(needs.n_threads))}
    # No more workers than GPUs, or they take none of their own.
    own = [{VISIBLE: gpu} for gpu in visible_gpus(machine.n_gpus)] if needs.n_gpus else [{}] * n_workers
    work = _Work(shards)
    workers = [_Worker(work, settings, environment | one) for one in own[: min(n_workers, len(shards))]]
    try:
        for worker in workers:
            worker.thread.start()
        for _ in shards:
            result = work.results.get()
            if isinstance(result, BaseException):
                raise result
            yield result
    finally:
        for worker in workers:
            worker.end()


class _Work:
    """Shards that wait, and what became of the others."""

    def __init__(self, shards: Sequence[Shard]) -> None:
        self._waiting: queue.Queue[Shard | None] = queue.Queue()
        self.results: queue.Queue[dict[str, Any] | BaseException] = queue.Queue()
        self._tries: dict[int, int] = {}
        for shard in in_turn(shards):
            self._waiting.put(shard)

    def take(self) -> Shard:
        """The next shard; waits for one, as what a dying worker had comes back."""
        shard = self._waiting.get()
        assert shard is not None
        return shard

    def died(self, shard: Shard, status: int) -> None:
        """A worker ended while it had this shard."""
        tries = self._tries[shard.number] = self._tries.get(shard.number, 0) + 1
        if tries < MOST_TRIES:
            self._waiting.put(shard)
            return
        how = f"signal {-status}" if status < 0 else f"status {status}"
        memory = " (out of memory? fewer --workers need less)" if status == -signal.SIGKILL else ""
        self.results.put(
            ModelError(
                f"{shown(shard.source)}, rows from {shard.start.rows + 1}: {tries} workers ended with {how} while they "
                f"answered them{memory}; what is answered is kept, and the same command goes on with the rest"
            )
        )


class _Worker:
    """A process and the thread that feeds it; another process where it dies, which sees the same GPU."""

    def __init__(self, work: _Work, settings: Mapping[str, Any], environment: Mapping[str, str]) -> None:
        self._work, self._settings, self._environment = work, settings, environment
        self._process: subprocess.Popen[str] | None = None
        self._lock, self._is_over = threading.Lock(), False
        self.thread = threading.Thread(target=self._feed, daemon=True)

    def end(self) -> None:
        """End the process, whatever it does."""
        with self._lock:
            self._is_over = True
            if self._process is not None:
                self._process.kill()
                self._process.wait()

    def _feed(self) -> None:
        while True:
            shard = self._work.take()
            try:
                result = self._asked(shard)
            except OSError as error:  # no process can be started
                self._work.results.put(error)
                return
            if self._is_over:
                return
            if result is not None:
                self._work.results.put(result)
                continue
            assert self._process is not None
            self._work.died(shard, self._process.wait())
            self._process = None

    def _asked(self, shard: Shard) -> dict[str, Any] | None:
        """What the process says of a shard; None where it died."""
        with self._lock:
            if self._is_over:
                return None
            process = self._process = self._process or self._started()
        with suppress(BrokenPipeError):
            _say(process.stdin, shard.as_json())
        assert process.stdout is not None
        said = process.stdout.readline()
        return json.loads(said) if said.endswith("\n") else None

    def _started(self) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", _START, json.dumps([one for one in sys.path if isinstance(one, str)])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env=self._environment,
            start_new_session=True,  # Ctrl-C ends the command, which ends its workers
        )
        with suppress(BrokenPipeError):
            _say(process.stdin, self._settings)
        return process


def _say(pipe: IO[str] | None, value: Mapping[str, Any]) -> None:
    assert pipe is not None
    pipe.write(json.dumps(value) + "\n")
    pipe.flush()
