"""A process that makes a tracking store, to be killed at it."""

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
