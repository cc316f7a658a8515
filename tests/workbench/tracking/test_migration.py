"""A store that an earlier MLflow wrote is brought up to date whole, or left as it is."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from store_maker import EARLIER, make_earlier

from workbench.tracking import migration, store
from workbench.tracking.recorder import quiet
from workbench.tracking.store import TrackingError, prepare_store


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("earlier") / "mlflow.db"
    quiet()
    make_earlier(path)
    return path


@pytest.fixture
def path(earlier: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(earlier, tmp_path / "mlflow.db"))


def contents(path: Path) -> tuple[str, list[str]]:
    """A store's revision, and the experiments in it."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        (revision,) = (one for (one,) in db.execute("SELECT version_num FROM alembic_version"))
        return revision, [name for (name,) in db.execute("SELECT name FROM experiments")]


def names(path: Path) -> set[str]:
    return {one.name for one in path.parent.iterdir()}


def test_an_earlier_mlflows_store_is_brought_up_to_date_and_kept_as_it_was(
    path: Path, made_store: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    with contextlib.closing(sqlite3.connect(path)) as dashboard:
        assert dashboard.execute("SELECT version_num FROM alembic_version").fetchall() == [(EARLIER,)]
        prepare_store(f"sqlite:///{path}", said.append)
        # Who has the store open finds the new one there.
        assert dashboard.execute("SELECT count(*) FROM logged_models").fetchall() == [(0,)]
    (line,) = said
    assert f"mlflow.db.before-{EARLIER}" in line
    assert contents(path) == (contents(made_store)[0], ["kept"])
    assert contents(path.with_name(f"mlflow.db.before-{EARLIER}")) == (EARLIER, ["kept"])
    # Another process, which found it as it was, waited for its turn meanwhile.
    looks, really = iter([False]), store._is_whole
    monkeypatch.setattr(store, "_is_whole", lambda path: next(looks, True) and really(path))
    prepare_store(f"sqlite:///{path}", said.append)
    assert len(said) == 1
    assert names(path) == {"mlflow.db", ".mlflow.db.lock", f"mlflow.db.before-{EARLIER}"}
    assert capfd.readouterr() == ("", "")


def test_a_store_that_another_process_holds_is_left_alone(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.tracking.store.BUSY_S", 0.3)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(TrackingError, match="locked"):
            prepare_store(f"sqlite:///{path}")
    assert contents(path) == (EARLIER, ["kept"])
    assert names(path) == {"mlflow.db", ".mlflow.db.lock"}


def _fail(copy: Path, made: Path) -> None:
    raise ValueError("table runs exists")


def _end(copy: Path, made: Path) -> None:
    raise KeyboardInterrupt("by the person")


def _leave_half(copy: Path, made: Path) -> None:
    shutil.copy(made, copy)
    with contextlib.closing(sqlite3.connect(copy)) as db, db:
        db.execute("DROP TABLE review_queues")


def _write_to_the_store(copy: Path, made: Path) -> None:
    with contextlib.closing(sqlite3.connect(copy.with_name("mlflow.db"))) as db, db:
        db.execute("INSERT INTO experiments (name, lifecycle_stage) VALUES ('new', 'active')")
    shutil.copy(made, copy)


@pytest.mark.parametrize(
    ("doing", "error", "expected", "experiments"),
    [
        (_fail, TrackingError, "cannot bring up to date .table runs exists", ["kept"]),
        (_leave_half, TrackingError, "not whole", ["kept"]),
        (_end, KeyboardInterrupt, "by the person", ["kept"]),
        (_write_to_the_store, TrackingError, "was written to", ["kept", "new"]),
    ],
)
def test_a_migration_that_does_not_come_to_its_end_changes_nothing(
    path: Path,
    made_store: Path,
    monkeypatch: pytest.MonkeyPatch,
    doing: Callable[[Path, Path], None],
    error: type[BaseException],
    expected: str,
    experiments: list[str],
) -> None:
    monkeypatch.setattr(migration, "_migrate", lambda copy: doing(copy, made_store))
    with pytest.raises(error, match=expected):
        prepare_store(f"sqlite:///{path}")
    assert contents(path) == (EARLIER, experiments)
    assert not [name for name in names(path) if name.endswith(".tmp")]
