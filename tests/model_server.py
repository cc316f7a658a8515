"""A small real server that speaks what the engines ask of vLLM and of OpenAI-compatible endpoints.

It answers from a transformers engine, one token sequence at a time, so that the engines' whole client side is run
through in the tests without the servers themselves.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from json_server import serving_json

from labelwright.data.task import Label
from labelwright.prompt import Prompt


class ModelServer:
    """What is served, and how it behaves.

    Attributes
    ----------
    logprobs : bool
        False: requests for log-probabilities are refused, as some servers do.
    json_schema : bool
        False: structured outputs are refused.
    says : str, optional
        What a chat answers instead of a label.
    fail : int
        So many requests are answered 500 first.
    key : str
        The key that requests must bear; empty for none.
    """

    def __init__(self, engine: Any, name: str, max_model_len: int = 512) -> None:
        self.engine, self.name, self.max_model_len = engine, name, max_model_len
        self.logprobs = self.json_schema = True
        self.says: str | None = None
        self.fail = 0
        self.key = ""
        self.requests: list[dict[str, Any]] = []
        self._lock = threading.Lock()

    def answer(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if path == "/v1/models":
            model = {"id": self.name, "object": "model", "created": 0, "owned_by": "x"}
            return 200, {"object": "list", "data": [{**model, "max_model_len": self.max_model_len}]}
        with self._lock:
            self.requests.append(body)
            if self.fail:
                self.fail -= 1
                return 500, {"error": {"message": "try again"}}
            return self._completions(body) if path == "/v1/completions" else self._chat(body)

    def _completions(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if body.get("logprob_token_ids") and not self.logprobs:
            return 400, {"error": {"message": "logprobs are switched off on this server"}}
        choices = []
        for index, sequence in enumerate(body["prompt"]):
            choice: dict[str, Any] = {"index": index, "finish_reason": "stop", "text": "", "logprobs": None}
            if "structured_outputs" in body:
                choice["text"] = self._greedy_choice(sequence, body["structured_outputs"]["choice"])
            elif body.get("logprob_token_ids"):
                log_probs = self._next(sequence)
                top = {f"token_id:{token}": float(log_probs[token]) for token in body["logprob_token_ids"]}
                choice["logprobs"] = {"top_logprobs": [top], "tokens": [], "token_logprobs": [], "text_offset": []}
            else:
                choice["text"] = self._generate(sequence, body["max_tokens"])
            choices.append(choice)
        return 200, {"id": "1", "object": "text_completion", "created": 0, "model": self.name, "choices": choices}

    def _chat(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        system, user = (message["content"] for message in body["messages"])
        if len(user) > 2000:
            return 400, {"error": {"message": "This model's maximum context length is 512 tokens"}}
        text = self.says if self.says is not None else "something else"
        if "response_format" in body:
            if not self.json_schema:
                return 400, {"error": {"message": "response_format json_schema is not supported"}}
            labels = body["response_format"]["json_schema"]["schema"]["properties"]["label"]["enum"]
            text = json.dumps({"label": self.says or self._likeliest(system, user, labels)})
        elif "structured_outputs" in body:
            return 400, {"error": {"message": "unknown parameter structured_outputs"}}
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        return 200, {"id": "1", "object": "chat.completion", "created": 0, "model": self.name, "choices": [choice]}

    def _likeliest(self, system: str, user: str, labels: list[str]) -> str:
        prompt = Prompt("x", tuple(map(Label, labels)), template=self.engine.template)
        rendered = prompt.render(user)._replace(system=system)
        return labels[int(self.engine.score([rendered], prompt.options)[0].argmax())]

    @torch.no_grad()
    def _next(self, sequence: list[int]) -> torch.Tensor:
        return torch.log_softmax(self.engine.model(input_ids=torch.tensor([sequence])).logits[0, -1].double(), -1)

    def _greedy_choice(self, sequence: list[int], options: list[str]) -> str:
        scores = []
        for option in options:
            tokens = self.engine.tokens.plain(option)
            path = list(sequence)
            total = 0.0
            for token in tokens:
                total += float(self._next(path)[token])
                path.append(token)
            scores.append(total)
        return options[int(np.argmax(scores))]

    def _generate(self, sequence: list[int], n_tokens: int) -> str:
        written: list[int] = []
        for _ in range(n_tokens):
            token = int(self._next([*sequence, *written]).argmax())
            if token == self.engine.tokens.end_of_turn[-1]:
                break
            written.append(token)
        return self.engine.tokenizer.decode(written, skip_special_tokens=True)


@contextmanager
def serving(server: ModelServer, path: Path | None = None) -> Iterator[str]:
    """The server's base URL, for as long as the block lasts; at a Unix socket where a path is given."""

    def answer(path: str, key: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if server.key and key != f"Bearer {server.key}":
            return 401, {"error": {"message": "wrong key"}}
        return server.answer(path, body)

    with serving_json(answer, path) as url:
        yield url
