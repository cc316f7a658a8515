"""One whole demo over the fakes, with a real MLflow store, shared by the tests that read what it left."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import workbench_fakes

from workbench.run.folder import runs_of


@pytest.fixture(scope="session")
def made_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole store, to copy, which is sooner done than MLflow's migrations."""
    from workbench.tracking.recorder import quiet
    from workbench.tracking.store import prepare_store

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    quiet()
    prepare_store(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def tracking_server(tmp_path_factory: pytest.TempPathFactory, made_store: Path) -> Iterator[str]:
    """An ``mlflow server``'s address where LABELWRIGHT_TRACKING_SERVER asks for one; empty: a file is the store."""
    if not os.environ.get("LABELWRIGHT_TRACKING_SERVER"):
        yield ""
        return
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(made_store, folder / "server.db")
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = str(one.getsockname()[1])
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", port, "--workers", "1"),
        *("--backend-store-uri", f"sqlite:///{folder / 'server.db'}", "--artifacts-destination", str(folder / "kept")),
    ]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(command, env=workbench_fakes.environment(), stdout=log, stderr=log)
    try:
        until = time.monotonic() + 400
        while True:
            assert server.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < until, "the server does not answer"
            with suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=60).close()
                break
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(timeout=60)


@pytest.fixture(scope="session")
def demo_folder(tmp_path_factory: pytest.TempPathFactory, made_store: Path, tracking_server: str) -> Path:
    """The folder in which `demo toy.toml` ran; the run is in ``runs/toy/<stamp>``."""
    from workbench.cli import main

    folder = tmp_path_factory.mktemp("demo")
    workbench_fakes.write_workspace(folder)
    (folder / "runs").mkdir()
    shutil.copy(made_store, folder / "runs" / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        workbench_fakes.track_at(patch, tracking_server)
        workbench_fakes.install(patch.setattr)
        assert main(["demo", "toy.toml"]) == 0
    return folder


@pytest.fixture
def demo_run(demo_folder: Path) -> Path:
    """The demo's run folder."""
    (run,) = runs_of(demo_folder / "runs" / "toy")
    return run


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh folder with rows and a recipe, fakes installed, neither tracked nor drawn; the current folder."""
    workbench_fakes.write_workspace(tmp_path)
    monkeypatch.chdir(tmp_path)
    # MLflow writes the store that was set last into the environment.
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    workbench_fakes.install(monkeypatch.setattr)
    workbench_fakes.without_tracking(monkeypatch.setattr)
    workbench_fakes.without_plots(monkeypatch.setattr)
    return tmp_path


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command line over the fakes in a process of its own, in ``tmp_path``; it draws nothing."""
    workbench_fakes.write_workspace(tmp_path)

    def run(*arguments: str, kill: str = "", tracking: bool = False) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "workbench_fakes", *arguments],
            cwd=tmp_path,
            env=workbench_fakes.environment(KILL=kill, TRACKING="on" if tracking else "off"),
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run
