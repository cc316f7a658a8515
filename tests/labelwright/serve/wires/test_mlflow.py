"""MLflow's protocol: its own client, and its own server over the same bundle, against the application."""

from __future__ import annotations

import json
from types import SimpleNamespace

import mlflow
import pandas as pd
import pytest
from mlflow.models import ModelSignature
from mlflow.pyfunc import scoring_server
from mlflow.pyfunc.scoring_server.client import ScoringServerClient
from mlflow.types import ColSpec, Schema
from serving import running
from starlette.testclient import TestClient

from workbench.tracking.writes.served_model import BundleModel

TEXTS = ["the pool liner", 'a fence, "post"', "cooling and airflow"]
FRAME = pd.DataFrame({"text": TEXTS, "other": [1, 2, 3]})


@pytest.fixture(scope="module")
def theirs(toy_folder) -> TestClient:
    """MLflow's scoring server over the model that an export registers, with its signature."""
    model = BundleModel()
    model.load_context(SimpleNamespace(artifacts={"bundle": str(toy_folder)}))
    signature = ModelSignature(inputs=Schema([ColSpec("string", "text")]))
    meta = mlflow.models.Model(flavors={"python_function": {"loader_module": "none"}}, signature=signature)

    class Loaded:
        def predict(self, data: pd.DataFrame, params: dict | None = None) -> pd.DataFrame:
            return model.predict(None, data, params)

    return TestClient(scoring_server.init(mlflow.pyfunc.PyFuncModel(meta, Loaded())))


def invoke(client: TestClient, body, content_type: str = "application/json"):
    content = body if isinstance(body, str | bytes) else json.dumps(body)
    return client.post("/invocations", content=content, headers={"content-type": content_type})


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_split": json.loads(FRAME.to_json(orient="split"))},
        {"dataframe_records": json.loads(FRAME.to_json(orient="records")), "params": {"a": 1}},
        {"instances": TEXTS},
        {"instances": [{"text": text} for text in TEXTS]},
        {"inputs": {"text": TEXTS}},
        {"inputs": TEXTS},
    ],
    ids=lambda body: next(iter(body)),
)
def test_every_form_is_answered_as_mlflows_own_server_does(client, theirs, body):
    ours, expected = invoke(client, body), invoke(theirs, body)
    assert (ours.status_code, expected.status_code) == (200, 200)
    assert ours.json() == expected.json()
    assert [list(row) for row in ours.json()["predictions"]] == [["label", "confidence", "probabilities"]] * 3


def test_csv_is_answered_as_mlflows_own_server_does(client, theirs):
    body = FRAME.to_csv(index=False)
    assert invoke(client, body, "text/csv; charset=utf-8").json() == invoke(theirs, body, "text/csv").json()


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ({"foo": 1}, "application/json"),
        ({"inputs": TEXTS, "instances": TEXTS}, "application/json"),
        ([1], "application/json"),
        ("{", "application/json"),
        (b"\xff", "application/json"),
        (b"\xff", "text/csv"),
        ("", "text/csv"),
        ("a,b\n1,2\n", "text/csv"),
        ({"dataframe_records": []}, "application/json"),
        ("x", "text/plain"),
    ],
)
def test_what_mlflow_refuses_is_refused_with_its_status(client, theirs, body, content_type):
    ours, expected = invoke(client, body, content_type), invoke(theirs, body, content_type)
    assert ours.status_code == expected.status_code
    assert set(ours.json()) == {"error_code", "message"}
    assert ours.json()["error_code"] == "BAD_REQUEST"


def test_rows_that_cannot_be_answered_are_named_together(client):
    answer = invoke(client, {"inputs": ["a", " ", None, "b"]})
    assert answer.status_code == 400
    assert answer.json()["message"].startswith("the request, rows 2 and 3: the text is empty")
    assert invoke(client, {"inputs": ["a"] * 9}).status_code == 413


def test_rows_bring_their_own_choices(quiz_client):
    answer = invoke(quiz_client, {"dataframe_records": [{"text": "What floats?", "choices": ["stone", "wood"]}]})
    (row,) = answer.json()["predictions"]
    assert row["label"] == "wood"
    assert row["probabilities"] == pytest.approx({"stone": 0.4, "wood": 0.6})
    assert row["confidence"] == row["probabilities"]["wood"]


def test_mlflows_own_client_finds_it_ready_and_asks_it(app, client):
    with running(app) as url:
        host, _, port = url.removeprefix("http://").partition(":")
        theirs = ScoringServerClient(host, int(port))
        theirs.wait_server_ready(timeout=5)
        found = theirs.invoke(FRAME).get_predictions()
    assert list(found["label"]) == ["pool", "fence", "hvac"]
    assert client.get("/version").text == "0.1.0"
