"""Candidates in processes of their own: a failure or a death is one candidate's, and warm answers as cold does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import workbench_fakes

import baselines
from workbench.compare.jobs import Comparison, Job, open_comparison
from workbench.compare.kept.reading import read_candidate
from workbench.compare.processes.pool import CandidateFailedError, Processes
from workbench.progress import Display
from workbench.recipe.read import read_recipe
from workbench.recipe.rows import read_rows
from workbench.run.choose import new_run

# What the processes under test begin with: a baseline that kills its process, as the system does where memory is out.
DIES = """
import os
import baselines
baselines.BASELINES["dies"] = lambda task, seed: os.kill(os.getpid(), 9)
"""


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Comparison:
    """A run of the toy recipe with real baselines and one that dies."""
    workbench_fakes.write_workspace(tmp_path)
    (tmp_path / "sitecustomize.py").write_text(DIES)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(baselines, "BASELINES", {**baselines.BASELINES, "dies": lambda task, seed: None})
    recipe = Path("toy.toml")
    text = recipe.read_text()
    assert '"words", "absent"]' in text
    text = text.replace('"words", "absent"]', '"sgd-ngrams", "dies", "sgd-chars"]')
    recipe.write_text(text.replace("[compare]\n", "[compare]\nseeds = 1\ncurves = []\n"))
    folder = new_run(read_recipe(recipe), read_rows(read_recipe(recipe)), Display())
    return open_comparison(recipe, folder.path)


def run(processes: Processes, found: Comparison, name: str) -> list[str]:
    """Runs a candidate; returns what it said of its progress."""
    said: list[str] = []
    log = Path(f"{name}.log")
    processes.run(
        found.missing(name), found.family(name), log, lambda done, total, text: said.append(text), lambda entry: None
    )
    return said


def probs(found: Comparison, name: str) -> np.ndarray:
    with np.load(found.place(found.jobs(name)[0]).with_suffix(".npz")) as kept:
        return np.asarray(kept["probs"])


def test_one_process_takes_several_candidates_and_outlives_one_that_dies(found: Comparison) -> None:
    # What this process holds is none of the candidates'.
    ballast = b"x" * 500_000_000
    with Processes(found.recipe.path, found.folder.path) as processes:
        assert run(processes, found, "sgd-ngrams")[0] == "training and scoring"
        first = processes._process
        assert first is not None
        # A family that has been there begins with what it imports.
        assert "sklearn" in processes._modules["baselines.linear"]
        with pytest.raises(
            CandidateFailedError, match=r"signal 9 \(out of memory\?\); its output is in dies.log"
        ) as told:
            processes.run(found.missing("dies"), "baselines.linear", Path("dies.log"), lambda *_: None, print)
        assert not told.value.lasting
        run(processes, found, "sgd-chars")
        assert processes._process is first, "a candidate that dies takes no other with it"
        run(processes, found, "majority")
        assert processes._process is not first, "what others import is none of its memory"
        last = processes._process
    assert first.poll() is not None
    assert last is not None
    assert last.poll() is not None
    for name in ("sgd-ngrams", "sgd-chars", "majority"):
        candidate = read_candidate(found, name)
        assert not candidate.failed
        assert 50e6 < candidate.cost["peak_memory_bytes"] < len(ballast)
        assert candidate.cost["others_busy_cores"] >= 0
        assert candidate.cost["others_busy_cores_training"] >= 0
    job = found.jobs("sgd-ngrams")[0]
    result = json.loads(found.place(job).with_suffix(".json").read_text())
    assert result["n_train"] == len(found.splits_of(job).train)
    # Warm, and second in its process, it answers as it does cold and alone.
    warm = probs(found, "sgd-chars")
    found.forget("sgd-chars")
    with Processes(found.recipe.path, found.folder.path) as processes:
        run(processes, found, "sgd-chars")
    assert (probs(found, "sgd-chars") == warm).all()


def test_it_says_why_it_failed(tmp_path: Path) -> None:
    log = tmp_path / "log" / "log.txt"
    with (
        Processes(tmp_path / "none.toml", tmp_path) as processes,
        pytest.raises(CandidateFailedError, match="no such recipe"),
    ):
        processes.run([Job("words", 0, 0)], "linear", log, lambda *_: None, print)
    assert log.is_file()


def test_a_process_that_is_killed_is_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = subprocess.Popen

    def killed(command: list[str], **settings: Any) -> Any:
        return real([sys.executable, "-c", f"import os; os.kill(os.getpid(), {int(signal.SIGKILL)})"], **settings)

    monkeypatch.setattr(subprocess, "Popen", killed)
    with (
        Processes(tmp_path, tmp_path) as processes,
        pytest.raises(CandidateFailedError, match=r"signal 9 \(out of memory\?\)"),
    ):
        processes.run([Job("words", 0, 0)], "linear", tmp_path / "log.txt", lambda *_: None, print)


def test_where_a_process_takes_only_one_the_next_gets_another(
    found: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the system cannot fork."""
    with (tmp_path / "sitecustomize.py").open("a") as file:
        file.write("import os\ndel os.fork\nimport sys; sys.platform = 'darwin'\n")
    with Processes(found.recipe.path, found.folder.path) as processes:
        run(processes, found, "sgd-ngrams")
        first = processes._process
        run(processes, found, "sgd-chars")
        assert processes._process is not first
    assert not found.missing("sgd-ngrams")
    assert not found.missing("sgd-chars")


def test_interrupted_it_leaves_no_process(found: Comparison) -> None:
    begun: list[int] = []
    processes = Processes(found.recipe.path, found.folder.path)

    def interrupt(done: int, total: int, text: str) -> None:
        assert processes._process is not None
        begun.append(processes._process.pid)
        os.killpg(begun[0], 0)
        raise KeyboardInterrupt

    with processes, pytest.raises(KeyboardInterrupt):
        processes.run(found.missing("sgd-ngrams"), "linear", Path("log.txt"), interrupt, lambda entry: None)
    for _ in range(100):  # a child of a child is taken away by the system, in its own time
        try:
            os.killpg(begun[0], 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail("a process is left")
