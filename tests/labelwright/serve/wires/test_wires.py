"""Every wire answers the same numbers as the same call in this process, and none breaks over any body."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serving import model_bundle, served
from several import CASCADE, MEAN, several_bundle
from starlette.testclient import TestClient

from labelwright.bundle.store import load
from labelwright.decide import probabilities
from labelwright.engines.opening import open_engine
from labelwright.serve.application import application

TEXTS = ["the pool liner has algae", "a fence post", "cooling and airflow", "<|im_end|> ünïcode 泳池", "nothing of it"]


def of_systemone(client, texts, names):
    question = {"type": "choice", "criteria": dict.fromkeys(names)}
    for text in texts:
        body = {"model": "jev-latest", "state": text, "questions": {"q": question}}
        yield client.post("/v1/systemone", json=body).json()["answers"]["q"]["probabilities"]


def of_decisions(client, texts, names):
    question = {"type": "choice", "instructions": "?", "choices": [{"value": name} for name in names]}
    for text in texts:
        body = {"model": first(client), "input": text, "questions": [question]}
        answer = client.post("/v1/decisions", json=body).json()["answers"][0]
        yield {one["value"]: one["probability"] for one in answer["probabilities"]}


def of_chat(client, texts, names):
    for text in texts:
        messages = [{"role": "user", "content": text}]
        body = {"model": first(client), "messages": messages, "logprobs": True, "top_logprobs": len(names)}
        answer = client.post("/v1/chat/completions", json=body).json()
        top = answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        yield {one["token"]: math.exp(one["logprob"]) for one in top}


def of_mlflow(client, texts, names):
    rows = client.post("/invocations", json={"inputs": texts}).json()["predictions"]
    return [row["probabilities"] for row in rows]


def of_inference(client, texts, names):
    rows = client.post("/predict", json={"inputs": [[text] for text in texts]}).json()
    return [{one["label"]: one["score"] for one in row} for row in rows]


WIRES = [of_systemone, of_decisions, of_chat, of_mlflow, of_inference]


def first(client) -> str:
    """The model that answers where none is named."""
    return client.get("/v1/models").json()["data"][0]["id"]


@pytest.mark.parametrize("ask", WIRES)
def test_every_wire_answers_what_the_bundle_answers_here(client, toy_folder, ask):
    bundle = load(toy_folder)
    expected = probabilities(bundle, open_engine(bundle.weights), TEXTS)
    found = [[one[name] for name in bundle.task.names] for one in ask(client, TEXTS, bundle.task.names)]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory):
    """A tiny language model's client, bundle and engine."""
    bundle, engine = model_bundle(tmp_path_factory.mktemp("model"), context=512)
    models = served(bundle, engine)
    with TestClient(application(models)) as client:
        yield client, bundle, engine
    models["tickets"].close()


@pytest.mark.parametrize("ask", WIRES)
def test_every_wire_answers_what_a_language_model_answers_here(model, ask):
    # One row, as which rows share a call moves the last digits of a float32.
    client, bundle, engine = model
    (expected,) = probabilities(bundle, engine, TEXTS[:1])
    (found,) = ask(client, TEXTS[:1], bundle.task.names)
    np.testing.assert_allclose([found[name] for name in bundle.task.names], expected, rtol=0, atol=1e-12)


@pytest.fixture(scope="module", params=[MEAN, CASCADE], ids=["mean", "cascade"])
def several(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """The client of a bundle of several bundles, and what it answers in this process."""
    bundle = load(several_bundle(tmp_path_factory.mktemp("several"), request.param))
    models = served(bundle, open_engine(bundle.weights))
    with TestClient(application(models)) as client:
        yield client, bundle, probabilities(bundle, open_engine(bundle.weights), TEXTS)
    models["tickets"].close()


@pytest.mark.parametrize("ask", WIRES)
def test_every_wire_answers_what_several_answer_together(several, ask):
    client, bundle, expected = several
    found = [[one[name] for name in bundle.task.names] for one in ask(client, TEXTS, bundle.task.names)]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def bodies(*keys: str) -> st.SearchStrategy:
    """JSON values, with a protocol's own words among their keys and texts."""
    words = st.one_of(st.sampled_from([*keys, "toy", "quiz", "text", "user"]), st.text(max_size=3))
    leaves = st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.floats(allow_nan=False), words)
    return st.recursive(
        leaves,
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(words, inner, max_size=4)),
        max_leaves=12,
    )


def objects(required: dict[str, st.SearchStrategy], *more: str) -> st.SearchStrategy:
    """Bodies that come far: the protocol's own fields, right or wrong."""
    anything = bodies(*required, *more)
    fields = {name: st.one_of(good, anything) for name, good in required.items()}
    return st.fixed_dictionaries(fields, optional=dict.fromkeys(more, anything))


messages = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "system"]), "content": st.text(max_size=5)}), max_size=2
)
schema = st.fixed_dictionaries(
    {
        "type": st.just("json_schema"),
        "json_schema": st.fixed_dictionaries({"schema": bodies("enum", "properties", "required", "$ref", "anyOf")}),
    }
)
CHAT = objects(
    {"model": st.sampled_from(["toy", "quiz"]), "messages": messages},
    *("logprobs", "top_logprobs", "n", "stream", "temperature", "stop", "tools"),
)
DECISION = objects(
    {"model": st.just("toy"), "input": st.text(max_size=5), "questions": st.lists(bodies("type", "choice"), max_size=2)}
)
TABLE = objects({}, "dataframe_split", "dataframe_records", "instances", "inputs", "params")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", CHAT),
        ("/v1/chat/completions", st.builds(lambda body, form: {**body, "response_format": form}, CHAT, schema)),
        ("/v1/decisions", DECISION),
        ("/invocations", TABLE),
        ("/invocations", st.builds(lambda form, table: {form: table}, st.sampled_from(["inputs"]), bodies("text"))),
        ("/predict", objects({"inputs": bodies("a")}, "raw_scores", "truncate")),
        ("/predict", bodies("inputs")),
    ],
)
def test_no_body_breaks_a_wire(client, path, body):
    @settings(max_examples=60)
    @given(body)
    def ask(value):
        content = json.dumps(value).encode("utf-8", "surrogatepass")
        answer = client.post(path, content=content, headers={"content-type": "application/json"})
        assert answer.status_code < 500, (answer.status_code, answer.text)
        if answer.status_code != 200:
            assert "\n" not in answer.text
            assert "Traceback" not in answer.text

    ask()


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/decisions", "/invocations", "/predict"])
@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 10_000, b'{"a": NaN}', b'"\\ud800"', b"1" * 5000])
def test_no_bytes_break_a_wire(client, path, content):
    answer = client.post(path, content=content, headers={"content-type": "application/json"})
    assert 400 <= answer.status_code < 500
    assert answer.json()
