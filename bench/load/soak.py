"""`python -m bench.load.soak`: many requests from many clients, some malformed, some broken off; is every answer right?

A tenth of the requests is nonsense and a tenth is cancelled half-way. All other answers are compared with those that
the bundle gives in process. Ends after so many requests or seconds, or with Ctrl-C, and prints what it found either
way: one line while it runs, a table at the end, exit status 1 where something was wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray

from bench.load.client import Connection, question, request
from bench.load.server import serving
from labelwright.bundle.store import load, save
from labelwright.bundle.types import Bundle
from labelwright.data.task import Task
from labelwright.decide import probabilities
from labelwright.engines.opening import open_engine
from labelwright.errors import LabelwrightError
from labelwright.models.weights import Base, Predictor
from labelwright.prompt import Prompt
from labelwright.statistics.calibration import Calibration

NGRAMS = Path(__file__).parents[2] / "tests" / "labelwright" / "bundle" / "older" / "ngrams"
MODEL = "smollm2"
BAD = (b"{", b"[]", b'{"model": 1}', b"\xff" * 40, b"[" * 3000, b'{"state": NaN}', b'{"a": "\\ud800"}')
BAD_SHARE, BROKEN_SHARE = 0.1, 0.1
# Which rows share a call moves the last digits of a language model's probabilities, and more in bfloat16.
TOLERANCE = {Predictor: 1e-9, Base: 0.05}
# A server that is gone answers nobody.
MOST_LOST = 100
# The first fifth warms up: pools, caches, the allocator.
WARM = 0.2
# What memory may grow by from there: a share, and what an allocator rounds to.
GROWTH, SLACK_BYTES = 0.05, 2**21


@dataclass
class Soak:
    """What is asked, how much of it, and what came of it.

    Attributes
    ----------
    bodies : list of bytes
    expected : array (n_bodies, n_labels)
        In process.
    tolerance : float
        Most that a probability may differ by.
    most_requests, most_s : int, float
        It ends with whichever comes first.
    seen : Counter
        Requests by status; 0 those that were broken off.
    wrong, lost : int
        Answers that are not those expected, or have another status; requests that got none.
    max_difference : float
    """

    bodies: list[bytes]
    expected: NDArray[np.float64]
    tolerance: float
    most_requests: int
    most_s: float
    seen: Counter[int] = field(default_factory=Counter)
    wrong: int = 0
    lost: int = 0
    max_difference: float = 0.0
    started: float = field(default_factory=time.monotonic)
    stopped_s: float | None = None
    warm_bytes: int = 0
    end_bytes: int = 0

    @property
    def seconds(self) -> float:
        """How long it has been running, or ran."""
        return time.monotonic() - self.started if self.stopped_s is None else self.stopped_s

    @property
    def is_over(self) -> bool:
        """Whether no further request is sent."""
        return self.stopped_s is not None or self.seconds > self.most_s or self.seen.total() >= self.most_requests

    def stop(self) -> None:
        """Send nothing more."""
        self.stopped_s = self.seconds

    @property
    def problems(self) -> list[str]:
        """What was wrong, a line each."""
        found = [f"{self.wrong} wrong answers"] if self.wrong else []
        found += [f"{self.lost} requests without an answer"] if self.lost else []
        found += [f"{n} answers of status {status}" for status, n in self.seen.items() if status >= 500]
        if self.end_bytes > (1 + GROWTH) * self.warm_bytes + SLACK_BYTES:
            found.append(f"memory grew from {self.warm_bytes / 1e6:.0f} to {self.end_bytes / 1e6:.0f} MB")
        if not self.seen[200]:
            found.append("nothing was answered")
        return found

    async def run(self, port: int, process: psutil.Process, n_clients: int) -> None:
        """Ask until it is over."""
        self.started = time.monotonic()
        clients = [self._client(port, seed) for seed in range(n_clients)]
        await asyncio.gather(self._watch(process), *clients)
        self.stop()

    async def _client(self, port: int, seed: int) -> None:
        chance, connection = random.Random(seed), Connection(port)
        while not self.is_over:
            kind, number = chance.random(), chance.randrange(len(self.bodies))
            is_bad = kind < BAD_SHARE
            sent = request(chance.choice(BAD) if is_bad else self.bodies[number])
            try:
                if BAD_SHARE <= kind < BAD_SHARE + BROKEN_SHARE:
                    await connection.break_off(sent[: chance.randrange(1, len(sent) + 1)])
                    self.seen[0] += 1
                    continue
                status, said = await connection.ask(sent)
            except (OSError, EOFError):
                self.lost += 1
                if self.lost > MOST_LOST:
                    self.stop()
                continue
            self.seen[status] += 1
            if status != (422 if is_bad else 200):
                self.wrong += 1
            elif not is_bad:
                got = np.array(list(said["answers"]["q"]["probabilities"].values()))
                off = float(np.abs(got - self.expected[number]).max())
                self.max_difference = max(self.max_difference, off)
                self.wrong += not off <= self.tolerance
        connection.close()

    async def _watch(self, process: psutil.Process) -> None:
        """Resident bytes of the server when it is warm, and at the end."""
        while not self.is_over:
            done = max(self.seconds / self.most_s, self.seen.total() / self.most_requests)
            self.end_bytes = _resident(process)
            if not self.warm_bytes and done >= WARM:
                self.warm_bytes = self.end_bytes
            await asyncio.sleep(0.1)
        self.end_bytes = _resident(process)
        self.warm_bytes = self.warm_bytes or self.end_bytes

    def report(self) -> str:
        """What came of it, in lines."""
        n = self.seen
        rate = n.total() / self.seconds
        lines = [
            f"requests      {n.total()} of {self.most_requests} in {self.seconds:.0f} s, {rate:.0f}/s",
            f"answered      {n[200]}, largest difference of a probability {self.max_difference:.2g}",
            f"malformed     {n[422]} refused with 422; cancelled half-way {n[0]}",
            f"wrong answers {self.wrong}; 5xx {sum(count for status, count in n.items() if status >= 500)}",
            f"memory        {self.warm_bytes / 1e6:.1f} MB warm, {self.end_bytes / 1e6:.1f} MB at the end "
            f"({100 * (self.end_bytes / max(self.warm_bytes, 1) - 1):+.1f} %)",
            f"verdict       {'; '.join(self.problems) or 'all is right'}",
        ]
        return "\n".join(lines)


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:  # it is gone, which its clients notice
        return 0


def soak_of(folder: Path, most_requests: int, most_s: float) -> Soak:
    """What to ask a bundle, answered in process first."""
    bundle = load(folder)
    texts = [f"the {word} is {state} {i}" for i, word in enumerate(("pool", "gate", "vent") * 20) for state in "ab"]
    engine = open_engine(bundle.weights, to_score=True)
    expected = probabilities(bundle, engine, texts)
    del engine
    gc.collect()
    tolerance = TOLERANCE[Predictor if isinstance(bundle.weights, Predictor) else Base]
    bodies = [question(bundle.task.names, text) for text in texts]
    return Soak(bodies, expected, tolerance, most_requests, most_s)


def untuned_bundle(folder: Path, task: Task) -> Path:
    """A bundle of the packaged language model as it comes, over the labels of a task."""
    template = open_engine(Base(MODEL), to_score=True).template
    save(Bundle(task, Prompt.for_task(task, template), Base(MODEL), Calibration()), folder)
    return folder


def main(arguments: Sequence[str] | None = None) -> int:
    """0 where all is right, 1 where it is not, 2 where the bundle is at fault."""
    parser = argparse.ArgumentParser(prog="python -m bench.load.soak", description=__doc__)
    parser.add_argument("bundle", nargs="?", type=Path, default=NGRAMS, help="(default: a small one on n-grams)")
    parser.add_argument("--model", action="store_true", help=f"{MODEL} untuned, over the bundle's labels")
    parser.add_argument("--requests", type=int, default=100_000, help="at most (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=3600.0, help="at most (default: %(default)s)")
    parser.add_argument("--clients", type=int, default=64, help="at once (default: %(default)s)")
    given = parser.parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            folder = untuned_bundle(Path(scratch) / "bundle", load(given.bundle).task) if given.model else given.bundle
            soak = soak_of(folder, given.requests, given.seconds)
            with serving([folder], log=None) as (url, process):
                asyncio.run(_told(soak, int(url.rsplit(":", 1)[1]), process.pid, given.clients))
    except LabelwrightError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(soak.report(), flush=True)
    return 1 if soak.problems else 0


async def _told(soak: Soak, port: int, pid: int, n_clients: int) -> None:
    """Run a soak, with a line about it now and then; Ctrl-C and SIGTERM end it as if it had come to its end."""
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, soak.stop)

    async def tell() -> None:
        while not soak.is_over:
            await asyncio.sleep(5)
            print(
                f"{soak.seen.total()} requests, {soak.seconds:.0f} s, {soak.wrong} wrong", file=sys.stderr, flush=True
            )

    telling = asyncio.create_task(tell())
    await soak.run(port, psutil.Process(pid), n_clients)
    telling.cancel()


if __name__ == "__main__":
    sys.exit(main())
