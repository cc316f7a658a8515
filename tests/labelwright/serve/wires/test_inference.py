"""text-embeddings-inference's routes on the application: its forms, its order, its errors."""

from __future__ import annotations

import pytest

from labelwright.serve.service import RefusalError
from labelwright.serve.wires.inference import refused

TEXT = "the pool liner has algae"


def test_a_text_gives_one_list_and_a_batch_a_list_of_lists(client):
    one = client.post("/predict", json={"inputs": TEXT}).json()
    assert [set(entry) for entry in one] == [{"score", "label"}] * 3
    assert one[0]["label"] == "pool"
    assert sum(entry["score"] for entry in one) == pytest.approx(1)
    assert [entry["score"] for entry in one] == sorted((entry["score"] for entry in one), reverse=True)
    batch = client.post("/predict", json={"inputs": [[TEXT], ["a fence"]], "truncate": True}).json()
    assert (batch[0], batch[1][0]["label"]) == (one, "fence")


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"inputs": ["a", "b"]}, 422, "a pair of texts"),
        ({"inputs": [["a"], [" "]]}, 422, "inputs, row 2: the text is empty"),
        ({"input": "a"}, 422, "the body has no inputs"),
        ([1], 422, "the body has no inputs"),
        ({"inputs": "a", "raw_scores": 1}, 422, "raw_scores is a int"),
        ({"inputs": [["a"]] * 9}, 413, "9 texts in one request"),
    ],
)
def test_errors_are_those_of_the_protocol(client, body, status, said):
    answer = client.post("/predict", json=body)
    assert answer.status_code == status
    assert answer.json()["error_type"] == "validation"
    assert said in answer.json()["error"]
    assert set(answer.json()) == {"error", "error_type"}


def test_rows_with_their_own_choices_are_sent_elsewhere(quiz_client):
    answer = quiz_client.post("/predict", json={"inputs": TEXT})
    assert answer.status_code == 422
    assert "/v1/chat/completions" in answer.json()["error"]


def test_the_first_model_is_described(client):
    about = client.get("/info").json()
    assert about["model_id"] == "toy"
    assert about["model_type"]["classifier"]["id2label"] == {"0": "pool", "1": "fence", "2": "hvac"}
    assert about["max_client_batch_size"] == 8


def test_a_full_server_and_an_answer_that_is_no_label_have_their_statuses():
    assert refused(RefusalError(503, "busy", "later")) == (429, {"error": "later", "error_type": "overloaded"})
    assert refused(RefusalError(502, "no_answer", "none")) == (424, {"error": "none", "error_type": "backend"})
