"""The application as a client sees it: what it refuses and how, its order under load, and what it tells of itself."""

from __future__ import annotations

import io
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from fakes import FakeEngine, toy_bundle
from serving import CLIENT, Held, asked, running, served
from starlette.testclient import TestClient

from labelwright.decide import probabilities
from labelwright.decisions.promise import Promise
from labelwright.errors import DataError
from labelwright.serve.application import application
from labelwright.serve.keys import Keys
from labelwright.serve.limits import Limits
from labelwright.serve.served import Served
from labelwright.statistics.risk import Counts

NAMES = ["pool", "fence", "hvac"]
PATH = "/v1/systemone"


@pytest.fixture(scope="module")
def log():
    return io.StringIO()


@pytest.fixture(scope="module")
def url(log):
    models = served(toy_bundle(), FakeEngine(), "toy")
    limits = Limits(body_bytes=20_000, questions=3, rows=3)
    with running(application(models, limits, log=log, hosts=frozenset({"127.0.0.1"}))) as url:
        yield url
    models["toy"].close()


@pytest.fixture
def held():
    """An engine that waits, the url of a server of at most two waiting rows over it, and the server's service."""
    engine = Held()
    models = {"toy": Served("toy", toy_bundle(), engine, waiting_rows=2)}
    app = application(models)
    with running(app) as url:
        yield engine, url, app.state.service
        engine.may_go.set()
    models["toy"].close()


def sent(url: str, raw: bytes) -> tuple[int, bytes]:
    """What a server says to bytes as they are; status 0 for nothing."""
    with socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1])), timeout=10) as connection:
        connection.sendall(raw)
        said = b"".join(iter(lambda: connection.recv(65_536), b""))
    return (int(said.split()[1]) if said else 0), said


def request_of(body: bytes, *headers: str, path: str = PATH) -> bytes:
    head = [f"POST {path} HTTP/1.1", "host: 127.0.0.1", "connection: close", f"content-length: {len(body)}", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def body(text: object = "the skimmer") -> bytes:
    return json.dumps(asked(NAMES, text)).encode()


JSON = "content-type: application/json"
PLAIN = body()
BAD_BODIES = {
    "not JSON": b'{"model": ',
    "NaN": PLAIN.replace(b'"the skimmer"', b"[NaN]"),
    "beyond every number": PLAIN.replace(b'"the skimmer"', b"[1e999]"),
    "thousands of digits": PLAIN.replace(b'"the skimmer"', b"[" + b"9" * 5000 + b"]"),
    "half a character": PLAIN.replace(b"the skimmer", rb"\ud83d"),
    "half a character as a name": PLAIN.replace(b"fence", rb"\udc00"),
    "not UTF-8": PLAIN.replace(b"skimmer", b"\xff\xfe"),
    "nested deeply": PLAIN.replace(b'"the skimmer"', b"[" * 500 + b"]" * 500),
    "nested too deeply for any parser": b"[" * 9000 + b"]" * 9000,
    "a byte-order mark": b"\xef\xbb\xbf" + PLAIN,
    "UTF-16": PLAIN.decode().encode("utf-16"),
    "NUL": PLAIN.replace(b"the skimmer", rb"a\u0000b"),
    "nothing": b"",
    "null": b"null",
    "a number": b"1",
    "a list": b"[]",
    "an empty object": b"{}",
    "too many questions": PLAIN.replace(b'{"q"', b"{" + b"".join(b'"%d":null,' % i for i in range(4)) + b'"q"'),
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_a_bad_body_is_a_422_that_says_what_is_wrong(url, name):
    status, said = sent(url, request_of(BAD_BODIES[name], JSON))
    assert status == 422
    (detail, *_) = json.loads(said.partition(b"\r\n\r\n")[2])["detail"]
    assert detail["loc"][0] == "body"
    assert detail["msg"]
    assert b"Traceback" not in said


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (request_of(PLAIN, "content-type: text/plain"), 415),
        (request_of(PLAIN), 415),
        (request_of(PLAIN, JSON, "content-encoding: gzip"), 415),
        (request_of(PLAIN, JSON).replace(b"POST", b"GET", 1), 405),
        (request_of(PLAIN, JSON).replace(b"POST", b"OPTIONS", 1), 405),
        (request_of(PLAIN, JSON, path="/v1/other"), 404),
        (request_of(PLAIN, JSON, path="/v1/systemone/"), 404),
        (request_of(PLAIN, JSON).replace(b"host: 127.0.0.1", b"host: pages.example"), 403),
        (request_of(b" " * 30_000, JSON), 413),
        (request_of(PLAIN, JSON, "content-length: 3"), 400),
        (b"POST / HTTP/9.9\r\n\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
    ],
)
def test_a_bad_request_is_refused(url, raw, status):
    assert sent(url, raw)[0] == status


def test_a_body_without_a_length_is_read_and_held_to_the_limit_as_it_comes(url):
    head = request_of(b"", JSON, "transfer-encoding: chunked").replace(b"content-length: 0\r\n", b"")
    assert sent(url, head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(PLAIN), PLAIN))[0] == 200
    assert sent(url, head + b"ffff\r\n" + b" " * 0xFFFF + b"\r\n")[0] == 413


def test_a_body_that_is_too_long_is_refused_before_it_is_sent(url):
    with socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1])), timeout=10) as connection:
        connection.sendall(request_of(b"", JSON).replace(b"content-length: 0", b"content-length: 999999999"))
        assert b" 413 " in connection.recv(100)


def test_no_page_of_another_site_may_ask(url):
    """A browser asks before it sends JSON elsewhere, and is told no."""
    asking = CLIENT.options(f"{url}{PATH}", headers={"origin": "https://pages.example"})
    assert asking.status_code == 405
    assert not [name for name in asking.headers if name.startswith("access-control")]


def test_an_unexpected_error_is_a_500_without_its_message():
    bundle, engine = toy_bundle(), FakeEngine()
    engine.score = lambda *_: 1 / 0
    models, log = served(bundle, engine, "toy"), io.StringIO()
    with running(application(models, log=log)) as url:
        said = CLIENT.post(f"{url}{PATH}", json=asked(NAMES))
    models["toy"].close()
    assert said.status_code == 500
    assert said.json() == {"detail": {"error_type": "internal_error", "message": "the server failed"}}
    assert json.loads(log.getvalue())["error"] == "ZeroDivisionError"


def test_a_row_that_the_engine_refuses_costs_its_neighbour_nothing():
    class Choosy(FakeEngine):
        def score(self, prompts, options):
            if any("long" in prompt.user for prompt in prompts):
                raise DataError("row 1 ('long'…): 900 tokens")
            return super().score(prompts, options)

    models = served(toy_bundle(), Choosy(), "toy")
    with running(application(models)) as url, ThreadPoolExecutor(8) as threads:
        texts = ["the skimmer", "long"] * 8
        said = list(threads.map(lambda text: CLIENT.post(f"{url}{PATH}", json=asked(NAMES, text)), texts))
    models["toy"].close()
    assert [one.status_code for one in said] == [200, 422] * 8
    assert said[1].json()["detail"][0]["msg"] == "900 tokens"


def test_requests_at_once_get_the_answers_that_they_get_alone(url):
    bundle, texts = toy_bundle(), [f"a {word} no {i}" for i in range(20) for word in ("skimmer", "gate", "vent")]
    expected = probabilities(bundle, FakeEngine(), texts)
    with ThreadPoolExecutor(16) as threads:
        said = list(threads.map(lambda text: CLIENT.post(f"{url}{PATH}", json=asked(NAMES, text)).json(), texts))
    for one, row in zip(said, expected, strict=True):
        assert list(one["answers"]["q"]["probabilities"].values()) == pytest.approx(row.tolist())


# --- order under load ------------------------------------------------------------------------------------------------


def test_a_full_queue_says_when_to_come_again(held):
    engine, url, _ = held
    with ThreadPoolExecutor(8) as threads:
        first = threads.submit(CLIENT.post, f"{url}{PATH}", json=asked(NAMES))
        assert engine.has_begun.wait(10)
        rest = [threads.submit(CLIENT.post, f"{url}{PATH}", json=asked(NAMES, f"gate {i}")) for i in range(6)]
        assert wait_for(lambda: sum(one.done() for one in rest) == 4)
        assert {one.result().headers["retry-after"] for one in rest if one.done()} == {"1"}
        engine.may_go.set()
        assert first.result().status_code == 200
        assert sorted(one.result().status_code for one in rest) == [200, 200, 503, 503, 503, 503]


def test_an_answer_that_takes_too_long_is_given_up_and_its_rows_are_dropped(held):
    engine, url, service = held
    with ThreadPoolExecutor(2) as threads:
        service.limits = Limits(seconds=0.5)
        first = threads.submit(CLIENT.post, f"{url}{PATH}", json=asked(NAMES, "first"))
        assert engine.has_begun.wait(10)
        late = threads.submit(CLIENT.post, f"{url}{PATH}", json=asked(NAMES, "late"))
        assert {first.result().status_code, late.result().status_code} == {503}
    engine.may_go.set()
    assert CLIENT.post(f"{url}{PATH}", json=asked(NAMES, "next")).status_code == 200
    assert engine.texts == ["first", "next"]


def test_a_client_that_goes_away_takes_its_rows_with_it(held):
    engine, url, _ = held
    with ThreadPoolExecutor(1) as threads:
        threads.submit(CLIENT.post, f"{url}{PATH}", json=asked(NAMES, "first"))
        assert engine.has_begun.wait(10)
        with socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1]))) as connection:
            connection.sendall(request_of(body("gone"), JSON))
            assert wait_for(lambda: waiting_rows(url) == 1)
        assert wait_for(lambda: waiting_rows(url) == 0)
        engine.may_go.set()
    assert CLIENT.post(f"{url}{PATH}", json=asked(NAMES, "next")).status_code == 200
    assert "gone" not in engine.texts


def waiting_rows(url: str) -> float:
    lines = CLIENT.get(f"{url}/metrics").text.splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith("labelwright_waiting_rows{"))


def wait_for(condition, seconds: float = 10) -> bool:
    """Whether a condition comes true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def test_more_requests_than_may_be_in_the_server_are_told_to_come_again():
    engine = Held()
    models = served(toy_bundle(), engine, "toy")
    with running(application(models, Limits(requests=1))) as url, ThreadPoolExecutor(1) as threads:
        first = threads.submit(CLIENT.post, f"{url}{PATH}", json=asked(NAMES))
        assert engine.has_begun.wait(10)
        assert CLIENT.post(f"{url}{PATH}", json=asked(NAMES)).status_code == 503
        assert CLIENT.get(f"{url}/health").status_code == 200
        engine.may_go.set()
        assert first.result().status_code == 200
    models["toy"].close()


def test_a_model_is_exchanged_without_losing_a_request():
    old, new = Held(), FakeEngine()
    models = served(toy_bundle(), old, "toy")
    app = application(models)
    with running(app) as url, ThreadPoolExecutor(2) as threads:
        first = threads.submit(CLIENT.post, f"{url}{PATH}", json=asked(NAMES, "before"))
        assert old.has_begun.wait(10)
        second = threads.submit(CLIENT.post, f"{url}{PATH}", json=asked(NAMES, "in line"))
        assert wait_for(lambda: waiting_rows(url) == 1)
        app.state.service.swap(Served("toy", toy_bundle(), new))
        assert CLIENT.post(f"{url}{PATH}", json=asked(NAMES, "after")).status_code == 200
        assert models["toy"].engine.is_alive
        old.may_go.set()
        assert first.result().status_code == second.result().status_code == 200
        # Nobody holds the old one any more.
        assert wait_for(lambda: not models["toy"].engine.is_alive)
        assert (old.texts, len(new.calls)) == (["before", "in line"], 1)
        app.state.service.served["toy"].close()


# --- who may ask -----------------------------------------------------------------------------------------------------


def test_without_a_key_nothing_is_answered_but_whether_the_server_lives():
    models, key = served(toy_bundle(), FakeEngine(), "toy"), "k" * 32
    with running(application(models, keys=Keys([key, "another" * 5]))) as url:
        for path in ("/v1/models", "/metrics", "/openapi.json", "/docs"):
            assert CLIENT.get(f"{url}{path}").status_code == 401
            assert CLIENT.get(f"{url}{path}", headers={"authorization": f"Bearer {key}x"}).status_code == 401
            assert CLIENT.get(f"{url}{path}", headers={"authorization": f"Basic {key}"}).status_code == 401
            assert CLIENT.get(f"{url}{path}", headers={"authorization": f"Bearer {key}"}).status_code == 200
        assert CLIENT.get(f"{url}/health").status_code == CLIENT.get(f"{url}/ready").status_code == 200
        # The key is asked for before the body is looked at.
        assert CLIENT.post(f"{url}{PATH}", content=b"x" * 100).status_code == 401
    models["toy"].close()


# --- what it tells ---------------------------------------------------------------------------------------------------


def test_a_request_is_one_line_of_log_without_its_text(url, log):
    log.truncate(0), log.seek(0)
    for given, text in (("trace-1", "my secret pool"), ("bad id", "another secret")):
        CLIENT.post(f"{url}{PATH}", json=asked(NAMES, text), headers={"x-request-id": given})
    CLIENT.get(f"{url}/a secret path?text=secret")
    assert wait_for(lambda: log.getvalue().count("\n") == 3)
    first, second, third = map(json.loads, log.getvalue().splitlines())
    assert "secret" not in log.getvalue()
    assert (first["id"], first["status"], first["rows"], first["model"], first["wire"]) == (
        ("trace-1", 200, 1, "toy", "systemone")
    )
    assert second["id"].isalnum()
    assert (third["path"], third["status"]) == ("", 404)


def test_an_answer_bears_its_requests_id(url):
    assert CLIENT.get(f"{url}/health", headers={"x-request-id": "mine.1"}).headers["x-request-id"] == "mine.1"
    assert len(CLIENT.get(f"{url}/health").headers["x-request-id"]) == 32
    assert CLIENT.get(f"{url}/health", headers={"x-request-id": "a" * 500}).headers["x-request-id"] != "a" * 500


def test_what_is_counted_is_what_was_asked():
    models = served(toy_bundle(), FakeEngine(), "toy")
    with running(application(models)) as url:
        for text in ("pool", "fence", ""):
            CLIENT.post(f"{url}{PATH}", json=asked(NAMES, text))
        counted = CLIENT.get(f"{url}/metrics").text
    models["toy"].close()
    assert 'labelwright_requests_total{model="toy",status="200",wire="systemone"} 2.0' in counted
    assert 'labelwright_requests_total{model="toy",status="422",wire="systemone"} 1.0' in counted
    assert 'labelwright_rows_total{model="toy",wire="systemone"} 3.0' in counted
    assert 'labelwright_request_seconds_count{model="toy",wire="systemone"} 3.0' in counted
    assert 'labelwright_waiting_rows{model="toy"} 0.0' in counted


def test_a_server_is_ready_while_its_engines_run():
    models = served(toy_bundle(), FakeEngine(), "toy")
    app = application(models)
    with running(app) as url:
        assert CLIENT.get(f"{url}/ready").json() == {"ready": True, "models": {"toy": True}}
        app.state.service.is_stopping = True
        assert CLIENT.get(f"{url}/ready").status_code == 503
        app.state.service.is_stopping = False
        # An engine whose call in a compiled library never came back; the thread that asks it runs on.
        models["toy"].engine.engine.is_alive = False
        assert CLIENT.get(f"{url}/ready").status_code == 503
        assert CLIENT.get(f"{url}/ready").json() == {"ready": False, "models": {"toy": False}}
        models["toy"].engine.engine.is_alive = True
        assert CLIENT.get(f"{url}/ready").status_code == 200
        models["toy"].close()
        assert CLIENT.get(f"{url}/ready").json() == {"ready": False, "models": {"toy": False}}
        assert CLIENT.post(f"{url}{PATH}", json=asked(NAMES)).status_code == 503
        assert CLIENT.get(f"{url}/health").status_code == 200


def test_what_is_spoken_is_documented_with_its_bodies(url):
    said = CLIENT.get(f"{url}/openapi.json").json()
    schema = said["paths"][PATH]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert schema["required"] == ["model", "state", "questions"]
    page = CLIENT.get(f"{url}/docs").text
    assert "/v1/systemone" in page
    assert "<script" not in page


@pytest.fixture(scope="module")
def promising():
    """A client of a bundle that answers at a probability of 0.9 and more, and whose counts allow no error below 4 %."""
    counts = Counts((0.9, 0.0), ((100, 0), (200, 60)), ((100, 0), (200, 60)))
    promise = Promise(200, 200, counts, gold=(0,) * 200, at_gold=(0.2,) * 200).ask(max_error=0.05, sets=0.9)
    models = served(replace(toy_bundle(), promise=promise), FakeEngine(), "toy")
    with TestClient(application(models)) as client:
        yield client
    models["toy"].close()


UNSURE = "nothing that is known"
PROMISED = "at most 5 % of the answered rows wrong, with 95 % confidence"
OWN = {"type": "choice", "criteria": dict.fromkeys(NAMES)}


def test_every_wire_says_that_the_bundle_abstains(promising):
    messages = [{"role": "user", "content": UNSURE}]
    chat = promising.post("/v1/chat/completions", json={"model": "toy", "messages": messages}).json()
    questions = [{"type": "choice", "instructions": "?", "choices": [{"value": name} for name in NAMES]}]
    decided = promising.post("/v1/decisions", json={"model": "toy", "input": UNSURE, "questions": questions}).json()
    own = promising.post(PATH, json={"model": "toy", "state": UNSURE, "questions": {"q": OWN}}).json()
    for answer in (chat, decided["answers"][0], own["answers"]["q"]):
        assert (answer["x_abstained"], answer["x_promise"]) == ("unsure", PROMISED)
        assert answer["x_label_set"] == NAMES
    assert chat["choices"][0]["message"]["content"] == own["answers"]["q"]["choice"] == "pool"
    (row,) = promising.post("/invocations", json={"inputs": [UNSURE]}).json()["predictions"]
    assert (row["label"], row["abstained"]) == (None, "unsure")


def test_a_requests_promise_is_worked_out_beside_the_event_loop(promising, monkeypatch):
    threads: dict[str, set[int]] = {"loop": set(), "count": set()}

    def noted(where, function):
        def wrapped(self, *arguments, **options):
            threads[where].add(threading.get_ident())
            return function(self, *arguments, **options)

        return wrapped

    monkeypatch.setattr(Served, "probabilities", noted("loop", Served.probabilities))
    monkeypatch.setattr(Promise, "thresholds", noted("count", Promise.thresholds))
    body = {"model": "toy", "state": UNSURE, "questions": {"q": OWN}, "x_max_error": 0.9}
    assert promising.post(PATH, json=body).status_code == 200
    assert threads["count"]
    assert not threads["count"] & threads["loop"]


def test_a_request_asks_for_its_own_promise_and_is_told_what_cannot_be(promising):
    def ask(**more):
        return promising.post(PATH, json={"model": "toy", "state": UNSURE, "questions": {"q": OWN}, **more})

    assert ask(x_max_error=1.0).json()["answers"]["q"].get("x_abstained") is None
    refused = ask(x_max_error=0.001)
    assert refused.status_code == 422
    assert refused.json()["detail"][0]["loc"] == ["body", "x_max_error"]
    assert "independent calib rows" in refused.json()["detail"][0]["msg"]
    assert ask(x_confidence="high").status_code == 422
