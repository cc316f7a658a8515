"""MLflow's protocol: its own client, and its own server over the same bundle, against the application."""

from __future__ import annotations

import io
import json
from copy import copy
from dataclasses import replace
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

from labelwright.serve.wires import mlflow as mlflow_wire
from workbench.tracking.writes.served_model import BundleModel

PARQUET = "application/vnd.apache.parquet"
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
        {"instances": [[text] for text in TEXTS]},
        {"instances": {"text": TEXTS}},
        {"inputs": {"text": TEXTS}},
        {"inputs": {"text": [[text] for text in TEXTS], "other": [1, 2, 3]}},
        {"inputs": [{"text": text} for text in TEXTS]},
        {"inputs": TEXTS, "params": {"temperature": 1}},
    ],
    ids=lambda body: next(iter(body)),
)
def test_every_form_is_answered_as_mlflows_own_server_does(client, theirs, body):
    ours, expected = invoke(client, body), invoke(theirs, body)
    assert (ours.status_code, expected.status_code) == (200, 200)
    assert ours.json() == expected.json()
    assert [list(row) for row in ours.json()["predictions"]] == [["label", "confidence", "probabilities"]] * 3


def test_csv_is_answered_as_mlflows_own_server_does(client, theirs):
    for body in (FRAME.to_csv(index=False), FRAME.to_csv(), FRAME[["text"]].to_csv(index=False, lineterminator="\r\n")):
        ours, expected = invoke(client, body, "text/csv; charset=utf-8"), invoke(theirs, body, "text/csv")
        assert ours.json() == expected.json()
        assert len(ours.json()["predictions"]) == 3


def packed(frame: pd.DataFrame, **how) -> bytes:
    file = io.BytesIO()
    frame.to_parquet(file, **how)
    return file.getvalue()


def test_parquet_is_answered_as_mlflows_own_server_does(client, theirs):
    body = packed(FRAME.set_index(pd.Index(["x", "y", "z"], name="key")))
    assert invoke(client, body, PARQUET).json() == invoke(theirs, body, PARQUET).json()


def test_no_rows_are_answered_by_none(client, theirs):
    for body in ({"inputs": []}, {"dataframe_split": {"columns": ["text"], "data": []}}):
        assert invoke(client, body).json() == invoke(theirs, body).json() == {"predictions": []}


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
        (json.dumps({"inputs": TEXTS}), "application/json; charset=latin-1"),
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


def test_parquet_is_held_to_the_limits_and_refused_in_one_line(client, monkeypatch):
    many = packed(pd.DataFrame({"text": ["a"] * 9}))
    assert (answer := invoke(client, many, PARQUET)).status_code == 413
    assert "9 rows in the body, but at most 8" in answer.json()["message"]
    answer = invoke(client, b"PAR1 or not", PARQUET)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "BAD_REQUEST")
    assert answer.json()["message"].startswith("the body is no Parquet (")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    answer = invoke(client, many, PARQUET)
    assert answer.status_code == 415
    assert "labelwright[parquet]" in answer.json()["message"]


def test_a_file_is_read_for_the_model_that_answers_though_it_came_while_a_body_was_read(client, monkeypatch):
    service, asked = client.app.state.service, []
    before = next(iter(service.served.values()))

    async def swapped_meanwhile(request, *media_types):
        swapped = copy(before)
        swapped.bundle = replace(before.bundle, task=replace(before.bundle.task, text_columns=("title", "body")))
        monkeypatch.setattr(service, "served", {before.id: swapped})
        return b""

    async def read(body, columns, bounds):
        asked.append(tuple(columns))
        return []

    monkeypatch.setattr(mlflow_wire, "read_body", swapped_meanwhile)
    monkeypatch.setattr(mlflow_wire, "read_apart", read)
    assert invoke(client, b"", PARQUET).json() == {"predictions": []}
    assert asked == [("title", "body", "text", "choices")]


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
