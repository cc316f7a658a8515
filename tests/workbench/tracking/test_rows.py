"""Single rows in a real SQLite store: answers side by side, rows in doubt, and what a person answers to them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes import toy_examples
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwright.data.task import read_examples
from workbench.cli import main
from workbench.compare.details import AnsweredRow, DoubtedRow
from workbench.progress import Display
from workbench.recipe.read import read_recipe
from workbench.recipe.rows import read_rows
from workbench.run.folder import ASKED, RunFolder
from workbench.tracking import rows as rows_said
from workbench.tracking.answers import read_said
from workbench.tracking.journal import read_made
from workbench.tracking.recorder import Tracking
from workbench.tracking.rows import DECISION, DROP, KEEP, OTHER, TAKE, other_label, preview, read_asked, review_trace
from workbench.tracking.store import TrackingError


@pytest.fixture(scope="module")
def store(demo_folder: Path) -> str:
    import mlflow

    uri = f"sqlite:///{demo_folder / 'runs' / 'mlflow.db'}"
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    return uri


@pytest.fixture
def state(demo_run: Path) -> dict[str, Any]:
    return read_made(RunFolder(demo_run))


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
        assert not {"mlflow.parentRunId", "recipe_run"} & set(run.data.tags), "it stands among the candidates' runs"
        assert [one.dataset.name for one in run.inputs.dataset_inputs] == ["toy.test"]
        assert run.info.status == "FINISHED"
    (dataset,) = search_datasets([experiment(store)], filter_string="name = 'toy.test'")
    found = dataset.to_df()
    assert sorted(one["row"] for one in found["inputs"]) == sorted(row["id"] for row in rows)
    assert {one["row"]: said["label"] for one, said in zip(found["inputs"], found["expectations"], strict=True)} == {
        row["id"]: row["label"] for row in rows
    }


LABELS = ["pool", "fence", "hvac"]


@pytest.fixture
def asking(demo_folder: Path, workspace: Path) -> Callable[[], Tracking]:
    """The tracking of a run in a store that is there already, as a command after another opens it."""
    (workspace / "runs").mkdir()
    shutil.copy(demo_folder / "runs" / "mlflow.db", workspace / "runs" / "mlflow.db")
    folder = RunFolder.create(workspace / "runs" / "toy", "", {}, {"fingerprints": {}})
    return lambda: Tracking(read_recipe("toy.toml"), RunFolder(folder.path), Display())


def in_doubt(*numbers: int) -> list[DoubtedRow]:
    """Rows of the workspace's data, with another label suggested."""
    rows = toy_examples()
    other = {label: LABELS[(k + 1) % 3] for k, label in enumerate(LABELS)}
    return [
        DoubtedRow("train", rows[i].id, rows[i].text, rows[i].label, other[rows[i].label], 0.9, "majority and words")
        for i in numbers
    ]


def ask(tracking: Tracking, *numbers: int) -> None:
    with tracking.opened():
        tracking.review(in_doubt(*numbers), LABELS)


def queue_of(tracking: Tracking) -> tuple[Any, list[str]]:
    """The run's queue, and the traces in it."""
    from mlflow.genai import review_queues

    found = [
        queue
        for queue in review_queues.list_review_queues(experiment_id=experiment(store_of(tracking)))
        if tracking._folder.path.name in queue.name
    ]
    (queue,) = found
    return queue, [item.item_id for item in review_queues.list_review_queue_items(queue.queue_id)]


def store_of(tracking: Tracking) -> str:
    import mlflow

    mlflow.set_tracking_uri(tracking.uri)
    return tracking.uri


def answer(tracking: Tracking, row: DoubtedRow, **words: str) -> None:
    """As MLflow's UI writes what a person submits."""
    import mlflow
    from mlflow.entities import AssessmentSource, Expectation

    store_of(tracking)
    trace = review_trace(read_made(tracking._folder)["run_id"], {"id": row.id, "label": row.label})
    for question, word in words.items():
        name = DECISION if question == "decision" else other_label("toy")
        mlflow.log_assessment(trace, Expectation(name, word, AssessmentSource("HUMAN", "default")))


def test_what_a_person_answers_comes_back_as_corrected_data(
    asking: Callable[[], Tracking], workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tracking, before = asking(), (workspace / "rows.jsonl").read_bytes()
    ask(tracking, 0, 1, 2, 3)
    first, second, third, _ = in_doubt(0, 1, 2, 3)
    answer(tracking, first, decision=TAKE)
    answer(tracking, second, decision=OTHER, label=second.suggested)
    answer(tracking, third, decision=DROP)
    capsys.readouterr()
    assert main(["review", "toy.toml"]) == 0
    said = capsys.readouterr().out
    assert "4 rows asked: 0 confirmed, 2 relabelled, 1 dropped, 1 unanswered" in said
    corrected = tracking._folder.path.relative_to(workspace) / "review" / "toy-corrected.jsonl"
    assert f'[data]: path = "{corrected}"' in said
    had = {row.id: row.label for row in read_examples("rows.jsonl", id="id")}
    now = {row.id: row.label for row in read_examples(corrected, id="id")}
    del had[third.id]
    assert now == {**had, first.id: first.suggested, second.id: second.suggested}
    assert (workspace / "rows.jsonl").read_bytes() == before
    # The corrected file is taken as it stands.
    recipe = (workspace / "toy.toml").read_text().replace('path = "rows.jsonl"', f'path = "{corrected}"')
    (workspace / "new.toml").write_text(recipe)
    assert len(read_rows(read_recipe("new.toml"))) == len(had)


def test_an_answer_that_is_no_label_is_one_line_and_writes_nothing(
    asking: Callable[[], Tracking], capsys: pytest.CaptureFixture[str]
) -> None:
    tracking = asking()
    ask(tracking, 0, 1)
    for row in in_doubt(0, 1):
        answer(tracking, row, label="swimming")
    capsys.readouterr()
    assert main(["review", "toy.toml"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "'swimming' is no label; expected one of 'pool', 'fence' and 'hvac'" in line
    assert all(row.id in line for row in in_doubt(0, 1))
    assert [one.name for one in (tracking._folder.path / "review").iterdir()] == ["asked.json"]


def test_a_later_comparison_asks_what_is_new_and_keeps_what_was_answered(asking: Callable[[], Tracking]) -> None:
    ask(first := asking(), 0, 1)
    answer(first, in_doubt(0)[0], decision=KEEP)
    ask(second := asking(), 1, 2)
    _, traces = queue_of(second)
    assert len(traces) == 3
    (said,) = read_said(read_recipe("toy.toml"), second._folder, in_doubt(0))
    assert [one.decision for one in said] == [KEEP]
    assert [row.id for row in read_asked(second._folder.path / ASKED)] == [row.id for row in in_doubt(0, 1, 2)]


def test_rows_that_are_written_twice_stand_there_once_with_what_was_said_of_them(
    asking: Callable[[], Tracking],
) -> None:
    tracking = asking()
    ask(tracking, 0, 1)
    answer(tracking, in_doubt(0)[0], decision=DROP)
    answered = [AnsweredRow("r", "text", "pool", {"words": ("fence", 0.75)})]
    told = [
        *rows_said.review(in_doubt(0, 1), queue_of(tracking)[0].name, LABELS),
        *rows_said.evaluation(answered, {"words": {"test.accuracy": 0.0}}, "digest", "toy.test"),
    ]
    with (again := asking()).opened():
        for entry in [*told, *told]:
            again.write(entry)
    assert len(queue_of(tracking)[1]) == 2
    (said,) = read_said(read_recipe("toy.toml"), tracking._folder, in_doubt(0))
    assert [one.decision for one in said] == [DROP]
    run = read_made(tracking._folder)["runs"]["evaluation words digest"]
    (trace,) = traces_of(store_of(tracking), run)
    assert sorted(one.name for one in trace.info.assessments) == ["confidence", "correct", "gold", "label"]


def test_a_later_comparison_names_the_earlier_ones_rows_as_such(asking: Callable[[], Tracking]) -> None:
    import mlflow

    def compare(label: str, digest: str) -> None:
        answered = [AnsweredRow("r", "text", "pool", {"words": (label, 0.75)})]
        with (tracking := asking()).opened():
            for entry in rows_said.evaluation(answered, {"words": {"test.accuracy": 0.0}}, digest, "toy.test"):
                tracking.write(entry)
        runs = read_made(tracking._folder)["runs"]
        client = mlflow.MlflowClient(store_of(tracking))
        names[:] = [client.get_run(runs[f"evaluation words {one}"]).info.run_name for one in known]

    names: list[str] = []
    known = ["one"]
    compare("fence", "one")
    assert names == ["words, rows"]
    known = ["one", "two"]
    compare("pool", "two")
    assert names == ["words, rows of an earlier comparison", "words, rows"]
    # With the settings of the first one again, that is what a third one finds.
    compare("fence", "one")
    assert names == ["words, rows", "words, rows of an earlier comparison"]


def test_what_is_asked_while_the_store_is_away_is_asked_later(
    asking: Callable[[], Tracking], monkeypatch: pytest.MonkeyPatch
) -> None:
    tracking = asking()
    with monkeypatch.context() as patch:
        patch.setattr("workbench.tracking.delivery.prepare_store", lambda uri: 1 / 0)
        ask(tracking, 0, 1)
    with pytest.raises(TrackingError, match="not recorded in"):
        read_said(read_recipe("toy.toml"), tracking._folder, in_doubt(0, 1))
    ask(later := asking())
    assert len(queue_of(later)[1]) == 2


def test_answers_are_looked_for_where_people_were_asked(
    asking: Callable[[], Tracking], workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracking = asking()
    ask(tracking, 0)
    shutil.copy(workspace / "runs" / "mlflow.db", workspace / "other.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workspace / 'other.db'}")
    with pytest.raises(TrackingError, match=r"was recorded in sqlite.*mlflow\.db, and the store is .*other\.db now"):
        read_said(read_recipe("toy.toml"), tracking._folder, in_doubt(0))


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=40), st.text(max_size=40), st.floats(0, 1))
def test_what_is_shown_of_a_row_is_json_and_so_never_markup(text: str, id: str, confidence: float) -> None:
    """MLflow shows as Markdown, pictures included, what is no JSON."""
    shown = preview({"text": text * 50, "row": id, "confidence": confidence})
    assert len(shown) <= 1000
    assert set(json.loads(shown)) == {"text", "row", "confidence"}
    assert json.loads(preview({"text": text, "row": "r"}))["text"] == text
