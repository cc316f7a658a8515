"""64 clients at once, a tenth of them sending nonsense, a tenth going away half-way: every other answer is right.

Ten seconds; ``LABELWRIGHT_SOAK_S`` makes it longer, up to ten minutes. It ends after 100,000 requests at the latest and
speaks to this machine only.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections import Counter
from pathlib import Path

import numpy as np
import psutil
import pytest
from serving import asked, command

from labelwright.bundle.store import load
from labelwright.decide import probabilities
from labelwright.engines.opening import open_engine

NGRAMS = Path(__file__).parents[1] / "bundle" / "older" / "ngrams"
SECONDS = min(float(os.environ.get("LABELWRIGHT_SOAK_S", "10")), 600.0)
N_CLIENTS, MOST_REQUESTS = 64, 100_000
# The first fifth warms up: pools, caches, the allocator.
WARM = 0.2
BAD = (b"{", b"[]", b'{"model": 1}', b"\xff" * 40, b"[" * 3000, b'{"state": NaN}', b'{"a": "\\ud800"}')


class Load:
    """What the clients share: what to ask, what is right, and what they saw."""

    def __init__(self, port: int) -> None:
        bundle = load(NGRAMS)
        texts = [f"the {word} is {state} {i}" for i, word in enumerate(("pool", "gate", "vent") * 20) for state in "ab"]
        expected = probabilities(bundle, open_engine(bundle.weights), texts)
        self.bodies = [json.dumps(asked(bundle.task.names, text)).encode() for text in texts]
        self.expected = dict(enumerate(expected))
        self.port, self.seen, self.wrong = port, Counter[int](), 0
        self.started = time.monotonic()

    @property
    def is_over(self) -> bool:
        return time.monotonic() - self.started > SECONDS or self.seen.total() >= MOST_REQUESTS

    async def client(self, seed: int) -> None:
        chance = random.Random(seed)
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        while not self.is_over:
            kind = chance.random()
            number = chance.randrange(len(self.bodies))
            body = chance.choice(BAD) if kind < 0.1 else self.bodies[number]
            head = b"POST /v1/systemone HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            request = head + b"content-length: %d\r\n\r\n" % len(body) + body
            if 0.1 <= kind < 0.2:
                writer.write(request[: chance.randrange(1, len(request) + 1)])
                await writer.drain()
                writer.close()
                self.seen[0] += 1
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                continue
            writer.write(request)
            answer = await reader.readuntil(b"\r\n\r\n")
            status = int(answer.split()[1])
            n_bytes = next(
                int(line.split(b":")[1]) for line in answer.lower().split(b"\r\n") if b"content-length" in line
            )
            said = json.loads(await reader.readexactly(n_bytes))
            self.seen[status] += 1
            if kind < 0.1:
                assert status == 422, said
                continue
            got = said["answers"]["q"]["probabilities"].values() if status == 200 else ()
            self.wrong += not (status == 200 and np.allclose(list(got), self.expected[number], atol=1e-9))
        writer.close()

    async def watch(self, process: psutil.Process) -> tuple[int, int]:
        """Resident bytes of the server when it is warm, and at the end."""
        await asyncio.sleep(WARM * SECONDS)
        warm = process.memory_info().rss
        while not self.is_over:
            await asyncio.sleep(0.1)
        return warm, process.memory_info().rss


@pytest.mark.real
def test_every_answer_is_right_none_is_a_5xx_and_memory_stays():
    with command(NGRAMS) as (started, url, _):
        # What nobody reads fills its pipe, and the server waits for ever.
        drained = asyncio.to_thread(lambda: Counter(line[:1] for line in started.stderr))
        load_on = Load(int(url.rsplit(":", 1)[1]))

        async def all_of_it():
            lines = asyncio.create_task(drained)
            clients = [load_on.client(seed) for seed in range(N_CLIENTS)]
            memory, *_ = await asyncio.gather(load_on.watch(psutil.Process(started.pid)), *clients)
            started.terminate()
            return memory, await lines

        (warm, end), lines = asyncio.run(all_of_it())
        assert started.wait(20) == 0
    assert load_on.wrong == 0
    assert set(load_on.seen) == {0, 200, 422}
    assert load_on.seen.total() > 20 * SECONDS
    assert end < 1.05 * warm + 2**21
    # A line of log each, and nothing else.
    assert set(lines) == {"{"}
