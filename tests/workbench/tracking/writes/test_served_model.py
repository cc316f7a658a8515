"""A bundle without a language model, as MLflow logs, lists and loads it."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from fakes import toy_splits, toy_task
from mlflow.models.utils import _enforce_schema
from mlflow.utils.logging_utils import disable_logging
from pictures import FakeOcr, data_address, png
from several import CASCADE, MEAN, NAMES, several_bundle

import baselines
from labelwright.bundle import files as bundle_files
from labelwright.bundle.making import predictor_bundle
from labelwright.bundle.store import load, save
from labelwright.classifier import Classifier
from labelwright.data.asked.questions import Question, put
from labelwright.data.choices import lettered
from labelwright.data.task import Label, Task, texts_and_labels
from labelwright.engines.together.plan import Plan
from labelwright.errors import DataError
from labelwright.pictures import kept, sent
from labelwright.predictors.prior import Prior
from labelwright.predictors.store import KINDS, save_predictor
from labelwright.statistics.calibration import Calibration
from workbench.tracking.writes.models import _OF_EXTRA, BUNDLE, log_bundle, serving_requirements

X, Y = texts_and_labels(toy_splits().train)
TEXTS = ["the pool liner has algae", "a fence post", "cooling and airflow", "<|im_end|>"]


@pytest.fixture
def store(made_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An empty MLflow store; the one that was set before is set again."""
    import mlflow

    before = mlflow.get_tracking_uri(), mlflow.get_registry_uri()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    uri = f"sqlite:///{shutil.copy(made_store, tmp_path / 'mlflow.db')}"
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    mlflow.set_experiment("predictor")
    yield mlflow
    mlflow.set_tracking_uri(before[0])
    mlflow.set_registry_uri(before[1])


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    baselines.make("sgd-ngrams", toy_task(), 0).fit(X, Y).save(tmp_path / "estimator")
    calibration = Calibration(1.3, (0.1, 0.0, -0.1))
    save(predictor_bundle(toy_task(), "sgd-ngrams", tmp_path / "estimator", calibration), tmp_path / "bundle")
    return tmp_path / "bundle"


def test_registering_says_nothing(store: Any, bundle: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Logging a model gives MLflow its voice back."""
    disable_logging()
    with store.start_run():
        assert [log_bundle("predictor", bundle, TEXTS[:1]) for _ in range(2)] == [1, 2]
    assert "regist" not in capfd.readouterr().err


def test_what_the_store_has_already_is_not_logged_again(
    store: Any, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow server took it, though nobody waited for its answer."""
    client = store.MlflowClient()
    with store.start_run() as run:
        client.create_logged_model(run.info.experiment_id, "part", run.info.run_id, {BUNDLE: "b-1"})
        monkeypatch.setattr(store, "register_model", lambda *_, **__: pytest.fail("given up before this"))
        with pytest.raises(pytest.fail.Exception):
            log_bundle("predictor", bundle, TEXTS[:1], identity="b-1")
        monkeypatch.undo()
        assert log_bundle("predictor", bundle, TEXTS[:1], identity="b-1") == 1
    (model,) = client.search_logged_models([run.info.experiment_id])
    assert (model.name, model.tags[BUNDLE]) == ("bundle", "b-1")
    assert client.get_model_version("predictor", "1").tags[BUNDLE] == "b-1"


def test_a_loaded_model_gives_the_same_probabilities(store: Any, bundle: Path, tmp_path: Path) -> None:
    with store.start_run():
        version = log_bundle("predictor", bundle, TEXTS[:1])
    loaded = store.pyfunc.load_model(f"models:/predictor/{version}")
    found = loaded.predict(pd.DataFrame({"text": TEXTS}))
    expected = Classifier.from_bundle(bundle)
    names = toy_task().names
    assert list(found["label"]) == list(expected.predict(TEXTS))
    np.testing.assert_array_equal(
        [[one[name] for name in names] for one in found["probabilities"]], expected.predict_proba(TEXTS)
    )
    folder = Path(store.artifacts.download_artifacts(f"models:/predictor/{version}", dst_path=str(tmp_path / "down")))
    suffixes = {path.suffix for path in folder.rglob("*") if path.is_file()}
    assert not suffixes & {".pkl", ".pickle", ".joblib"}
    assert {"predictor.json", "ngrams.safetensors"} <= {path.name for path in folder.rglob("*")}
    pins = (folder / "requirements.txt").read_text()
    assert "scikit-learn==" in pins
    assert "torch==" not in pins


def logged(store: Any, bundle: Path, names: Sequence[str]) -> Any:
    """The model of the bundle, as if it had been tuned on those columns."""
    document = json.loads((bundle / "bundle.json").read_text())
    document["task"]["text_columns"] = names
    (bundle / "bundle.json").write_text(json.dumps(document))
    bundle_files.write_hashes(bundle)
    with store.start_run():
        version = log_bundle("columns", bundle, TEXTS[:1])
    return store.pyfunc.load_model(f"models:/columns/{version}")


TOPICS = Question("topics", "labels", (Label("pool"), Label("fence")))
STARS = Question("stars", "score", tuple(map(Label, "123")))
URGENT = Question("urgent", "yes_no")


@pytest.mark.parametrize("questions", [(TOPICS,), (STARS,), (TOPICS, STARS, URGENT)])
def test_a_model_answers_every_question_in_columns_that_its_signature_names(
    store: Any, tmp_path: Path, questions: tuple[Question, ...]
) -> None:
    task = Task.asking("mail", "Read the mail.", questions)
    save_predictor(Prior(np.full(len(task.names), 1 / len(task.names))), task.names, tmp_path / "prior")
    calibration = Calibration(1.0, tuple(0.1 * place for place in range(len(task.names))))
    save(predictor_bundle(task, "majority", tmp_path / "prior", calibration), tmp_path / "bundle")
    points = task.points
    texts = [put("a text", point) for point in points[:2]] if points else ["a text"]
    with store.start_run():
        version = log_bundle("asked", tmp_path / "bundle", texts)
    loaded = store.pyfunc.load_model(f"models:/asked/{version}")
    assert loaded.input_example.to_dict("list") == {"text": ["a text"]}
    found = loaded.predict(pd.DataFrame({"text": TEXTS}))
    signature = loaded.metadata.get_output_schema()
    assert list(found.columns) == signature.input_names()
    _enforce_schema(found, signature)
    said = Classifier.from_bundle(tmp_path / "bundle").answered(TEXTS)
    assert found.to_dict("records") == [{name: one[name] for name in found.columns} for one in said]


def test_a_model_takes_the_columns_of_its_bundle_or_whole_texts(store: Any, bundle: Path) -> None:
    loaded = logged(store, bundle, ["title", "body"])
    heads = [None, *TEXTS[1:]]
    parts = pd.DataFrame({"title": heads, "body": TEXTS, "n": range(len(TEXTS))})
    whole = [text if head is None else f"{head}\n{text}" for head, text in zip(heads, TEXTS, strict=True)]
    expected = [list(one.values()) for one in loaded.predict(pd.DataFrame({"text": whole}))["probabilities"]]
    np.testing.assert_array_equal(expected, Classifier.from_bundle(bundle).predict_proba(whole))
    assert [list(one.values()) for one in loaded.predict(parts)["probabilities"]] == expected
    with pytest.raises(DataError, match=r"the table, rows 1, 2, 3 and 4: no column 'body' among"):
        loaded.predict(parts[["title", "n"]].fillna("x"))
    with pytest.raises(DataError, match="no column of text: expected 'title' and 'body', or whole texts in a column"):
        loaded.predict(pd.DataFrame({"msg": TEXTS}))
    with pytest.raises(DataError, match="the table, rows 2 and 3: the text is empty"):
        loaded.predict(pd.DataFrame({"title": ["a", None, ""], "body": ["b", " ", float("nan")]}))
    assert len(loaded.predict(parts[:0])) == 0
    # Numbers and dates are texts as in the files that taught; a gap makes floats of whole numbers.
    stars, day = [1, None, 3], pd.to_datetime(["2026-11-26"] * 3)
    numbers = loaded.predict(pd.DataFrame({"title": stars, "body": TEXTS[:3]}))["probabilities"]
    read = loaded.predict(pd.DataFrame({"title": ["1", "", "3"], "body": TEXTS[:3]}))["probabilities"]
    assert list(numbers) == list(read)
    assert len(loaded.predict(pd.DataFrame({"title": day, "body": [1, 2, 3]}))) == 3


def test_where_a_column_is_called_text_a_misnamed_one_beside_it_is_no_whole_text(
    store: Any, bundle: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """MLflow drops what the signature does not name, and then a part would look whole."""
    logging.getLogger("mlflow").setLevel(logging.INFO)
    loaded = logged(store, bundle, ["title", "text"])
    assert "serving input example" not in capfd.readouterr().err + caplog.text
    with pytest.raises(mlflow.MlflowException, match=r"missing inputs \['title'\]"):
        loaded.predict(pd.DataFrame({"titel": TEXTS, "text": TEXTS}))
    whole = loaded.predict(pd.DataFrame({"title": "", "text": TEXTS}))["probabilities"]
    expected = Classifier.from_bundle(bundle).predict_proba(TEXTS)
    np.testing.assert_array_equal([list(one.values()) for one in whole], expected)


@pytest.mark.parametrize("plan", [MEAN, CASCADE], ids=["mean", "cascade"])
def test_several_bundles_are_one_model(store: Any, tmp_path: Path, plan: Plan) -> None:
    bundle = several_bundle(tmp_path, plan)
    with store.start_run():
        version = log_bundle("several", bundle, TEXTS[:1])
    loaded = store.pyfunc.load_model(f"models:/several/{version}")
    found = loaded.predict(pd.DataFrame({"text": TEXTS}))
    expected = Classifier.from_bundle(bundle)
    assert list(found["label"]) == list(expected.predict(TEXTS))
    np.testing.assert_array_equal(
        [[one[name] for name in toy_task().names] for one in found["probabilities"]], expected.predict_proba(TEXTS)
    )
    folder = Path(store.artifacts.download_artifacts(f"models:/several/{version}", dst_path=str(tmp_path / "down")))
    assert len(list(folder.rglob("ngrams.safetensors"))) == len(NAMES)
    assert "scikit-learn==" in (folder / "requirements.txt").read_text()


def test_rows_with_their_own_choices(store: Any, tmp_path: Path) -> None:
    task = Task("quiz", "Which?", (), max_choices=3)
    save_predictor(Prior(np.array([0.2, 0.3, 0.5])), task.names, tmp_path / "prior")
    save(predictor_bundle(task, "majority", tmp_path / "prior", Calibration()), tmp_path / "bundle")
    with store.start_run():
        version = log_bundle("quiz", tmp_path / "bundle", [lettered("What floats?", ["stone", "wood"])])
    loaded = store.pyfunc.load_model(f"models:/quiz/{version}")
    found = loaded.predict(pd.DataFrame({"text": [lettered("What floats?", ["stone", "wood"])]}))
    assert list(found["label"]) == ["B"]
    assert found["probabilities"][0] == pytest.approx({"A": 0.4, "B": 0.6, "C": 0.0})
    found = loaded.predict(pd.DataFrame({"text": ["What floats?"], "choices": [["stone", "wood"]]}))
    assert list(found["label"]) == ["wood"]


@pytest.mark.parametrize(
    ("kind", "needed", "not_needed"),
    [
        ("prior", ["numpy", "scikit-learn"], ["skops", "torch"]),
        ("pipeline", ["skops"], ["torch"]),
        ("embeddings", ["skops", "sentence-transformers", "torch"], ["peft"]),
    ],
)
def test_the_pins_are_those_of_the_kind(bundle: Path, kind: str, needed: list[str], not_needed: list[str]) -> None:
    path = bundle / "predictor" / "predictor.json"
    path.write_text(json.dumps({"kind": kind, "labels": list(toy_task().names)}))
    bundle_files.write_hashes(bundle)
    pinned = {pin.split("==")[0] for pin in serving_requirements(load(bundle).weights)}
    assert pinned >= set(needed)
    assert not pinned & set(not_needed)


def test_every_extra_has_its_packages() -> None:
    assert {kind.extra for kind in KINDS.values()} <= set(_OF_EXTRA)


def test_a_model_takes_images_with_their_rows(store: Any, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "Ocr", FakeOcr)
    sent._reader.cache_clear()
    document = json.loads((bundle / "bundle.json").read_text())
    document["task"]["image_column"] = "shot"
    (bundle / "bundle.json").write_text(json.dumps(document))
    loaded = logged(store, bundle, ["note", "shot_text"])
    rows = pd.DataFrame({"note": ["urgent"], "shot": [data_address(png(TEXTS[1]))]})
    expected = Classifier.from_bundle(bundle).predict_proba([f"urgent\n{TEXTS[1]}"])
    np.testing.assert_array_equal([list(one.values()) for one in loaded.predict(rows)["probabilities"]], expected)
    sent._reader.cache_clear()
