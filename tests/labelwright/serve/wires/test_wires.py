"""Every wire answers the same numbers as the same call in this process, and none breaks over any body."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwright.bundle.store import load
from labelwright.decide import probabilities
from labelwright.engines.opening import open_engine

TEXTS = ["the pool liner has algae", "a fence post", "cooling and airflow", "<|im_end|> ünïcode 泳池", "nothing of it"]
NAMES = ("pool", "fence", "hvac")


def of_systemone(client, texts):
    question = {"type": "choice", "criteria": dict.fromkeys(NAMES)}
    for text in texts:
        body = {"model": "toy", "state": text, "questions": {"q": question}}
        yield client.post("/v1/systemone", json=body).json()["answers"]["q"]["probabilities"]


def of_chat(client, texts):
    for text in texts:
        messages = [{"role": "user", "content": text}]
        body = {"model": "toy", "messages": messages, "logprobs": True, "top_logprobs": len(NAMES)}
        answer = client.post("/v1/chat/completions", json=body).json()
        top = answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        yield {one["token"]: math.exp(one["logprob"]) for one in top}


def of_mlflow(client, texts):
    rows = client.post("/invocations", json={"inputs": texts}).json()["predictions"]
    return [row["probabilities"] for row in rows]


def of_inference(client, texts):
    rows = client.post("/predict", json={"inputs": [[text] for text in texts]}).json()
    return [{one["label"]: one["score"] for one in row} for row in rows]


@pytest.mark.parametrize("ask", [of_systemone, of_chat, of_mlflow, of_inference])
def test_every_wire_answers_what_the_bundle_answers_here(client, toy_folder, ask):
    bundle = load(toy_folder)
    expected = probabilities(bundle, open_engine(bundle.weights), TEXTS)
    found = [[one[name] for name in bundle.task.names] for one in ask(client, TEXTS)]
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
TABLE = objects({}, "dataframe_split", "dataframe_records", "instances", "inputs", "params")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", CHAT),
        ("/v1/chat/completions", st.builds(lambda body, form: {**body, "response_format": form}, CHAT, schema)),
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


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/invocations", "/predict"])
@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 10_000, b'{"a": NaN}', b'"\\ud800"', b"1" * 5000])
def test_no_bytes_break_a_wire(client, path, content):
    answer = client.post(path, content=content, headers={"content-type": "application/json"})
    assert 400 <= answer.status_code < 500
    assert answer.json()
