"""A SQLite store of an earlier MLflow, brought up to date: whole or not at all, and as it was kept beside it.

MLflow's migrations cannot be taken back and are no transaction. So they are made in a copy, and the copy's pages take
the place of the store's in one transaction of SQLite's: a kill leaves the old store or the new one, and whoever has it
open, such as a dashboard, finds the new one there. Knows nothing of runs.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
import warnings
from collections.abc import Callable
from contextlib import closing
from pathlib import Path


class ChangedMeanwhileError(RuntimeError):
    """Somebody wrote to the store while its copy was migrated."""


def bring_up_to_date(path: Path, revision: str, is_whole: Callable[[Path], bool], busy_s: float) -> Path:
    """Migrate a store in its place; returns where it lies as it was.

    Parameters
    ----------
    revision : str
        Of the store's schema.
    is_whole : callable
        Whether a store is of this MLflow.
    busy_s : float
        Seconds for which another process may hold the store.

    Raises
    ------
    ChangedMeanwhileError
        Nothing was changed.
    sqlite3.Error
        The store is locked, or cannot be written to.
    Exception
        The migration failed, with whatever MLflow raised. Nothing was changed.
    """
    part, kept = path.with_name(f".{path.name}.{os.getpid()}.tmp"), _free_name(path, revision)
    with closing(sqlite3.connect(path, timeout=busy_s, isolation_level=None)) as store:
        store.execute("BEGIN IMMEDIATE")  # MLflow itself would wait for minutes
        store.execute("ROLLBACK")
        seen = _version(store)
        try:
            with closing(sqlite3.connect(part)) as copy:
                _copy(store, copy, busy_s)
            shutil.copyfile(part, kept)
            _migrate(part)
            if not is_whole(part):
                raise RuntimeError("its migrations left a store that is not whole")
            with closing(sqlite3.connect(part)) as migrated:
                if _version(store) != seen:
                    raise ChangedMeanwhileError
                _copy(migrated, store, busy_s)
        except Exception:
            kept.unlink(missing_ok=True)
            raise
        finally:
            part.unlink(missing_ok=True)
    return kept


def _free_name(path: Path, revision: str) -> Path:
    endings = ("", *(f"-{number}" for number in range(2, 1000)))
    names = (path.with_name(f"{path.name}.before-{revision}{ending}") for ending in endings)
    return next(name for name in names if not name.exists())


def _version(store: sqlite3.Connection) -> int:
    """What another value of says that another connection has written."""
    (version,) = store.execute("PRAGMA data_version").fetchone()
    return int(version)


def _copy(source: sqlite3.Connection, target: sqlite3.Connection, busy_s: float) -> None:
    """All pages, in one transaction of the target's."""
    deadline = time.monotonic() + busy_s

    def watch(status: int, remaining: int, total: int) -> None:
        # sqlite3 itself would try for ever where another holds one of the two.
        if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) and time.monotonic() > deadline:
            raise sqlite3.OperationalError("database is locked")

    source.backup(target, progress=watch, sleep=0.05)


def _migrate(path: Path) -> None:
    from mlflow.store.db.utils import _upgrade_db, create_sqlalchemy_engine

    engine = create_sqlalchemy_engine(f"sqlite:///{path}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a table's checks are left out, which MLflow's migrations make anew
        _upgrade_db(engine)
    engine.dispose()
