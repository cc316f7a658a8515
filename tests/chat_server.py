"""A small real server that speaks OpenAI's chat completions and says what it is told to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from json_server import serving_json


class ChatServer:
    """What is said, and how often it is not.

    Parameters
    ----------
    says : callable
        From the system's words and the turns after them to an answer.
    fail : int
        So many requests are answered 503 first.
    refuses : (status, message), optional
        What every request is answered.
    """

    def __init__(
        self, says: Callable[[str, Sequence[str]], str], fail: int = 0, refuses: tuple[int, str] | None = None
    ) -> None:
        self.says, self.fail, self.refuses = says, fail, refuses
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self._lock = threading.Lock()

    def answer(self, body: dict[str, Any], key: str) -> tuple[int, dict[str, Any]]:
        with self._lock:
            self.keys.append(key)
            if self.refuses:
                return self.refuses[0], {"error": {"message": self.refuses[1], "code": self.refuses[0]}}
            if self.fail:
                self.fail -= 1
                return 503, {"error": {"message": "loading"}}
            self.requests.append(body)
        system, *turns = (message["content"] for message in body["messages"])
        message = {"role": "assistant", "content": self.says(system, turns)}
        return 200, {
            "id": "1", "object": "chat.completion", "created": 0, "model": body["model"],
            "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
            "usage": {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14},
        }  # fmt: skip


@contextmanager
def serving_chat(server: ChatServer) -> Iterator[str]:
    """The server's base URL, for as long as the block lasts."""
    with serving_json(lambda path, key, body: server.answer(body, key)) as url:
        yield url
