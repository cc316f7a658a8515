"""What a soak counts as wrong: answers, statuses, memory, and nobody there."""

import asyncio
import json
import socket

import numpy as np
import psutil
import pytest

from bench.load import client
from bench.load.soak import MOST_LOST, Soak


def soak(expected=((0.25, 0.75),), **more):
    given = {"most_requests": 200, "most_s": 20.0, **more}
    return Soak([client.question(("a", "b"), "x")], np.array(expected), 1e-6, **given)


async def served(one, answer):
    """Run a soak at a server that answers everything by a function of the body."""

    async def handle(reader, writer):
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
                status, said = answer(await reader.readexactly(length))
                body = json.dumps(said).encode()
                writer.write(b"HTTP/1.1 %d x\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body)
        except asyncio.IncompleteReadError:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    await one.run(server.sockets[0].getsockname()[1], psutil.Process(), 4)
    server.close()


def right(body):
    try:
        json.loads(body)["questions"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return 422, {}
    return 200, {"answers": {"q": {"probabilities": {"a": 0.25, "b": 0.75}}}}


def test_right_answers_and_refusals_are_all_right():
    asyncio.run(served(one := soak(), right))
    assert one.problems == []
    assert set(one.seen) == {0, 200, 422}
    assert 200 <= one.seen.total() < 210
    assert "verdict       all is right" in one.report()


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (lambda body: (right(body)[0], {"answers": {"q": {"probabilities": {"a": 0.3, "b": 0.7}}}}), "wrong answers"),
        (lambda body: (right(body)[0], {"answers": {"q": {"probabilities": {"a": np.nan, "b": 1}}}}), "wrong answers"),
        (lambda body: (200, right(body)[1] or {"answers": {}}), "wrong answers"),
        (lambda body: (500, {}), "status 500"),
    ],
)
def test_whatever_else_is_said(answer, problem):
    asyncio.run(served(one := soak(), answer))
    assert problem in "; ".join(one.problems)


def test_nobody_there_ends_it():
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        asyncio.run((one := soak()).run(nobody.getsockname()[1], psutil.Process(), 2))
    assert MOST_LOST < one.lost < 2 * MOST_LOST
    assert "without an answer" in "; ".join(one.problems)


def test_memory_that_grows_is_a_problem():
    one = soak()
    one.seen[200] = 1
    one.warm_bytes, one.end_bytes = 100_000_000, 110_000_000
    assert one.problems == ["memory grew from 100 to 110 MB"]


def test_it_can_be_stopped_and_says_what_it_found():
    one = soak(most_requests=10**9, most_s=1e9)

    async def stopped():
        running = asyncio.create_task(served(one, right))
        await asyncio.sleep(0.2)
        one.stop()
        await running

    asyncio.run(stopped())
    assert one.problems == []
    assert one.seconds < 5
