from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import numpy as np
import pytest
from fakes import FakeEngine, toy_bundle, toy_splits

from labelwright.bundle.store import save
from labelwright.cli import main
from labelwright.conversion import servers
from labelwright.conversion.servers import is_url, open_server, shown_url
from labelwright.decide import probabilities
from labelwright.errors import DataError, ModelError

BUNDLE = toy_bundle()
NAMES = BUNDLE.task.names
TEXTS = ["my chlorine is green", "a picket broke", "furnace"]


class Fake(BaseHTTPRequestHandler):
    """A server that answers as the bundle does, on the wires that a test gives it."""

    models: ClassVar[list[str]] = ["the-one"]
    change: ClassVar[Any] = staticmethod(lambda answer: answer)
    busy: ClassVar[int] = 0
    status: ClassVar[int] = 200
    seen: ClassVar[list[tuple[str, Any, str]]] = []

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._say(200 if self.models else 404, {"data": [{"id": one} for one in self.models]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        type(self).seen.append((self.path, body, self.headers.get("Authorization", "")))
        if type(self).busy:
            type(self).busy -= 1
            self._say(503, {})
        elif self.status == 302:
            self.send_response(302)
            self.send_header("Location", "http://127.0.0.1:9/stolen")
            self.end_headers()
        else:
            self._say(self.status, self.change(self._answer(body)))

    def _answer(self, body: Any) -> Any:
        if self.path == "/v1/systemone":
            ((key, question),) = body["questions"].items()
            probs = probabilities(BUNDLE, FakeEngine(), [body["state"]])[0]
            by_name = dict(zip(NAMES, probs.tolist(), strict=True))
            return {"answers": {key: {"probabilities": {name: by_name[name] for name in question["criteria"]}}}}
        probs = probabilities(BUNDLE, FakeEngine(), [body["messages"][-1]["content"]])[0]
        best = NAMES[int(probs.argmax())]
        top = [{"token": name, "logprob": float(np.log(p))} for name, p in zip(NAMES, probs, strict=True)]
        return {"choices": [{"message": {"content": best}, "logprobs": {"content": [{"top_logprobs": top}]}}]}

    def _say(self, status: int, value: Any) -> None:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Retry-After", "0")
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def serving(**settings: Any) -> Iterator[str]:
    handler: Any = type("Handler", (Fake,), {"seen": [], **settings})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.handler = handler  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch):
    monkeypatch.delenv(servers.KEY, raising=False)


@pytest.mark.parametrize("path", ["", "/", "/v1/systemone", "/v1"])
def test_either_wire_gives_the_probabilities_in_label_order(path):
    with serving() as url:
        server = open_server(url + path, BUNDLE)
        assert server.model == "the-one"
        np.testing.assert_allclose(server.probabilities(TEXTS), probabilities(BUNDLE, FakeEngine(), TEXTS), atol=1e-9)
        assert server.probabilities(TEXTS[:1]).shape == (1, 3)


def test_a_chat_answer_without_log_probabilities_is_all_or_nothing():
    def bare(answer: Any) -> Any:
        return {"choices": [{"message": {"content": '"fence"'}, "logprobs": None}]}

    with serving(change=staticmethod(bare)) as url:
        assert open_server(url + "/v1", BUNDLE).probabilities(["x"]).tolist() == [[0.0, 1.0, 0.0]]


def test_a_busy_server_is_asked_again_and_one_without_a_list_of_models_by_a_name_that_all_take():
    with serving(busy=2, models=[]) as url:
        server = open_server(url, BUNDLE)
        assert server.model == "jev-latest"
        assert server.probabilities(TEXTS[:1]).shape == (1, 3)


def odd(probabilities: Any) -> Any:
    return staticmethod(lambda answer: {"answers": {"label": {"probabilities": probabilities}}})


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"change": staticmethod(lambda answer: {"answers": {}})}, "no probabilities"),
        ({"change": staticmethod(lambda answer: [])}, "no probabilities"),
        ({"change": odd({"pool": 1.0})}, "not one of each label"),
        ({"change": odd({"pool": 0.5, "fence": 0.5, "hvac": 0.5})}, "not to 1"),
        ({"change": odd({"pool": -1.0, "fence": 1.0, "hvac": 1.0})}, "not to 1"),
        ({"change": staticmethod(lambda answer: b"<html>")}, "no JSON"),
        ({"status": 401}, "refuses the key"),
        ({"status": 500}, "answered 500"),
        ({"status": 302}, "answered 302"),
    ],
)
def test_what_is_no_answer_of_this_classifier_is_one_line(settings, said):
    with serving(**settings) as url, pytest.raises(ModelError, match=said) as caught:
        open_server(url, BUNDLE).probabilities(["x"])
    assert len(str(caught.value).splitlines()) == 1


def test_several_models_must_be_chosen_from():
    with serving(models=["one", "two"]) as url:
        with pytest.raises(DataError, match=r"one, two.*--model"):
            open_server(url, BUNDLE)
        assert open_server(url, BUNDLE, "two").model == "two"


def test_nobody_there_is_one_line():
    with serving() as url:
        pass
    with pytest.raises(ModelError, match="cannot be reached"):
        open_server(url, BUNDLE)


@pytest.mark.parametrize("url", ["http://", "http://h:99999", "http://me:pw@h", "http://h?key=k", "http://h/v2/x"])
def test_a_url_that_is_none_is_refused_and_no_password_in_it_shown(url):
    with pytest.raises(DataError) as caught:
        open_server(url, BUNDLE)
    assert "pw" not in str(caught.value)
    assert "key=k" not in str(caught.value)


def test_a_key_goes_to_the_server_and_never_unencrypted_elsewhere(monkeypatch):
    monkeypatch.setenv("LABELWRIGHT_API_KEY", "s3cret")
    with pytest.raises(ModelError, match="unencrypted") as caught:
        open_server("http://192.0.2.1:8080", BUNDLE)
    assert "s3cret" not in str(caught.value)
    seen: list[Any] = []
    with serving(seen=seen) as url:
        open_server(url, BUNDLE).probabilities(["x"])
    assert [key for _, _, key in seen] == ["Bearer s3cret"]


def test_what_is_asked_is_the_bundles_own_question():
    seen: list[Any] = []
    with serving(seen=seen) as url:
        open_server(url, BUNDLE).probabilities(["x"])
    ((path, body, key),) = seen
    assert (path, key, body["state"], body["model"]) == ("/v1/systemone", "", "x", "the-one")
    assert body["questions"]["label"] == {
        "type": "choice",
        "instructions": BUNDLE.prompt.instructions,
        "criteria": dict.fromkeys(NAMES),
    }


def test_urls_and_folders_are_told_apart_and_shown_without_secrets():
    assert is_url("http://127.0.0.1:1")
    assert not is_url("./http")
    assert shown_url("https://me:pw@host:1/v1?k=v") == "https://host:1/v1"


def test_certify_a_server_from_the_command_line(tmp_path, capsys, monkeypatch):
    from labelwright.conversion import converting

    save(BUNDLE, tmp_path / "b", engine=FakeEngine(), golden=toy_splits().dev)
    monkeypatch.setattr(converting, "open_engine", lambda weights, settings: FakeEngine())
    with serving() as url:
        assert main(["certify", str(tmp_path / "b"), url, "--output", str(tmp_path / "c.json")]) == 0
    out = capsys.readouterr().out
    assert "within the tolerance" in out
    assert json.loads((tmp_path / "c.json").read_text())["model"] == "the-one"
