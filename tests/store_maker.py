"""Tracking stores in the making: a process to be killed at it, and a store as an earlier MLflow left it."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from multiprocessing.process import BaseProcess
from pathlib import Path

from workbench.tracking.store import prepare_store

# Not forked out of the test's own process: MLflow has threads there, and a lock that one of them holds at that moment
# stays locked in the child for ever. The server that forks has MLflow, and no thread.
_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["mlflow.store.tracking.sqlalchemy_store"])


def begin_to_make(path: Path) -> BaseProcess:
    """A process that makes the store and ends with status 0 where it could."""
    maker = _SERVER.Process(target=_make_quietly, args=(path,))
    maker.start()
    return maker


def _make_quietly(path: Path) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with Path(os.devnull).open("w") as nothing, contextlib.redirect_stderr(nothing), contextlib.suppress(BaseException):
        prepare_store(f"sqlite:///{path}")
        os._exit(0)
    os._exit(1)


# A schema of 2022, 49 migrations before that of MLflow 3.17.
EARLIER = "cc1f77228345"


def make_earlier(path: Path) -> None:
    """A store of ``EARLIER``, made by MLflow's own migrations up to there, with an experiment, "kept", in it."""
    import sqlalchemy
    from alembic import command
    from mlflow.store.db.utils import _get_alembic_config
    from mlflow.store.tracking.dbmodels.initial_models import Base

    engine = sqlalchemy.create_engine(f"sqlite:///{path}", poolclass=sqlalchemy.pool.NullPool)
    Base.metadata.create_all(engine)
    config = _get_alembic_config(str(engine.url))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, EARLIER)
        connection.execute(sqlalchemy.text("INSERT INTO experiments (name, lifecycle_stage) VALUES ('kept', 'active')"))
    engine.dispose()
