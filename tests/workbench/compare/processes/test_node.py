"""A work on a machine of a cluster: what it says is handed on, and a machine that is no good for it says why."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from workbench.compare.jobs import Job
from workbench.compare.processes import node
from workbench.compare.processes.node import answer, asked_of_node
from workbench.compare.processes.pool import CandidateFailedError, Processes
from workbench.compare.processes.work import Needs, Work
from workbench.run.identity import handed_down


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A work as a cluster is given it; its machine has what it needs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(node, "_OPEN", {})
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    Path("run").mkdir()
    Path("run/state.json").write_text("{}")
    work = Work((Job("words", 3, 3),), "linear", Path("log"), Needs(1, 0, 1), trial={"settings": {"alpha": 0.1}})
    return asked_of_node(work, Path("toy.toml"), Path("run"))


def test_what_its_process_says_is_handed_on(asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def run(self: Processes, jobs: Any, family: str, log: Path, say: Any, record: Any, **how: Any) -> None:
        seen.append((jobs, family, log, how, self._identity, os.environ["OMP_NUM_THREADS"], Path.cwd()))
        say(1, 2, "half")
        record({"op": "status"})
        if family == "broken":
            raise CandidateFailedError("no package", lasting=True)

    monkeypatch.setattr(Processes, "run", run)
    # As a cluster sets them.
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("MKL_NUM_THREADS", "1")
    said = [{"progress": (1, 2, "half")}, {"record": {"op": "status"}}]
    assert list(answer(asked)) == [*said, {"ended": ""}]
    of_here = [Path("log"), {"trial": {"settings": {"alpha": 0.1}}}, handed_down(), "7", Path(asked["folder"])]
    assert list(seen[0]) == [(Job("words", 3, 3),), "linear", *of_here]
    assert "MKL_NUM_THREADS" not in os.environ, "threads are those of where the comparison began"
    asked["work"]["family"] = "broken"
    assert list(answer(asked))[-1] == {"ended": "no package", "lasting": True}
    assert len(node._OPEN) == 1, "a warm process serves all works of a run"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"run": "elsewhere"}, "elsewhere is not here: expected a folder that all machines share"),
        ({"folder": "/no/such/folder"}, "/no/such/folder"),
        ({"environment": "others"}, "other packages are installed here"),
    ],
)
def test_a_machine_that_is_no_good_says_why(asked: dict[str, Any], change: dict[str, str], said: str) -> None:
    (found,) = answer(asked | change)
    assert said in found["ended"]
    assert not found["lasting"], "another machine may do"
