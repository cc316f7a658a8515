"""Servers as targets: a bundle's own question asked over HTTP, to see that it is answered as the bundle answers it.

Two wires. System One (``POST /v1/systemone``) answers with a probability for every option. Of an OpenAI-compatible
server (a URL that ends in ``/v1``) a chat completion is asked, with the labels as an enumeration; the probabilities are
those of its ``top_logprobs``, where they name labels, and else all or nothing.

A key comes from the environment and goes to the server alone: redirects are not followed, and over plain HTTP it goes
to this machine only.
"""

from __future__ import annotations

import json
import math
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import numpy as np
from numpy.typing import NDArray

from labelwright.bundle.types import Bundle
from labelwright.engines.servers.asking import KEY, LOOPBACK, in_order, key_for
from labelwright.errors import DataError, ModelError
from labelwright.prompt import Prompt
from labelwright.reading import one_line, parse_json

TIMEOUT_S = 120.0
_IN_FLIGHT = 8
_ATTEMPTS = 5
_LONGEST_PAUSE_S = 10.0
_MOST_BYTES = 16 * 2**20
# Of one: servers write so many digits.
_SUM_TOLERANCE = 0.02
_SYSTEM_ONE = "/v1/systemone"
_ANY_MODEL = "jev-latest"
QUESTION = "label"


def is_url(target: str) -> bool:
    """Whether a target is a server, and no folder."""
    return target.startswith(("http://", "https://"))


def shown_url(url: str) -> str:
    """A URL without what may be secret in it: user, password, query."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def open_server(url: str, bundle: Bundle, model: str = "") -> Server:
    """The server at a URL, asked what it has.

    Parameters
    ----------
    model : str
        Which of its models; by default its only one.

    Raises
    ------
    DataError
        A URL that is none, or a model that it does not have.
    ModelError
        No answer, or a key that it refuses.
    """
    parts = urlsplit(url)
    try:
        fits = bool(parts.hostname) and (parts.port is None or parts.port > 0) and not parts.username
    except ValueError:
        fits = False
    if not fits or parts.query or parts.fragment:
        raise DataError(
            f"{shown_url(url)}: no URL of a server; expected one such as http://127.0.0.1:8080 (a key belongs in {KEY})"
        )
    path = parts.path.rstrip("/")
    if path not in ("", "/v1", _SYSTEM_ONE):
        raise DataError(f"{shown_url(url)}: expected a URL that ends in its port, in {_SYSTEM_ONE}, or (OpenAI) in /v1")
    ask = _Http(urlunsplit((parts.scheme, parts.netloc, "", "", "")))
    wire = OpenAI if path == "/v1" else SystemOne
    return wire(ask, bundle, model)


def system_one_request(prompt: Prompt, text: str, model: str) -> dict[str, Any]:
    """The body of ``POST /v1/systemone``: one choice question, named ``QUESTION``, its options in label order."""
    question = {
        "type": "choice",
        "instructions": prompt.instructions,
        "criteria": {label.name: label.description or None for label in prompt.labels},
    }
    return {"model": model, "state": text, "questions": {QUESTION: question}}


class Server:
    """What both wires share: rows in flight, and which model is asked.

    Parameters
    ----------
    http : _Http
    bundle : Bundle
        Whose question is asked.
    model : str
        Empty for the only one that there is.
    """

    def __init__(self, http: _Http, bundle: Bundle, model: str) -> None:
        self._http = http
        self._bundle = bundle
        self._names = bundle.task.names
        self.model = model or self._only_model()

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Shape (n_texts, n_labels); some rows are asked at a time."""
        if len(texts) == 1:
            return self._one(texts[0])[None]
        rows = in_order(self._one, texts, _IN_FLIGHT)
        return np.array(rows).reshape(len(texts), len(self._names))

    def close(self) -> None:
        """Nothing stays open."""

    def _only_model(self) -> str:
        listed = self._http.get("/v1/models", missing={})
        found = listed.get("data") if isinstance(listed, Mapping) else None
        ids = [str(one["id"]) for one in found or [] if isinstance(one, Mapping) and isinstance(one.get("id"), str)]
        if len(ids) > 1:
            raise DataError(f"{self._http.origin} has {len(ids)} models, {', '.join(ids[:8])}: say which with --model")
        return ids[0] if ids else _ANY_MODEL

    def _one(self, text: str) -> NDArray[np.float64]:
        raise NotImplementedError

    def _vector(self, by_name: Mapping[str, Any]) -> NDArray[np.float64]:
        """Probabilities in the order of the labels. Raises ModelError where they are no probabilities of the labels."""
        values = [by_name.get(name) for name in self._names]
        if set(by_name) - set(self._names) or not all(isinstance(one, int | float) for one in values):
            raise self._odd(f"probabilities of {', '.join(map(repr, list(by_name)[:4]))} …, not one of each label")
        vector = np.array(values, dtype=np.float64)
        if not np.isfinite(vector).all() or (vector < 0).any() or abs(vector.sum() - 1) > _SUM_TOLERANCE:
            raise self._odd(f"numbers that add up to {vector.sum():.4g}, not to 1")
        return vector / vector.sum()

    def _odd(self, found: str) -> ModelError:
        return ModelError(f"{self._http.origin} answered {found}: it is not this bundle's classifier")


class SystemOne(Server):
    """``POST /v1/systemone``: one choice question, its options the labels with their descriptions."""

    def _one(self, text: str) -> NDArray[np.float64]:
        answer = self._http.post(_SYSTEM_ONE, system_one_request(self._bundle.prompt, text, self.model))
        try:
            given = answer["answers"][QUESTION]["probabilities"]
            pairs = dict(given) if isinstance(given, Mapping) else {}
        except (LookupError, TypeError) as error:
            raise self._odd(f"no probabilities ({one_line(error)})") from error
        return self._vector(pairs)


class OpenAI(Server):
    """``POST /v1/chat/completions``: the label as the whole answer, its alternatives among the log-probabilities."""

    def _one(self, text: str) -> NDArray[np.float64]:
        schema = {"type": "string", "enum": list(self._names)}
        body = {
            "model": self.model,
            "messages": [{"role": "system", "content": self._bundle.prompt.system}, {"role": "user", "content": text}],
            "temperature": 0,
            "logprobs": True,
            "top_logprobs": 20,
            "response_format": {"type": "json_schema", "json_schema": {"name": "label", "schema": schema}},
        }
        answer = self._http.post("/v1/chat/completions", body)
        try:
            choice = answer["choices"][0]
            said = choice["message"]["content"]
        except (LookupError, TypeError) as error:
            raise self._odd(f"no message ({one_line(error)})") from error
        if (found := self._of_log_probs(choice)) is not None:
            return found
        label = str(said).strip().strip('"')
        return np.array([float(name == label) for name in self._names])

    def _of_log_probs(self, choice: Mapping[str, Any]) -> NDArray[np.float64] | None:
        """The probabilities of the first token's alternatives, where these are whole labels and nearly all there is."""
        try:
            top = choice["logprobs"]["content"][0]["top_logprobs"]
            by_name = {one["token"]: math.exp(min(float(one["logprob"]), 0.0)) for one in top}
        except (LookupError, TypeError, ValueError):
            return None
        vector = np.array([by_name.get(name, 0.0) for name in self._names])
        return vector / vector.sum() if abs(vector.sum() - 1) <= _SUM_TOLERANCE else None


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Elsewhere is nobody who was meant to read a key, or a row."""

    def redirect_request(self, *_: Any) -> None:
        return None


class _Http:
    """JSON over HTTP to one server: a bounded wait, a bounded answer, one line of error, a busy one asked again."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        key, host = key_for(origin), urlsplit(origin).hostname
        self._headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        # What listens on this machine is not asked by way of a proxy.
        proxies = [urllib.request.ProxyHandler({})] if host in LOOPBACK else []
        self._opener = urllib.request.build_opener(_NoRedirects, *proxies)

    def get(self, path: str, missing: Any) -> Any:
        """What a path holds; ``missing`` where there is nothing."""
        return self._ask(urllib.request.Request(self.origin + path, headers=self._headers), missing)

    def post(self, path: str, body: Any) -> Any:
        """The answer to a body."""
        data = json.dumps(body).encode()
        return self._ask(urllib.request.Request(self.origin + path, data=data, headers=self._headers))

    def _ask(self, request: urllib.request.Request, missing: Any = None) -> Any:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                with self._opener.open(request, timeout=TIMEOUT_S) as answer:
                    read = answer.read(_MOST_BYTES + 1)
                if len(read) > _MOST_BYTES:
                    raise ModelError(f"{self.origin} answered more than {_MOST_BYTES} bytes: no answer to one row")
                return parse_json(read)
            except urllib.error.HTTPError as error:
                if error.code == 404 and missing is not None:
                    return missing
                if error.code not in (429, 503) or attempt == _ATTEMPTS:
                    raise self._refused(error) from error
                time.sleep(_pause(error, attempt))
            except (TimeoutError, urllib.error.URLError, ConnectionError) as error:
                reason = error.reason if isinstance(error, urllib.error.URLError) else error
                said = one_line(reason) if isinstance(reason, BaseException) else str(reason)
                raise ModelError(
                    f"{self.origin} cannot be reached ({said}): start the server, or correct the URL"
                ) from error
            except (ValueError, OSError) as error:
                raise ModelError(f"{self.origin} answered what is no JSON ({one_line(error)})") from error
        raise AssertionError("every attempt returns or raises")

    def _refused(self, error: urllib.error.HTTPError) -> ModelError:
        if error.code in (401, 403):
            return ModelError(f"{self.origin} refuses the key: set {KEY} in the environment")
        said = " ".join(error.read(2000).decode("utf-8", "replace").split())[:200]
        return ModelError(f"{self.origin} answered {error.code}: {said or error.reason}")


def _pause(error: urllib.error.HTTPError, attempt: int) -> float:
    asked = error.headers.get("Retry-After", "")
    seconds = float(asked) if asked.isdigit() else 0.2 * 2**attempt
    return min(seconds, _LONGEST_PAUSE_S)
