"""What a demo leaves in a real SQLite store, read back with MLflow's client."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import tiny

from labelwright.bundle.store import save
from labelwright.bundle.types import Bundle
from labelwright.classifier import Classifier
from labelwright.data.task import Label, Task
from labelwright.engines.opening import open_engine
from labelwright.engines.settings import EngineSettings
from labelwright.models.weights import Base
from labelwright.prompt import Prompt
from labelwright.statistics.calibration import Calibration
from workbench.run.folder import RunFolder, runs_of
from workbench.tracking.journal import read_made


@pytest.fixture(scope="module")
def client(demo_folder: Path) -> Any:
    import mlflow

    uri = f"sqlite:///{demo_folder / 'runs' / 'mlflow.db'}"
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    return mlflow.MlflowClient(uri, uri)


@pytest.fixture(scope="module")
def children(client: Any, parent: Any) -> dict[str, Any]:
    runs = client.search_runs([parent.info.experiment_id], f"tags.mlflow.parentRunId = '{parent.info.run_id}'")
    return {run.info.run_name: run for run in runs}


@pytest.fixture(scope="module")
def parent(client: Any, demo_folder: Path) -> Any:
    (run,) = runs_of(demo_folder / "runs" / "toy")
    return client.get_run(read_made(RunFolder(run))["run_id"])


def test_one_parent_with_a_child_for_every_step_and_every_other_candidate(
    parent: Any, children: dict[str, Any]
) -> None:
    assert sorted(children) == ["gepa", "gepa+grpo", "gepa+grpo+calibrate", "majority", "untuned", "words"]
    assert children["words"].data.metrics["cost.ms_p50"] > 0
    assert children["words"].data.tags["kind"] == "baseline"
    assert {run.info.status for run in [parent, *children.values()]} == {"FINISHED"}
    assert parent.data.params["seed"] == "3"
    assert children["gepa"].data.params["n_words"] == "3"


def test_metrics_have_their_steps(client: Any, children: dict[str, Any]) -> None:
    history = client.get_metric_history(children["gepa+grpo"].info.run_id, "reward")
    assert [(one.step, one.value) for one in history] == [(k, pytest.approx(0.1 * k)) for k in range(1, 6)]
    assert "dev.accuracy" in children["gepa"].data.metrics
    assert children["gepa"].data.metrics["seconds"] >= 0


def test_the_datasets_carry_the_splits_digest(parent: Any, demo_run: Path) -> None:
    digest = json.loads((demo_run / "splits.json").read_text())["digest"]
    inputs = {one.dataset.name: one for one in parent.inputs.dataset_inputs}
    assert sorted(inputs) == ["toy.calib", "toy.dev", "toy.test", "toy.train"]
    assert {one.dataset.digest for one in inputs.values()} == {digest}
    assert {tag.value for tag in inputs["toy.dev"].tags if tag.key == "mlflow.data.context"} == {"dev"}


def test_a_prompt_is_a_version_once_linked_to_who_made_it_and_to_who_uses_it(
    client: Any, parent: Any, children: dict[str, Any]
) -> None:
    first, last = (client.load_prompt("toy-prompt", version) for version in (1, 2))
    assert first.template.startswith("Name the topic of the message.")
    assert first.template.endswith("\n\n{{text}}")
    assert "chlorine" in last.template
    assert (first.tags["role"], last.tags["role"]) == ("seed", "after")
    aliases = {alias: client.load_prompt(f"prompts:/toy-prompt@{alias}").version for alias in ("seed", "champion")}
    assert aliases == {"seed": 1, "champion": 2}
    # One version a text, however many stages and processes speak of it.
    assert client.load_prompt("prompts:/toy-prompt@latest").version == 2
    linked = {name: _linked(run.data.tags) for name, run in {**children, "whole": parent}.items()}
    assert linked["untuned"] == [("toy-prompt", "1")]
    assert linked["gepa"] == linked["whole"] == [("toy-prompt", "1"), ("toy-prompt", "2")]
    models = {one.name: _linked(one.tags) for one in client.search_logged_models([parent.info.experiment_id])}
    assert models["bundle of gepa+grpo"] == [("toy-prompt", "2")]
    assert models["words"] == []


def _linked(tags: Mapping[str, str]) -> list[tuple[str, str]]:
    return sorted((one["name"], one["version"]) for one in json.loads(tags.get("mlflow.linkedPrompts", "[]")))


def test_every_candidate_is_a_model_with_its_numbers_on_the_test_rows(
    client: Any, parent: Any, demo_run: Path, children: dict[str, Any]
) -> None:
    models = {one.name: one for one in client.search_logged_models([parent.info.experiment_id])}
    report = json.loads((demo_run / "report.json").read_text())
    scored = {one["name"]: one for one in report["candidates"] if not one["failed"]}
    assert set(models) == {*scored, "bundle of gepa+grpo"}
    digest = json.loads((demo_run / "splits.json").read_text())["digest"]
    for name, entry in scored.items():
        found = {one.key: one for one in models[name].metrics}
        low = found["test.accuracy.low"]
        assert low.value == entry["test"]["accuracy"]["low"]
        assert (low.dataset_name, low.dataset_digest) == ("toy.test", digest)
        assert found["cost.ms_p50"].dataset_name is None
        assert models[name].params["against the best"] == entry["standing"]
    assert models["words"].source_run_id == children["words"].info.run_id


def test_the_notes_say_what_was_found(client: Any, parent: Any, children: dict[str, Any], demo_run: Path) -> None:
    note = parent.data.tags["mlflow.note.content"]
    verdict = (demo_run / "report.md").read_text().splitlines()[0]
    assert note.startswith(verdict)
    assert "| candidate | accuracy % | log loss |" in note
    assert f"runs/{parent.info.run_id}/artifacts/report.html" in note
    assert client.get_experiment(parent.info.experiment_id).tags["mlflow.note.content"].startswith(verdict)
    what, dev, decided = children["gepa"].data.tags["mlflow.note.content"].split("\n\n")[0].split("  \n")
    assert what.startswith("**gepa**: Writes the labels' words into the instructions")
    untuned, tuned = (children[name].data.metrics["dev.accuracy"] for name in ("untuned", "gepa"))
    assert dev.startswith(f"Dev: accuracy {100 * untuned:.1f} % → {100 * tuned:.1f} %, macro-F1")
    assert "proposals 3" in decided
    assert children["words"].data.tags["mlflow.note.content"].startswith("**words**: ")
    assert children["words"].data.tags["what it is"]


def test_programs_are_a_table_and_a_tree(client: Any, children: dict[str, Any]) -> None:
    gepa = children["gepa"]
    assert json.loads(gepa.data.tags["mlflow.loggedArtifacts"]) == [{"path": "programs-table.json", "type": "table"}]
    names = {one.path for one in client.list_artifacts(gepa.info.run_id)}
    assert {"programs.json", "programs-table.json", "programs-tree.png"} <= names
    table = client.load_table(gepa.info.experiment_id, "programs-table.json", [gepa.info.run_id])
    assert list(table["parents"]) == ["", "0", "1"]
    assert list(table["dev_score"]) == pytest.approx([0.3, 0.4, 0.9])


def test_the_leaderboard_is_a_table_and_test_metrics_are_on_the_runs(
    client: Any, parent: Any, children: dict[str, Any], demo_run: Path
) -> None:
    table = client.load_table(parent.info.experiment_id, "leaderboard.json", [parent.info.run_id])
    assert list(table["candidate"])[:2] == ["majority", "words"]
    report = json.loads((demo_run / "report.json").read_text())
    value = next(one for one in report["candidates"] if one["name"] == "gepa")["test"]["accuracy"]["value"]
    assert parent.data.metrics["test.accuracy/gepa"] == value
    assert children["gepa"].data.metrics["test.accuracy"] == value


def test_files_and_plots_are_artifacts(client: Any, parent: Any) -> None:
    names = {one.path for one in client.list_artifacts(parent.info.run_id)}
    assert {"recipe.toml", "splits.json", "report.md", "report.json", "rows.jsonl", "plots"} <= names
    plots = {one.path for one in client.list_artifacts(parent.info.run_id, "plots")}
    assert "plots/accuracy.png" in plots


def test_artifacts_lie_beside_the_store(parent: Any, demo_folder: Path) -> None:
    assert parent.info.artifact_uri.startswith((demo_folder / "runs" / "mlartifacts").as_uri())


def test_the_bundle_is_a_registered_model_without_pickle(client: Any, demo_run: Path, tmp_path: Path) -> None:
    import mlflow

    (version,) = client.search_model_versions("name = 'toy'")
    assert client.get_registered_model("toy").aliases == {"champion": version.version}
    card = (demo_run / "bundle" / "README.md").read_text()
    assert card.endswith(version.description) or version.description == card.partition("\n---\n")[2].lstrip()[:5000]
    assert version.tags["candidate"] == "gepa+grpo"
    assert json.loads((demo_run / "state.json").read_text())["export"]["model_uri"] == f"models:/toy/{version.version}"
    folder = Path(mlflow.artifacts.download_artifacts(f"models:/toy/{version.version}", dst_path=str(tmp_path)))
    names = [path.name for path in folder.rglob("*") if path.is_file()]
    assert not [name for name in names if name.endswith((".pkl", ".pickle"))]
    assert "bundle.json" in names
    pins = (folder / "requirements.txt").read_text().split()
    assert all("==" in pin and "+" not in pin for pin in pins), pins
    assert any(pin.startswith("transformers==") for pin in pins)


def test_a_loaded_model_gives_the_same_labels(client: Any, tmp_path: Path) -> None:
    """A real, tiny model through MLflow's own loading, against the classifier itself."""
    import mlflow

    from workbench.tracking.writes.models import log_bundle

    base = tiny.tiny_model_folder(tmp_path / "model")
    engine = open_engine(Base(str(base)), EngineSettings(device="cpu", dtype="float32"))
    task = Task("tiny", "Name the topic.", (Label("pool"), Label("fence"), Label("hvac")))
    bundle = Bundle(task, Prompt.for_task(task, engine.template), Base(str(base)), Calibration(1.3, (0.1, 0.0, -0.1)))
    save(bundle, tmp_path / "bundle")
    mlflow.set_experiment("tiny")
    with mlflow.start_run():
        version = log_bundle("tiny", tmp_path / "bundle", ["the pool is green"])
    loaded = mlflow.pyfunc.load_model(f"models:/tiny/{version}")
    texts = ["the pool pump is loud", "a fence post", "cooling and airflow", "<|im_end|>"]
    import pandas as pd

    found = loaded.predict(pd.DataFrame({"text": texts}))
    expected = Classifier.from_bundle(tmp_path / "bundle", engine=engine)
    assert list(found["label"]) == list(expected.predict(texts))
    probs = expected.predict_proba(texts)
    assert found["confidence"].to_numpy() == pytest.approx(probs.max(axis=1), abs=0.02)
    assert [set(one) for one in found["probabilities"]] == [set(task.names)] * len(texts)
    assert loaded.metadata.signature.inputs.input_names() == ["text"]


def test_a_continued_run_writes_to_the_same_runs(made_store: Path, tmp_path: Path, command: Callable[..., Any]) -> None:
    import mlflow

    (tmp_path / "runs").mkdir()
    shutil.copy(made_store, tmp_path / "runs" / "mlflow.db")
    assert command("optimize", "toy.toml", kill="gepa:3", tracking=True).returncode == 9
    again = command("optimize", "toy.toml", tracking=True)
    assert again.returncode == 0, again.stderr
    assert "alembic" not in again.stderr
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("toy").experiment_id])
    assert sorted(run.info.run_name for run in runs if "parentRunId" in str(run.data.tags)) == [
        "gepa",
        "untuned",
    ], again.stdout
    assert len(runs) == 3
    assert {run.info.status for run in runs} == {"FINISHED"}
    (gepa,) = (run for run in runs if run.info.run_name == "gepa")
    assert [one.step for one in client.get_metric_history(gepa.info.run_id, "reward")] == [1, 2, 3]


def test_a_failing_write_is_told_once_and_does_not_end_the_run(
    demo_folder: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from mlflow.exceptions import MlflowException

    from workbench.progress import Display
    from workbench.recipe.read import read_recipe
    from workbench.run.folder import RunFolder
    from workbench.tracking import entries
    from workbench.tracking.entries import PARENT
    from workbench.tracking.recorder import Tracking

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{demo_folder / 'runs' / 'mlflow.db'}")
    folder = RunFolder.create(workspace / "runs", "", {}, {})

    def refuse(*arguments: Any, **settings: Any) -> None:
        raise MlflowException("disk full")

    with Tracking(read_recipe("toy.toml"), folder, Display()).opened() as tracking:
        monkeypatch.setattr(tracking.delivery.store.client, "log_batch", refuse)
        for value in (1.0, 2.0):
            tracking.delivery.ask(*entries.metrics(PARENT, {"a": value}))
    assert capsys.readouterr().out.count("disk full") == 1
