"""A tracking store that fails, is locked, never answers or is half made: one line, and the record caught up."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlflow.utils.logging_utils import enable_logging, eprint
from store_maker import begin_to_make
from workbench_fakes import FakeGepa

from labelwright.files import write_json
from labelwright.plain_text import without_passwords
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
from workbench.tracking.journal import MADE, Journal, read_made
from workbench.tracking.recorder import Tracking
from workbench.tracking.store import TrackingError, is_held, prepare_store
from workbench.tracking.writes import runs

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
    """Record numbers, and see them recorded or refused."""
    for entry in entries.metrics(PARENT, values, step):
        tracking.delivery.ask(entry)


def made(tracking: Tracking) -> dict[str, Any]:
    return read_made(tracking._folder)


def work(tracking: Tracking, *values: float) -> None:
    with tracking.opened():
        for number, value in enumerate(values):
            log(tracking, {"a": value}, step=number)
        tracking.write(entries.params(PARENT, {"p": 1}))


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    said = capsys.readouterr()
    assert said.err == ""
    return said.out.splitlines()


def test_mlflow_stays_quiet_after_an_integration_has_given_it_its_voice_back(
    store: Path, opened: Callable[[], Tracking], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with (tracking := opened()).opened():
        write = delivery.WRITES["metrics"]
        loud = lambda store, entry: (eprint("Successfully registered"), write(store, entry))  # noqa: E731
        monkeypatch.setitem(delivery.WRITES, "metrics", loud)  # type: ignore[arg-type]
        enable_logging()
        log(tracking, {"a": 1.0})
    assert lines(capsys) == []
    assert recorded(store) == {"a": [1.0]}


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
        assert recorded(store) == {}
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
    first._folder.state["mlflow"].update({"datasets": ["test"], "kept": ["sft-1"], "comparisons": 1})
    first._folder.save()
    write_json(first._folder.path / MADE, made(first) | {"uri": "sqlite:///elsewhere.db", "models": {"a": "m"}})
    work(second := opened(), 2.0)
    assert not {"datasets", "kept", "comparisons"} & set(second._folder.state["mlflow"])
    assert str(store) in made(second)["uri"]
    assert "models" not in made(second)


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
        log(tracking, {"b": 1.0})
        monkeypatch.setattr(delivery, "WAIT_S", 0.1)
        monkeypatch.setattr("workbench.tracking.store.BUSY_S", 0.1)
        with held_by_another(store):
            begun = time.monotonic()
            for step in range(5):
                log(tracking, {"a": float(step)}, step=step)
            # MLflow itself waits for 20 s.
            assert time.monotonic() - begun < 10
    given_up, caught_up = lines(capsys)
    assert "no answer within" in given_up
    assert "are there now" in caught_up
    assert recorded(store)["a"] == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_what_was_killed_amid_a_write_is_taken_back(
    store: Path, opened: Callable[[], Tracking], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work(opened(), 1.0)
    as_it_was = store.read_bytes()
    with contextlib.closing(sqlite3.connect(store, isolation_level=None)) as killed:
        # Pages of an open transaction reach the file where the cache has no room, as they do at its end.
        killed.execute("PRAGMA cache_size = 1")
        killed.execute("BEGIN IMMEDIATE")
        killed.execute("UPDATE alembic_version SET version_num = 'half'")
        killed.execute("CREATE TABLE half AS SELECT randomblob(100000) AS written")
        half, journal = store.read_bytes(), Path(f"{store}-journal").read_bytes()
        killed.execute("ROLLBACK")
    assert half != as_it_was
    store.write_bytes(half)
    Path(f"{store}-journal").write_bytes(journal)
    work(opened(), 2.0)
    assert recorded(store)["a"] == [1.0, 2.0]
    assert lines(capsys) == []


@contextlib.contextmanager
def held_by_another(store: Path) -> Iterator[None]:
    """Another process has the store to itself."""
    hold = "import sqlite3, sys; a = sqlite3.connect(sys.argv[1]); a.execute('BEGIN EXCLUSIVE'); print(); input()"
    command = [sys.executable, "-c", hold, str(store)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        other.stdout.readline()
        try:
            assert is_held(f"sqlite:///{store}")
            yield
        finally:
            other.communicate("\n")


def test_a_store_that_is_slow_is_waited_for(
    store: Path, opened: Callable[[], Tracking], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(delivery, "WAIT_S", 0.05)
    monkeypatch.setattr("workbench.tracking.store.BUSY_S", 0.05)

    slowly = lambda store, entry: (time.sleep(0.5), runs.metrics(store, entry))  # noqa: E731
    monkeypatch.setitem(delivery.WRITES, "metrics", slowly)
    work(opened(), 1.0, 2.0)
    assert recorded(store)["a"] == [1.0, 2.0]
    assert lines(capsys) == []


@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_a_write_of_our_own_is_no_others(store: Path, monkeypatch: pytest.MonkeyPatch, journal: str) -> None:
    """A disk that stalls in the middle of it is waited for."""
    monkeypatch.setattr("workbench.tracking.store.BUSY_S", 0.05)
    with contextlib.closing(sqlite3.connect(store, isolation_level=None)) as ours:
        ours.execute(f"PRAGMA journal_mode = {journal}")
        assert not is_held(f"sqlite:///{store}")
        ours.execute("BEGIN IMMEDIATE")
        locks = Path("/proc/locks")
        if not locks.is_file() or f" {os.getpid()} " not in locks.read_text():
            pytest.skip("this system tells no locks")
        assert not is_held(f"sqlite:///{store}")


def test_a_store_that_is_gone_is_given_up_and_not_made(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.tracking.store.BUSY_S", 0.05)
    store.unlink()
    assert is_held(f"sqlite:///{store}")
    assert not store.exists()


def test_a_store_is_not_given_up_after_one_look(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine stalls during the first, and by the next the store is free."""
    looks = iter([False, True])
    monkeypatch.setattr("workbench.tracking.store.BUSY_S", 0.05)
    monkeypatch.setattr("workbench.tracking.store._can_be_written", lambda path: time.sleep(0.1) or next(looks))
    assert not is_held(f"sqlite:///{store}")


def test_a_store_that_hangs_though_nobody_holds_it_is_given_up_at_last(
    store: Path, opened: Callable[[], Tracking], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hangs = threading.Event()
    with (tracking := opened()).opened():
        log(tracking, {"a": 1.0})
        monkeypatch.setattr(delivery, "WAIT_S", 0.05)
        monkeypatch.setattr(delivery, "STALLED_S", 0.2)
        monkeypatch.setitem(delivery.WRITES, "metrics", lambda *arguments: hangs.wait() and 1 / 0)
        log(tracking, {"a": 2.0})
    hangs.set()
    (line,) = lines(capsys)
    assert "no answer within" in line


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
    assert time.monotonic() - begun < 9
    (line,) = lines(capsys)
    assert f"127.0.0.1:{silent}" in line
    assert "hunter2" not in line + away.uri + "".join(
        path.read_text() for path in away._folder.path.rglob("*") if path.is_file()
    )
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    work(opened(), 3.0)
    assert recorded(store)["a"] == [1.0, 3.0, 2.0]


N_RECORDS = 60


def test_a_slow_server_costs_the_work_nothing_its_end_a_bounded_wait_and_the_next_command_brings_the_rest(
    store: Path,
    opened: Callable[[], Tracking],
    workspace: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A file in a server's place, which takes 0.1 s a record, and half a second in place of nine."""
    pace_s = 0.1
    monkeypatch.setattr(delivery, "sqlite_path", lambda uri: None)
    slowly = lambda store, entry: (time.sleep(pace_s), runs.metrics(store, entry))  # noqa: E731
    monkeypatch.setitem(delivery.WRITES, "metrics", slowly)
    with (workspace / "toy.toml").open("a") as recipe:
        recipe.write("wait_s = 0.5\n")  # [tracking] is the last table there
    with (tracking := opened()).opened():
        begun = time.monotonic()
        for step in range(N_RECORDS):
            tracking.write(*entries.metrics(PARENT, {"a": float(step)}, step))
        assert time.monotonic() - begun < 0.1 * N_RECORDS / 2, "the work waited for the server"
        while len(recorded(store).get("a", [])) < 2:
            assert time.monotonic() - begun < 0.1 * N_RECORDS, "nothing is delivered while the work goes on"
            time.sleep(0.01)
        begun = time.monotonic()
    assert time.monotonic() - begun < 0.1 * N_RECORDS / 2, "the end waited for all of it"
    there = recorded(store)["a"]
    assert there == [float(step) for step in range(len(there))], "not in their order"
    (line,) = lines(capsys)
    (n_left,) = map(int, re.findall(r"answers slowly; (\d+) records are not there yet", line))
    # One is the status of the run; and what the store was at when it was left may be there by now.
    assert 0 <= len(there) + n_left - 1 - N_RECORDS <= 1
    # Who looks at the dashboard waits for all of it, though it takes longer than a command may.
    pace_s = 0.02
    recipe = read_recipe("toy.toml")
    folder = tracking._folder
    with folder.lock():
        delivery.deliver_left(recipe, Display())
        assert tracking.delivery.journal.path.exists(), "another command is at work on it"
    delivery.deliver_left(recipe, Display())
    assert recorded(store)["a"] == [float(step) for step in range(N_RECORDS)]
    assert f"{n_left} records" in lines(capsys)[-1]
    assert not tracking.delivery.journal.path.exists()


def test_what_was_on_its_way_when_the_process_was_killed_is_brought_by_the_next_command(
    store: Path, opened: Callable[[], Tracking], monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs, killed = threading.Event(), opened()
    killed.delivery.open()
    log(killed, {"a": 0.0}, step=0)
    with monkeypatch.context() as patch:
        patch.setitem(delivery.WRITES, "metrics", lambda *arguments: hangs.wait() and 1 / 0)
        for step in range(1, 5):
            killed.write(*entries.metrics(PARENT, {"a": float(step)}, step))
        # What a kill leaves is what is on disk now; its last line may be torn.
        killed.delivery._is_stopped = True
        with killed.delivery.journal.path.open("a") as file:
            file.write('\n{"op": "metrics", "run": "par')
        hangs.set()
    work(opened())
    assert recorded(store)["a"] == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_a_machines_load_is_not_recorded_when_the_work_is_over(
    store: Path, opened: Callable[[], Tracking], monkeypatch: pytest.MonkeyPatch
) -> None:
    started, finished = [], []

    class Monitor:
        def __init__(self, run_id: str, **settings: Any) -> None:
            self.run_id = run_id

        def start(self) -> None:
            started.append(self.run_id)

        def finish(self) -> None:
            finished.append(self.run_id)

    monkeypatch.setattr("mlflow.system_metrics.system_metrics_monitor.SystemMetricsMonitor", Monitor)
    recipe = (tracking := opened())._recipe
    tracking._recipe = replace(recipe, tracking=replace(recipe.tracking, system_metrics=True))
    with tracking.opened():
        log(tracking, {"a": 1.0})
        run_id = made(tracking)["run_id"]
        assert (started, finished) == ([run_id], [])
        late = threading.Event()
        late.set()
        tracking.delivery.write({"op": "watch", "run": PARENT, "over": late}, keep=False)
    assert (started, finished) == ([run_id], [run_id])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(["add", "take"]), max_size=20), st.integers(0, 400))
def test_a_journal_that_is_cut_anywhere_loses_no_record_but_the_torn_one(
    tmp_path: Path, doings: list[str], cut: int
) -> None:
    path = tmp_path / "journal"
    path.unlink(missing_ok=True)
    journal, n_added, n_taken, marks = Journal(path), 0, 0, [(0, 0, 0)]
    for doing in doings:
        if doing == "add":
            n_added = journal.add({"op": "a", "value": n_added})
        elif n_taken < n_added:
            n_taken += 1
            journal.taken(n_taken)
        marks.append((path.stat().st_size if path.exists() else 0, n_added, n_taken))
    if path.exists():
        os.truncate(path, size := min(cut, path.stat().st_size))
        _, n_added, n_taken = max(mark for mark in marks if mark[0] <= size)
    left = Journal(path).entries()
    assert left == [{"op": "a", "value": value} for value in range(n_taken, n_added)]


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
    ops = {entry["op"] for entry in Journal(run.parent / "tracking.jsonl").entries()}
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
    state = made(tracking)
    parent, child = (client.get_run(one) for one in (state["run_id"], state["runs"]["gepa-1"]))
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
    assert (model.name, model.source_run_id) == ("a", state["runs"]["candidate a"])
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
    assert without_passwords(text) == shown


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
    parent = client.get_run(made(tracking)["run_id"])
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
        with tracking.delivery.journal.path.open("a") as file:
            file.write(json.dumps(entry) + "\n")
    with (again := opened()).opened():
        again.begin({"split_digest": "d"})
    assert made(again)["run_id"] == run_id
    assert again._folder.state["mlflow"]["datasets"] == ["dev"], "what was said is said anew"
    assert client.load_prompt("toy-prompt", 1).template == "Name it."
    assert "has compared nothing yet" in client.get_experiment(experiment).tags["mlflow.note.content"]
    assert "3 records" in (said := lines(capsys)[0])
    assert "1 that it refuses" in said
