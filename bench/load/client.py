"""HTTP as plainly as it can be asked: one connection, one request after the other, on the event loop.

A client library would take as long over a request as the server does, and both share the machine's cores.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

PATH = "/v1/systemone"
# What an answer may take: a queue of many rows at a slow model.
TIMEOUT_S = 120.0


def question(names: Sequence[str], text: str) -> bytes:
    """The body of a System One request: one choice among the labels."""
    asked = {"q": {"type": "choice", "criteria": dict.fromkeys(names)}}
    return json.dumps({"model": "jev-latest", "state": text, "questions": asked}).encode()


def request(body: bytes, path: str = PATH) -> bytes:
    """A whole request as it is sent."""
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


class Connection:
    """One connection to a port of this machine; opened when it is first needed, and again after it was closed."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, sent: bytes) -> tuple[int, Any]:
        """Status and JSON of the answer to a whole request.

        Raises
        ------
        OSError, EOFError
            The connection could not be opened, or ended before the answer did. It is closed.
        TimeoutError
            After ``TIMEOUT_S``.
        """
        try:
            async with asyncio.timeout(TIMEOUT_S):
                reader, writer = await self._opened()
                writer.write(sent)
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                lines = (line.partition(b":") for line in head.split(b"\r\n"))
                length = next(int(value) for name, _, value in lines if name == b"content-length")
                said = json.loads(await reader.readexactly(length))
        except BaseException:
            self.close()
            raise
        if b"\r\nconnection: close" in head:
            self.close()
        return int(head.split()[1]), said

    async def break_off(self, part: bytes) -> None:
        """Send the beginning of a request, and go away."""
        _, writer = await self._opened()
        writer.write(part)
        await writer.drain()
        self.close()

    def close(self) -> None:
        """Whoever asks next opens another."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _opened(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        return self._streams


class Asked(NamedTuple):
    """What many requests were answered, in their order, milliseconds (n,) each, and seconds for all."""

    said: list[Any]
    ms: NDArray[np.float64]
    seconds: float


async def ask_all(port: int, sent: Sequence[bytes], n_clients: int) -> Asked:
    """Each client, with a connection of its own, takes the next request that nobody has taken.

    Raises
    ------
    RuntimeError
        An answer of another status than 200.
    """
    said: list[Any] = [None] * len(sent)
    ms = np.empty(len(sent))
    left = iter(enumerate(sent))

    async def client() -> None:
        connection = Connection(port)
        for number, one in left:
            started = time.perf_counter()
            status, said[number] = await connection.ask(one)
            ms[number] = 1000 * (time.perf_counter() - started)
            if status != 200:
                raise RuntimeError(f"the server answered {status}: {said[number]}")
        connection.close()

    started = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(n_clients)))
    return Asked(said, ms, time.perf_counter() - started)
