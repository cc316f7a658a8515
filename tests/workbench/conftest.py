"""One whole demo over the fakes, with a real MLflow store, shared by the tests that read what it left."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
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
def demo_folder(tmp_path_factory: pytest.TempPathFactory, made_store: Path) -> Path:
    """The folder in which `demo toy.toml` ran; the run is in ``runs/toy/<stamp>``."""
    from workbench.cli import main

    folder = tmp_path_factory.mktemp("demo")
    workbench_fakes.write_workspace(folder)
    (folder / "runs").mkdir()
    shutil.copy(made_store, folder / "runs" / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
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
