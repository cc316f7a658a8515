"""Single rows in a real SQLite store: answers side by side, rows in doubt, and what a person answers to them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from workbench.tracking.rows import DECISION, DECISIONS, preview


@pytest.fixture(scope="module")
def store(demo_folder: Path) -> str:
    import mlflow

    uri = f"sqlite:///{demo_folder / 'runs' / 'mlflow.db'}"
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    return uri


@pytest.fixture
def state(demo_run: Path) -> dict[str, Any]:
    return json.loads((demo_run / "state.json").read_text())["mlflow"]


@pytest.fixture
def rows(demo_run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (demo_run / "rows.jsonl").read_text().splitlines()]


def traces_of(store: str, run_id: str) -> list[Any]:
    import mlflow

    found = mlflow.MlflowClient(store).search_traces(
        locations=[experiment(store)], filter_string=f"run_id = '{run_id}'", max_results=500
    )
    return sorted(found, key=lambda trace: -trace.info.request_time)


def experiment(store: str) -> str:
    import mlflow

    return str(mlflow.MlflowClient(store).get_experiment_by_name("toy").experiment_id)


def evaluations(state: dict[str, Any]) -> dict[str, str]:
    return {key.split()[1]: run for key, run in state["runs"].items() if key.startswith("evaluation ")}


def test_the_chief_candidates_stand_side_by_side_on_the_same_rows(
    store: str, state: dict[str, Any], rows: list[dict[str, Any]], demo_run: Path
) -> None:
    verdict = json.loads((demo_run / "report.json").read_text())["verdict"]
    runs = evaluations(state)
    assert set(runs) == {verdict[role] for role in ("ship", "best", "tuned", "best_baseline")}
    shown = {name: [trace.info.request_preview for trace in traces_of(store, run)] for name, run in runs.items()}
    assert len({tuple(one) for one in shown.values()}) == 1, "MLflow finds a row's pair by what it shows of it"
    assert sorted(json.loads(one)["row"] for one in shown[verdict["best"]]) == sorted(row["id"] for row in rows)


def test_a_rows_trace_says_answer_confidence_and_gold(
    store: str, state: dict[str, Any], rows: list[dict[str, Any]]
) -> None:
    name, run = next(iter(evaluations(state).items()))
    by_id = {row["id"]: row for row in rows}
    for trace in traces_of(store, run):
        row = by_id[trace.info.tags["row"]]
        answer = row["candidates"][name]
        said = {one.name: one.value for one in trace.info.assessments}
        assert said == {
            "gold": row["label"],
            "label": answer["label"],
            "correct": answer["label"] == row["label"],
            "confidence": pytest.approx(max(answer["probabilities"].values()), abs=1e-4),
        }
        (span,) = trace.data.spans
        assert span.inputs == {"text": row["text"], "row": row["id"]}
        assert span.outputs["label"] == answer["label"]


def test_an_evaluation_run_has_its_dataset_and_the_numbers_on_all_test_rows(
    store: str, state: dict[str, Any], rows: list[dict[str, Any]], demo_run: Path
) -> None:
    import mlflow
    from mlflow.genai.datasets import search_datasets

    report = json.loads((demo_run / "report.json").read_text())
    for name, run_id in evaluations(state).items():
        run = mlflow.MlflowClient(store).get_run(run_id)
        (entry,) = (one for one in report["candidates"] if one["name"] == name)
        assert run.data.metrics["test.accuracy"] == entry["test"]["accuracy"]["value"]
        assert run.data.tags["mlflow.runType"] == "genai_evaluate"
        assert [one.dataset.name for one in run.inputs.dataset_inputs] == ["toy.test"]
        assert run.info.status == "FINISHED"
    (dataset,) = search_datasets([experiment(store)], filter_string="name = 'toy.test'")
    found = dataset.to_df()
    assert sorted(one["row"] for one in found["inputs"]) == sorted(row["id"] for row in rows)
    assert {one["row"]: said["label"] for one, said in zip(found["inputs"], found["expectations"], strict=True)} == {
        row["id"]: row["label"] for row in rows
    }
