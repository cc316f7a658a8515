"""OpenAI's Decisions on the application; the same numbers and the same refusals as System One."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import model_bundle, served
from starlette.testclient import TestClient

from labelwright.serve.application import application

TEXT = "the pool liner has algae"
CHOICE = {
    "type": "choice",
    "name": "topic",
    "instructions": "What is it about?",
    "choices": [{"value": "hvac"}, {"value": "pool", "description": "water"}, {"value": "fence"}],
}
PREDICATE = {"type": "predicate", "instructions": "The writer is angry."}
SCORE = {"type": "score", "instructions": "How urgent?", "levels": [{"label": "low"}, {"label": "high"}]}
FLAG = {"type": "choice", "instructions": "Spam?", "choices": [{"value": True}, {"value": False}]}


@pytest.fixture(scope="module")
def model_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """Over a tiny language model, which takes any question."""
    models = served(*model_bundle(Path(tmp_path_factory.mktemp("model")), context=512), "tickets")
    with TestClient(application(models)) as client:
        yield client
    models["tickets"].close()


def test_the_bundles_own_question_has_its_probabilities(client):
    body = {"model": "toy", "input": TEXT, "questions": [CHOICE]}
    (answer,) = client.post("/v1/decisions", json=body).json()["answers"]
    row = client.post("/invocations", json={"inputs": [TEXT]}).json()["predictions"][0]
    assert (answer["type"], answer["name"], answer["choice"], answer["x_level"]) == ("choice", "topic", "pool", "tuned")
    assert {one["value"]: one["probability"] for one in answer["probabilities"]} == row["probabilities"]
    assert [one["value"] for one in answer["probabilities"]] == ["hvac", "pool", "fence"]
    assert answer["confidence"] == pytest.approx((row["confidence"] - 1 / 3) / (2 / 3))


def test_other_questions_are_put_to_the_model_in_system_ones_words(model_client):
    content = [{"type": "input_text", "text": "a refund"}, {"type": "input_json", "data": {"order": 7}}]
    body = {
        "model": "tickets",
        "input": [{"role": "user", "content": content}],
        "questions": [PREDICATE, SCORE, FLAG],
    }
    found = model_client.post("/v1/decisions", json=body).json()
    systemone = {
        "model": "tickets",
        "state": 'a refund\n{"order": 7}',
        "questions": {
            "a": {"type": "noul", "instructions": "The writer is angry."},
            "b": {"type": "score", "instructions": "How urgent?", "criteria": ["low", "high"]},
            "c": {"type": "choice", "instructions": "Spam?", "criteria": {"true": None, "false": None}},
        },
    }
    expected = model_client.post("/v1/systemone", json=systemone).json()
    predicate, score, flag = found["answers"]
    noul, levels, spam = expected["answers"].values()
    assert predicate == {"type": "predicate", "name": None, "probability": noul["noul"], "x_level": "zero-shot"}
    assert score["score"] == levels["score"]
    assert score["probabilities"][1] == {"value": 1, "label": "high", "probability": levels["probabilities"]["1"]}
    assert flag["choice"] is (spam["choice"] == "true")
    assert [one["value"] for one in flag["probabilities"]] == [True, False]
    assert found["usage"]["input_tokens"] == expected["usage"]["input_tokens"] == found["usage"]["total_tokens"]
    assert found["usage"]["output_tokens"] == 0


@pytest.mark.parametrize(
    ("change", "param", "said"),
    [
        ({"questions": [PREDICATE]}, "questions.0", "has no language model"),
        ({"questions": []}, "questions", "at least 1 item"),
        ({"questions": [SCORE] * 65}, "questions", "expected 1 to 64 questions"),
        ({"questions": [FLAG | {"choices": [{"value": True}, {"value": "true"}]}]}, None, "read the same"),
        ({"input": [{"role": "assistant", "content": "x"}]}, "input", "'user'"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input", "'input_text' or 'input_json'"),
        ({"input": " "}, "state", "the text is empty"),
        ({"model": "roof"}, None, "there is no model"),
    ],
)
def test_errors_are_openais(client, change, param, said):
    answer = client.post("/v1/decisions", json={"model": "toy", "input": TEXT, "questions": [CHOICE]} | change)
    error = answer.json()["error"]
    assert answer.status_code == (404 if "model" in change else 400)
    assert error["type"] == "invalid_request_error"
    assert said in error["message"]
    assert (error["param"] or "").startswith(param or "")
