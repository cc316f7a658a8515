"""OpenAI's official client against the application, without a socket."""

from __future__ import annotations

import json
import math
from enum import Enum
from typing import Literal

import openai
import pytest
from pydantic import BaseModel
from serving import running
from starlette.testclient import TestClient

from labelwright.bundle.store import load
from labelwright.decide import probabilities
from labelwright.engines.opening import open_engine
from labelwright.engines.servers.openai import OpenAIEngine
from labelwright.engines.settings import EngineSettings
from labelwright.models.weights import Base
from labelwright.serve.application import application
from labelwright.serve.keys import Keys
from labelwright.serve.served import Served
from labelwright.serve.service import RefusalError
from labelwright.serve.wires.openai import refused

TEXT = "the pool liner has algae"


class Topic(Enum):
    FENCE = "fence"
    HVAC = "hvac"


class Answer(BaseModel):
    topic: Topic
    confidence: float


class Choice(BaseModel):
    floats: Literal["stone", "wood"]


class Foreign(BaseModel):
    mood: Literal["glad", "sad"]


@pytest.fixture(scope="module")
def api(client: TestClient) -> openai.OpenAI:
    return openai.OpenAI(base_url="http://testserver/v1", api_key="none", http_client=client, max_retries=0)


def ask(api: openai.OpenAI, text: str = TEXT, model: str = "toy", **settings):
    return api.chat.completions.create(model=model, messages=[{"role": "user", "content": text}], **settings)


@pytest.fixture(scope="module")
def expected(toy_folder) -> dict[str, float]:
    bundle = load(toy_folder)
    (probs,) = probabilities(bundle, open_engine(bundle.weights), [TEXT])
    return dict(zip(bundle.task.names, probs.tolist(), strict=True))


def test_the_answer_is_a_label_with_its_probabilities(api, expected):
    answer = ask(api, logprobs=True, top_logprobs=3)
    choice = answer.choices[0]
    assert (choice.message.content, choice.finish_reason, answer.model) == ("pool", "stop", "toy")
    (token,) = choice.logprobs.content
    assert token.token == "pool"
    found = {one.token: math.exp(one.logprob) for one in token.top_logprobs}
    assert found == pytest.approx(expected, abs=1e-12)
    assert answer.model_extra["x_probabilities"] == pytest.approx(expected, abs=1e-12)
    assert answer.usage.prompt_tokens == len(TEXT.split())
    assert answer.usage.completion_tokens == 1


def test_a_class_with_an_enumeration_is_parsed(api, expected):
    answer = api.chat.completions.parse(
        model="toy", messages=[{"role": "user", "content": TEXT}], response_format=Answer
    )
    parsed = answer.choices[0].message.parsed
    best = max(("fence", "hvac"), key=lambda name: expected[name])
    assert parsed.topic is Topic(best)
    assert parsed.confidence == pytest.approx(expected[best] / (expected["fence"] + expected["hvac"]), abs=1e-12)


def test_rows_bring_their_choices_in_the_schema(api):
    messages = [{"role": "user", "content": "What floats?"}]
    answer = api.chat.completions.parse(model="quiz", messages=messages, response_format=Choice)
    assert answer.choices[0].message.parsed.floats == "wood"
    assert answer.model_extra["x_probabilities"] == pytest.approx({"stone": 0.4, "wood": 0.6})


def test_a_stream_ends_in_the_same_answer(api, expected):
    with api.chat.completions.stream(
        model="toy", messages=[{"role": "user", "content": TEXT}], logprobs=True
    ) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].message.content == "pool"
    assert final.choices[0].logprobs.content[0].logprob == pytest.approx(math.log(expected["pool"]), abs=1e-12)
    chunks = list(ask(api, stream=True, stream_options={"include_usage": True}))
    assert "".join(one.choices[0].delta.content or "" for one in chunks if one.choices) == "pool"
    assert chunks[-1].usage.total_tokens == len(TEXT.split()) + 1


def test_models_are_listed_and_described(api):
    assert [one.id for one in api.models.list()] == ["toy", "quiz"]
    model = api.models.retrieve("quiz")
    assert (model.id, model.object, model.owned_by) == ("quiz", "model", "labelwright")
    assert model.created > 1_700_000_000


def test_errors_are_those_of_the_protocol(api):
    with pytest.raises(openai.NotFoundError) as caught:
        ask(api, model="roof/x")
    assert caught.value.code == "model_not_found"
    assert "served: toy, quiz" in str(caught.value)
    with pytest.raises(openai.NotFoundError) as caught:
        api.models.retrieve("roof/x")
    assert caught.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as caught:
        ask(api, n=0, temperature=9)
    assert caught.value.type == "invalid_request_error"
    assert caught.value.param == "n"
    assert "temperature" in str(caught.value)
    with pytest.raises(openai.BadRequestError, match="the text is empty"):
        ask(api, " ")
    with pytest.raises(openai.BadRequestError, match="'glad' and 'sad', which this model does not know"):
        api.chat.completions.parse(model="toy", messages=[{"role": "user", "content": "x"}], response_format=Foreign)
    with pytest.raises(openai.BadRequestError, match="each row's own choices"):
        ask(api, model="quiz")


def test_a_body_that_is_no_json_has_the_protocols_error_too(client):
    answer = client.post("/v1/chat/completions", content=b"{", headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_the_document_describes_the_request_without_references(client):
    document = client.get("/openapi.json").json()
    chat, decisions = (
        document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
        for path in ("/v1/chat/completions", "/v1/decisions")
    )
    assert "$" not in json.dumps([chat, decisions])
    assert len(decisions["properties"]["questions"]["items"]["oneOf"]) == 3
    assert chat["properties"]["messages"]["items"]["properties"]["role"]["enum"][0] == "system"


def test_keys_are_asked_for_as_the_client_expects(toy_folder):
    bundle = load(toy_folder)
    served = Served("toy", bundle, open_engine(bundle.weights))
    key = "a-key-of-enough-characters"
    with TestClient(application({"toy": served}, keys=Keys([key]))) as client:
        api = openai.OpenAI(base_url="http://testserver/v1", api_key=key, http_client=client, max_retries=0)
        assert ask(api).choices[0].message.content == "pool"
        with pytest.raises(openai.AuthenticationError) as caught:
            ask(api.with_options(api_key="another-key-of-the-kind"))
    served.close()
    assert caught.value.code == "invalid_api_key"


def test_a_full_server_is_a_server_error_that_clients_try_again():
    status, body = refused(RefusalError(503, "busy", "come again", retry_after_s=1))
    assert (status, body["error"]["type"]) == (503, "server_error")


def test_the_houses_own_engine_for_such_servers_gets_the_same_labels(app, toy_folder):
    bundle = load(toy_folder)
    texts = [TEXT, "a fence post", "cooling and airflow"]
    with running(app) as url:
        engine = OpenAIEngine.open(Base("toy"), EngineSettings(backend="openai", url=f"{url}/v1"))
        scores = engine.score(bundle.prompt.render_all(texts), bundle.prompt.options)
    expected = probabilities(bundle, open_engine(bundle.weights), texts)
    assert scores.argmax(axis=1).tolist() == expected.argmax(axis=1).tolist() == [0, 1, 2]
    assert engine.n_invalid == 0
