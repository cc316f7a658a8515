"""A tracking store that fails, is locked, never answers or is half made: one line, and the record caught up."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import signal
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from store_maker import begin_to_make
from workbench_fakes import FakeGepa

from labelwright.statistics.intervals import Interval
from workbench.cli import main
from workbench.compare.board import Entry as Measured
from workbench.compare.board import Leaderboard, Verdict
from workbench.compare.board import TestRows as BoardRows
from workbench.compare.candidate import Candidate
from workbench.progress import Display
from workbench.recipe.read import read_recipe
from workbench.run.folder import RunFolder
from workbench.run.steps import Step
from workbench.tracking import delivery, entries
from workbench.tracking.entries import PARENT
from workbench.tracking.recorder import Tracking
from workbench.tracking.store import TrackingError, prepare_store, shown_uri

# How often a start is killed; LABELWRIGHT_KILLS=10 asks for more.
N_KILLS = int(os.environ.get("LABELWRIGHT_KILLS", "1"))


@pytest.fixture
def store(made_store: Path, workspace: Path) -> Path:
    """A whole store where the recipe has its own."""
    (workspace / "runs").mkdir()
    shutil.copy(made_store, workspace / "runs" / "mlflow.db")
    return workspace / "runs" / "mlflow.db"


@pytest.fixture
def opened(workspace: Path) -> Callable[[], Tracking]:
    """The tracking of one and the same run, as a command after another opens it."""
    folder = RunFolder.create(workspace / "runs" / "toy", "", {}, {})
    return lambda: Tracking(read_recipe("toy.toml"), RunFolder(folder.path), Display())


def recorded(store: Path) -> dict[str, list[float]]:
    """Every metric in a store."""
    with contextlib.closing(sqlite3.connect(store)) as db:
        found: dict[str, list[float]] = {}
        for key, value in db.execute("SELECT key, value FROM metrics ORDER BY key, step, value"):
            found.setdefault(key, []).append(value)
    return found


def log(tracking: Tracking, values: dict[str, float], step: int | None = None) -> None:
    for entry in entries.metrics(PARENT, values, step):
        tracking.write(entry)


def work(tracking: Tracking, *values: float) -> None:
    with tracking.opened():
        for number, value in enumerate(values):
            log(tracking, {"a": value}, step=number)
        tracking.write(entries.params(PARENT, {"p": 1}))


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    said = capsys.readouterr()
    assert said.err == ""
    return said.out.splitlines()


def test_a_store_that_raises_is_told_once_and_caught_up_by_the_next_command(
    store: Path, opened: Callable[[], Tracking], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*arguments: Any, **settings: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, (first := opened()).opened():
        log(first, {"a": 1.0}, step=0)
        patch.setattr(first.delivery.store.client, "log_batch", refuse)
        for step in (1, 2, 3):
            log(first, {"a": 1.0 + step}, step=step)
        # At the end of the work the store is asked once more, and refuses again.
    (line,) = lines(capsys)
    assert "No space left on device" in line
    assert recorded(store) == {"a": [1.0]}
    work(opened())
    assert recorded(store) == {"a": [1.0, 2.0, 3.0, 4.0]}
    (line,) = lines(capsys)
    assert "are there now" in line
    work(opened(), 9.0)
    assert lines(capsys) == []


def test_a_store_that_recovers_during_the_work_is_caught_up_at_its_end(
    store: Path, opened: Callable[[], Tracking], monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tracking := opened()).opened():
        with monkeypatch.context() as patch:
            patch.setattr(tracking.delivery.store.client, "log_batch", lambda *a, **k: 1 / 0)
            log(tracking, {"a": 1.0}, step=0)
        log(tracking, {"a": 2.0}, step=1)
    assert recorded(store) == {"a": [1.0, 2.0]}
    assert not tracking.delivery.journal.path.exists()


def test_a_record_that_is_refused_for_what_it_says_does_not_stop_the_others(
    store: Path, opened: Callable[[], Tracking], capsys: pytest.CaptureFixture[str]
) -> None:
    with (tracking := opened()).opened():
        log(tracking, {"no + in a name": 1.0})
        log(tracking, {"a": 2.0})
    assert recorded(store) == {"a": [2.0]}
    assert len(lines(capsys)) == 1


def test_what_is_refused_of_the_journal_is_left_out_and_counted(
    store: Path, opened: Callable[[], Tracking], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("workbench.tracking.store.BUSY_S", 0.5)
        with contextlib.closing(sqlite3.connect(store, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with (tracking := opened()).opened():
                log(tracking, {"no + in a name": 1.0})
                log(tracking, {"a": 2.0})
    capsys.readouterr()
    work(opened(), 3.0)
    assert sorted(recorded(store)["a"]) == [2.0, 3.0], "one that is refused stopped the others"
    (line,) = (line for line in lines(capsys) if "are there now" in line)
    assert "1 that it refuses are left out" in line


def test_another_store_is_told_everything_anew(store: Path, opened: Callable[[], Tracking]) -> None:
    work(first := opened(), 1.0)
    state = first._folder.state["mlflow"]
    state.update({"datasets": ["test"], "kept": ["sft-1"], "comparisons": 1, "uri": "sqlite:///elsewhere.db"})
    first._folder.save()
    work(second := opened(), 2.0)
    known = second._folder.state["mlflow"]
    assert not {"datasets", "kept", "comparisons"} & set(known)
    assert str(store) in known["uri"]


def test_a_locked_store_costs_seconds(
    store: Path, opened: Callable[[], Tracking], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("workbench.tracking.store.BUSY_S", 0.5)
    with contextlib.closing(sqlite3.connect(store, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")  # it can be read, not written
        begun = time.monotonic()
        work(opened(), 1.0, 2.0)
        assert time.monotonic() - begun < 8
    (line,) = lines(capsys)
    assert "locked" in line
    assert str(store) in line
    work(opened(), 3.0)
    assert recorded(store)["a"] == [1.0, 3.0, 2.0]


def test_a_store_that_is_locked_during_the_work_costs_seconds(
    store: Path, opened: Callable[[], Tracking], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with (tracking := opened()).opened():
        monkeypatch.setattr(delivery, "WAIT_S", 0.5)
        with contextlib.closing(sqlite3.connect(store, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            begun = time.monotonic()
            for step in range(5):
                log(tracking, {"a": float(step)}, step=step)
            assert time.monotonic() - begun < 3
    monkeypatch.setattr(delivery, "WAIT_S", 30.0)
    (line,) = lines(capsys)
    assert "no answer within" in line
    work(opened())
    # The call that was given up may have been written after all; written again, it is the same record.
    assert recorded(store)["a"] == [0.0, 1.0, 2.0, 3.0, 4.0]


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that takes connections and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(64)
        yield int(server.getsockname()[1])


def test_a_server_that_never_answers_costs_seconds_and_shows_no_password(
    silent: int,
    store: Path,
    opened: Callable[[], Tracking],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:hunter2@127.0.0.1:{silent}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    begun = time.monotonic()
    away = opened()
    work(away, 1.0, 2.0)
    assert time.monotonic() - begun < 6
    (line,) = lines(capsys)
    assert f"127.0.0.1:{silent}" in line
    assert "hunter2" not in line + away.uri + "".join(
        path.read_text() for path in away._folder.path.rglob("*") if path.is_file()
    )
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    work(opened(), 3.0)
    assert recorded(store)["a"] == [1.0, 3.0, 2.0]


def test_a_server_that_is_slow_costs_seconds_and_is_caught_up(
    store: Path, opened: Callable[[], Tracking], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with (tracking := opened()).opened(), monkeypatch.context() as patch:
        # A store in a file in a server's place, a tenth of the seconds.
        patch.setattr(delivery, "sqlite_path", lambda uri: None)
        patch.setattr(delivery, "SLOW_S", 0.1)
        patch.setattr(delivery, "WAIT_S", 0.9)
        answer = tracking.delivery.store.client.log_batch

        def slowly(*arguments: Any, **settings: Any) -> Any:
            time.sleep(0.3)
            return answer(*arguments, **settings)

        patch.setattr(tracking.delivery.store.client, "log_batch", slowly)
        begun = time.monotonic()
        for step in range(30):
            log(tracking, {"a": float(step)}, step=step)
        assert time.monotonic() - begun < 3, "every record waited for the server"
    assert "answers slowly" in lines(capsys)[0]
    work(opened())
    assert recorded(store)["a"] == [float(step) for step in range(30)]


@pytest.mark.parametrize(
    "uri",
    ["sqlite:////proc/no/such/place/mlflow.db", "sqlite:///toy.toml/mlflow.db", "sqlite:///.", "sqlite:///toy.toml"],
)
def test_a_place_where_nothing_can_be_written_is_one_line(
    uri: str, opened: Callable[[], Tracking], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    work(opened(), 1.0)
    (line,) = lines(capsys)
    assert line.startswith("tracking: ")
    assert "the work goes on" in line


def test_a_disk_so_full_that_nothing_can_be_kept_does_not_end_the_work(
    store: Path, opened: Callable[[], Tracking], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*arguments: Any, **settings: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with (tracking := opened()).opened():
        monkeypatch.setattr(tracking.delivery.store.client, "log_batch", full)
        monkeypatch.setattr(tracking.delivery.journal, "add", full)
        log(tracking, {"a": 1.0})
        log(tracking, {"a": 2.0})
    assert len(lines(capsys)) == 1


def test_a_command_without_a_store_does_its_work(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 0, one line about it, and everything kept for the next command."""
    monkeypatch.setattr("workbench.run.session.open_tracking", Tracking)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////proc/no/such/place/mlflow.db")
    assert main(["optimize", "toy.toml"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert [line[:9] for line in said.out.splitlines() if "tracking" in line] == ["tracking:"]
    (run,) = workspace.glob("runs/toy/*/state.json")
    assert (run.parent / "1-gepa" / "bundle" / "bundle.json").is_file()
    ops = {json.loads(line)["op"] for line in (run.parent / "tracking.jsonl").read_text().splitlines()}
    told = {"run", "params", "dataset", "artifact", "metrics", "prompt", "text", "status"}
    assert ops == told | {"table", "tags", "note", "overview"}


def test_everything_that_is_recorded_is_caught_up(
    store: Path, opened: Callable[[], Tracking], monkeypatch: pytest.MonkeyPatch, workspace: Path
) -> None:
    from fakes import toy_examples
    from mlflow import MlflowClient

    tracking = opened()
    step = Step("gepa", FakeGepa(), workspace / "steps" / "gepa-1", "")
    step.folder.mkdir(parents=True)
    note, secret = tracking._folder.path / "note.txt", workspace / "secret.txt"
    note.write_text("kept")
    measured = Measured("a", "baseline", "a thing", test={"accuracy": Interval(0.5, 0.25, 0.75)}, standing="best")
    board = Leaderboard(Verdict("a", "a"), ("x",), BoardRows(4, 4), (measured,))
    secret.write_text("no part of a run")
    with monkeypatch.context() as patch:
        patch.setattr(
            "workbench.tracking.delivery.prepare_store", lambda uri: (_ for _ in ()).throw(TrackingError("away"))
        )
        patch.setattr(tracking.delivery, "catch_up", lambda: None)
        with tracking.opened(), tracking.step(step) as stage:
            stage.params({"n": 3})
            stage.metrics({"reward": 0.5}, step=2)
            stage.artifact(note)
            stage.artifact(secret)
            stage.prompt("after", "Name it.")
            tracking.begin({"split_digest": "digest"})
            tracking.dataset("dev", toy_examples()[:3], "digest")
            tracking.candidate(Candidate("a", "baseline", "a thing"), measured, "**a**", None)
            tracking.comparison({"candidate": ["a"]}, board, "the note", "the verdict", [])
        assert tracking._folder.state["mlflow"]["datasets"] == ["dev"]
    work(opened())
    client = MlflowClient(f"sqlite:///{store}", f"sqlite:///{store}")
    state = json.loads((tracking._folder.path / "state.json").read_text())
    parent, child = (client.get_run(one) for one in (state["mlflow"]["run_id"], state["mlflow"]["runs"]["gepa-1"]))
    assert (child.data.params, child.data.metrics) == ({"n": "3"}, {"reward": 0.5})
    assert client.get_metric_history(child.info.run_id, "reward")[0].step == 2
    found = {one.path for one in client.list_artifacts(child.info.run_id)}
    assert found == {"note.txt", "prompts"}, (
        "a journal may be a stranger's: what lies elsewhere is not sent to the store"
    )
    assert client.load_prompt("toy-prompt", 1).template == "Name it."
    assert [one.dataset.name for one in parent.inputs.dataset_inputs] == ["toy.dev"]
    whole = {one.path for one in client.list_artifacts(parent.info.run_id)}
    assert whole == {"leaderboard.json", "recipe.toml", "splits.json"}
    assert parent.data.tags["mlflow.note.content"].startswith("the note\n\n[all runs, best first](#/experiments/")
    experiment = client.get_experiment(parent.info.experiment_id)
    assert experiment.tags["mlflow.note.content"].startswith("the verdict\n\n[all runs")
    (model,) = client.search_logged_models([parent.info.experiment_id])
    assert (model.name, model.source_run_id) == ("a", state["mlflow"]["runs"]["candidate a"])
    found = {one.key: (one.value, one.dataset_name) for one in model.metrics}
    assert found["test.accuracy.low"] == (0.25, "toy.test")
    assert (parent.info.status, child.info.status) == ("FINISHED", "FINISHED")


def test_a_start_that_is_killed_leaves_a_place_where_the_next_start_makes_the_store(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    whole = begin_to_make(tmp_path_factory.mktemp("whole") / "mlflow.db")
    begun = time.monotonic()
    whole.join()
    takes = time.monotonic() - begun
    path, unharmed = tmp_path / "mlflow.db", 0
    path.touch()  # an empty file is no store yet
    for number in range(N_KILLS):
        for kind in (signal.SIGINT, signal.SIGKILL):
            child = begin_to_make(path)
            time.sleep(takes * (number + 0.5) / N_KILLS)
            with contextlib.suppress(ProcessLookupError):  # on a busy machine it may have come to its end
                os.kill(child.pid or 0, kind)
            child.join()
            # Whole, or as it was before: never half made.
            unharmed += not path.stat().st_size or recorded(path) == {}
            if N_KILLS > 1:
                prepare_store(f"sqlite:///{path}")
                path.unlink()
                path.touch()
    assert unharmed == 2 * N_KILLS
    prepare_store(f"sqlite:///{path}")
    prepare_store(f"sqlite:///{path}")
    assert sorted(one.name for one in tmp_path.iterdir()) == [".mlflow.db.lock", "mlflow.db"]


def test_two_first_starts_at_once_make_one_store(tmp_path: Path) -> None:
    children = [begin_to_make(tmp_path / "mlflow.db") for _ in range(2)]
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0, 0]
    prepare_store(f"sqlite:///{tmp_path / 'mlflow.db'}")


def _half_made(path: Path, made: Path) -> None:
    """As MLflow leaves it when it is interrupted among its migrations: newer tables, an older revision."""
    shutil.copy(made, path)
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")


def _begun(path: Path, made: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE experiments (name TEXT)")


def _newer(path: Path, made: Path) -> None:
    shutil.copy(made, path)
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")


def _not_one(path: Path, made: Path) -> None:
    path.write_bytes(b"no database at all, but long enough to be one" * 100)


@pytest.mark.parametrize(
    ("breaking", "expected"),
    [(_half_made, "half made"), (_begun, "half made"), (_newer, "newer MLflow"), (_not_one, "no SQLite store")],
)
def test_a_broken_store_is_named_with_the_remedy_and_left_alone(
    breaking: Callable[[Path, Path], None], expected: str, made_store: Path, tmp_path: Path
) -> None:
    path = tmp_path / "mlflow.db"
    breaking(path, made_store)
    before = path.read_bytes()
    with pytest.raises(TrackingError, match=expected) as error:
        prepare_store(f"sqlite:///{path}")
    assert f"mv {path} {path}.old" in str(error.value)
    assert "\n" not in str(error.value)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://me:hunter2@host:5000/x", "http://…@host:5000/x"),
        ("postgresql+psycopg2://me:p@ss@host/db", "postgresql+psycopg2://…@host/db"),
        ("sqlite:////tmp/a.db", "sqlite:////tmp/a.db"),
        ("cannot reach 'http://me:a@b' or http://c", "cannot reach 'http://…@b' or http://c"),
    ],
)
def test_addresses_are_shown_without_who_asks(text: str, shown: str) -> None:
    assert shown_uri(text) == shown


def test_a_step_that_is_kept_is_recorded_once_with_what_came_out(
    store: Path, opened: Callable[[], Tracking], workspace: Path
) -> None:
    from fakes import toy_bundle
    from mlflow import MlflowClient

    from labelwright.bundle.store import save

    step = Step("sft+gepa", FakeGepa(), workspace / "steps" / "gepa-1", "sft-1")
    step.folder.mkdir(parents=True)
    save(replace(toy_bundle(), report={"accuracy": 0.75}), step.bundle)
    done = {"seconds": 3.0, "peak_memory_bytes": 5, "others_busy_cores": None, "bundle": ""}
    (step.folder / "done.json").write_text(json.dumps(done))
    for _ in range(2):
        tracking = opened()
        with tracking.opened():
            tracking.kept(step)
    client = MlflowClient(f"sqlite:///{store}", f"sqlite:///{store}")
    parent = client.get_run(tracking._folder.state["mlflow"]["run_id"])
    (child,) = client.search_runs([parent.info.experiment_id], f"tags.mlflow.parentRunId = '{parent.info.run_id}'")
    assert (child.info.run_name, child.info.status, child.data.tags["kept"]) == ("sft+gepa", "FINISHED", "true")
    assert child.data.metrics == {"dev.accuracy": 0.75, "seconds": 3.0, "peak_memory_bytes": 5.0}


def test_the_state_and_the_journal_of_an_earlier_version_still_open(
    store: Path, opened: Callable[[], Tracking], capsys: pytest.CaptureFixture[str]
) -> None:
    """As they were before notes, views and models: a run with its children, and records that were not taken."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{store}", f"sqlite:///{store}")
    experiment = client.create_experiment("toy")
    run_id = client.create_run(experiment, run_name="toy-earlier", tags={"recipe": "toy.toml"}).info.run_id
    tracking = opened()
    known = {"uri": f"sqlite:///{store}", "experiment_id": experiment, "run_id": run_id, "runs": {}}
    tracking._folder.state["mlflow"] = {**known, "datasets": ["dev"], "kept": [], "comparisons": 1}
    tracking._folder.save()
    prompt = {"role": "after", "stage": "gepa", "digest": "0123"}
    for entry in (
        {"op": "run", "run": "gepa-1", "name": "gepa", "tags": {"stage": "gepa"}},
        {"op": "prompt", "run": "gepa-1", "text": "Name it.", "tags": prompt, "message": "gepa, after"},
        {"op": "model", "path": str(tracking._folder.path / "gone"), "texts": ["a"]},
        {"op": "of a later version", "run": "gepa-1"},
    ):
        tracking.delivery.journal.add(entry)
    with (again := opened()).opened():
        again.begin({"split_digest": "d"})
    assert again._folder.state["mlflow"]["run_id"] == run_id
    assert client.load_prompt("toy-prompt", 1).template == "Name it."
    assert "has compared nothing yet" in client.get_experiment(experiment).tags["mlflow.note.content"]
    assert "3 records" in (said := lines(capsys)[0])
    assert "1 that it refuses" in said
