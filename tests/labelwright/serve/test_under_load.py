"""Many clients at once, some sending nonsense, some going away half-way, and a server that is killed under them.

What they ask and how it is judged is ``bench.load``'s, which asks far more when it is told to.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import psutil
import pytest

from bench.load.client import Connection, request
from bench.load.server import serving
from bench.load.soak import NGRAMS, soak_of

N_CLIENTS = 64
# Of a client that retries: so often, with so much time between.
N_RETRIES, PAUSE_S = 100, 0.1
EACH = 30


def port_of(url: str) -> int:
    return int(url.rsplit(":", 1)[1])


@pytest.mark.real
def test_every_answer_is_right_none_is_a_5xx_and_memory_stays(tmp_path):
    soak = soak_of(NGRAMS, most_requests=100_000, most_s=8.0)
    with (tmp_path / "log").open("w+") as log, serving([NGRAMS], log=log) as (url, process):
        asyncio.run(soak.run(port_of(url), psutil.Process(process.pid), N_CLIENTS))
        process.terminate()
        assert process.wait(20) == 0
        log.seek(0)
        # A line of log each, and nothing else.
        assert set(Counter(line[:1] for line in log)) == {"{"}
    assert soak.problems == []
    assert set(soak.seen) == {0, 200, 422}
    assert soak.seen.total() > 20 * soak.seconds


def test_whoever_retries_loses_nothing_when_the_server_is_killed_and_started_again():
    """SIGKILL half-way: connections break within requests, none can be made, and then they are answered again."""
    soak = soak_of(NGRAMS, most_requests=0, most_s=0)
    n_clients = 16
    answered: Counter[int] = Counter()
    retried: list[str] = []
    wrong: list[int] = []

    async def client(port: int, seed: int) -> None:
        connection = Connection(port)
        for turn in range(EACH):
            number = (EACH * seed + turn) % len(soak.bodies)
            for _ in range(N_RETRIES):
                try:
                    status, said = await connection.ask(request(soak.bodies[number]))
                except (OSError, EOFError) as error:
                    retried.append(type(error).__name__)
                else:
                    if status == 200:
                        break
                    retried.append(str(status))
                await asyncio.sleep(PAUSE_S)
            else:
                raise AssertionError(f"request {number} was never answered")
            answered[seed] += 1
            got = said["answers"]["q"]["probabilities"].values()
            wrong.extend([number] if max(abs(soak.expected[number] - list(got))) > 1e-9 else [])
            # So slowly that the end comes after the kill.
            await asyncio.sleep(0.01)
        connection.close()

    async def clients_of(port: int, half: asyncio.Event) -> None:
        clients = [asyncio.create_task(client(port, seed)) for seed in range(n_clients)]
        while answered.total() < n_clients * EACH // 2:
            await asyncio.sleep(0.01)
        half.set()
        await asyncio.gather(*clients)

    async def all_of_it(port: int, first) -> None:
        half = asyncio.Event()
        asking = asyncio.create_task(clients_of(port, half))
        await half.wait()
        first.kill()
        assert await asyncio.to_thread(first.wait, 20) == -9
        again = serving([NGRAMS], port=port)
        try:
            await asyncio.to_thread(again.__enter__)
            await asyncio.wait_for(asking, 60)
        finally:
            await asyncio.to_thread(again.__exit__, None, None, None)

    started = time.monotonic()
    with serving([NGRAMS]) as (url, first):
        asyncio.run(all_of_it(port_of(url), first))
    assert answered == dict.fromkeys(range(n_clients), EACH)
    assert wrong == []
    assert {"ConnectionRefusedError"} <= set(retried) <= {
        "ConnectionRefusedError", "ConnectionResetError", "IncompleteReadError", "BrokenPipeError"
    }  # fmt: skip
    assert time.monotonic() - started < 60
