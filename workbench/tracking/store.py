"""The tracking store before anything is written to it: made whole or not at all, and named where it is broken.

MLflow makes a SQLite store by fifty migrations that cannot be taken back, in place: interrupted among them, it leaves a
file that it refuses for ever. Here the file is made beside its place and renamed, by one process at a time; one that an
earlier MLflow wrote is brought up to date (``migration``). Knows nothing of runs.
"""

from __future__ import annotations

import os
import re
import shlex
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from labelwright.errors import LabelwrightError
from workbench.tracking.migration import ChangedMeanwhileError, bring_up_to_date

SQLITE = "sqlite:///"
# How long a store may be in another's hands: writers hold it for moments, who makes it for seconds.
BUSY_S = 4.0
_LOOKS = 20
_MAKING_S = 120.0


class TrackingError(LabelwrightError, RuntimeError):
    """The tracking store cannot be used; the message says what to do."""


def absolute(uri: str) -> str:
    """A SQLite store by its absolute path: MLflow keeps stores open by URI, and the current folder may change."""
    path = sqlite_path(uri)
    return uri if path is None else SQLITE + str(path) + "".join(uri.partition("?")[1:])


def sqlite_path(uri: str) -> Path | None:
    """The file of a SQLite store; None for other stores and for one in memory."""
    name = uri.removeprefix(SQLITE).partition("?")[0] if uri.startswith(SQLITE) else ""
    return Path(name).absolute() if name and name != ":memory:" else None


def prepare_store(uri: str, say: Callable[[str], None] = lambda text: None) -> None:
    """Make a SQLite store that is not there yet, and bring one up to date that an earlier MLflow wrote.

    Other stores are left alone.

    Parameters
    ----------
    say : callable
        Takes a line where a store was changed.

    Raises
    ------
    TrackingError
        The store cannot be made, is broken, is a later MLflow's, or stays locked for some seconds.
    """
    path = sqlite_path(uri)
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if _is_whole(path):
            _try_to_write(path, BUSY_S)
            return
        with _only_maker(path):
            if not (revision := _revision(path)):
                _make(path)
            elif not _is_whole(path):
                say(_bring_up_to_date(path, revision))
    except (OSError, sqlite3.Error) as error:
        raise TrackingError(f"{path} cannot be used ({error}); free it, or set MLFLOW_TRACKING_URI") from error


def is_held(uri: str) -> bool:
    """Whether another process keeps a SQLite store from being written to, for seconds on end, or the store is gone.

    A write of our own that takes long is none: a machine may be busy, a disk may stall.
    """
    path, begun, n_looks = sqlite_path(uri), time.monotonic(), 0
    # Looked at often, however long one look takes: between two of them the store may have been free.
    while path is not None and not (_can_be_written(path) or _is_ours(path)):
        n_looks += 1
        if n_looks >= _LOOKS and time.monotonic() - begun > BUSY_S:
            return True
        time.sleep(BUSY_S / _LOOKS)
    return False


def _can_be_written(path: Path) -> bool:
    try:
        _try_to_write(path, 0.0)
    except sqlite3.Error:
        return False
    return True


def _is_ours(path: Path) -> bool:
    """Whether it is this process that writes to a store, as far as the system tells."""
    # Not asked of the file itself: a process that closes a file loses all its locks on it, SQLite's among them.
    try:
        locks = Path("/proc/locks").read_text()
        # A store with a write-ahead log is locked in the index of that.
        files = [one.stat().st_ino for one in (path, path.with_name(f"{path.name}-shm")) if one.exists()]
    except OSError:
        return False
    return any(re.search(rf": POSIX .* WRITE {os.getpid()} \S+:{inode} ", locks) for inode in files)


def _revision(path: Path) -> str:
    """Of a store's schema; empty where there is none yet.

    Raises
    ------
    TrackingError
        It is no store, or none that this MLflow knows.
    """
    tables, revision = _contents(path)
    if not tables:
        return ""
    if revision in _of_this_mlflow()[1]:
        return revision
    if revision:
        raise TrackingError(f"{path} was written by a newer MLflow: install that one, or {_move_away(path)}")
    raise TrackingError(f"{path} is half made, by a start that was interrupted: {_move_away(path)}")


def _is_whole(path: Path) -> bool:
    """Whether the store is there, and all that this MLflow looks for in it."""
    tables, revision = _contents(path)
    newest, _, needed = _of_this_mlflow()
    return revision == newest and needed <= tables


def _contents(path: Path) -> tuple[set[str], str]:
    """The store's tables, and the revision of its schema."""
    if not path.exists() or path.stat().st_size == 0:
        return set(), ""
    try:
        with closing(_opened(path, BUSY_S)) as store:
            tables = {name for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            revisions = store.execute("SELECT version_num FROM alembic_version") if "alembic_version" in tables else ()
            return tables, next((str(one) for (one,) in revisions), "")
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        raise TrackingError(f"{path} is no SQLite store ({error}): {_move_away(path)}") from error


def _bring_up_to_date(path: Path, revision: str) -> str:
    """Migrate an earlier MLflow's store; returns what there is to say of it."""
    try:
        kept = bring_up_to_date(path, revision, _is_whole, BUSY_S)
    except (OSError, sqlite3.Error):
        raise
    except ChangedMeanwhileError as error:
        raise TrackingError(
            f"{path} is an earlier MLflow's, and was written to while it was being brought up to date: stop what "
            "writes to it, and try again"
        ) from error
    except Exception as error:
        first = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
        raise TrackingError(
            f"{path} is half made, by a start that was interrupted, or an earlier MLflow's that this one cannot bring "
            f"up to date ({first[:200]}): {_move_away(path)}"
        ) from error
    return f"tracking: {path} was an earlier MLflow's and is up to date now; as it was, it is {kept.name} beside it"


def _move_away(path: Path) -> str:
    return f"move it away (mv {shlex.quote(str(path))} {shlex.quote(f'{path}.old')}), a new one will be made"


def _of_this_mlflow() -> tuple[str, set[str], set[str]]:
    """The newest revision of a store, all that there were, and the tables that it has."""
    from alembic.script import ScriptDirectory
    from mlflow.store.db.base_sql_model import Base
    from mlflow.store.db.utils import _get_alembic_config

    script = ScriptDirectory.from_config(_get_alembic_config(""))
    return str(script.get_current_head()), {one.revision for one in script.walk_revisions()}, set(Base.metadata.tables)


def _try_to_write(path: Path, within_s: float) -> None:
    """Take the lock that a write takes, and give it back: MLflow itself would wait for minutes."""
    with closing(_opened(path, within_s)) as store:
        store.execute("BEGIN IMMEDIATE")
        store.execute("ROLLBACK")


def _opened(path: Path, within_s: float) -> sqlite3.Connection:
    """A store that is there, waited for that long."""
    # Never for reading alone: whoever was killed amid a write left half of it, and only a writer may take that back.
    address = f"file:{quote(str(path))}?mode=rw"
    return sqlite3.connect(address, uri=True, timeout=within_s, isolation_level=None)


@contextmanager
def _only_maker(path: Path) -> Iterator[None]:
    """Hold the right to make the store; the operating system takes it back from a process that was killed."""
    import fcntl

    deadline = time.monotonic() + _MAKING_S
    with path.with_name(f".{path.name}.lock").open("a+") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TrackingError(f"{path} is being made by another process for two minutes: stop it") from None
                time.sleep(0.1)
        for left in path.parent.glob(f".{path.name}.*.tmp*"):
            left.unlink()  # of a process that was killed: only one at a time is here
        yield


def _make(path: Path) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    part = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        store = SqlAlchemyStore(f"{SQLITE}{part}", (path.parent / "mlartifacts").as_uri())
        store.engine.dispose()
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
    except Exception as error:
        if isinstance(error, OSError):
            raise
        first = str(error).strip().splitlines()[0]
        raise TrackingError(f"{path} cannot be made ({first}); free some space, or set MLFLOW_TRACKING_URI") from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
