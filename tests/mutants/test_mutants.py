"""The deliberate faults fit the code as it is, and the runner tells a caught one from one that survives."""

from __future__ import annotations

from pathlib import Path

import pytest
from mutants import run

MUTANTS = run.read_mutants()


def test_names_are_unique_and_every_folder_has_some():
    names = [mutant.name for mutant in MUTANTS]
    assert len(names) == len(set(names))
    folders = {mutant.file.split("/")[0] for mutant in MUTANTS}
    assert {"labelwright", "programs", "optimizers", "rewards", "baselines", "workbench"} <= folders
    assert len(names) >= 60


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_each_can_be_planted(mutant):
    assert run.problem(mutant) == ""


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A project of one function and one test, whose faults the runner tries."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "half.py").write_text("def half(n):\n    return n / 2\n")
    (tmp_path / "tests" / "test_half.py").write_text("from half import half\ndef test_half(): assert half(4) == 2\n")
    monkeypatch.setattr(run, "ROOT", tmp_path)
    monkeypatch.setattr(run, "copy_project", lambda to: _copy(tmp_path, to))
    return tmp_path


def _copy(root: Path, to: Path) -> None:
    for path in root.rglob("*.py"):
        (to / path.relative_to(root)).parent.mkdir(parents=True, exist_ok=True)
        (to / path.relative_to(root)).write_text(path.read_text())


def plant(find: str, replace: str) -> run.Mutant:
    return run.Mutant("it", "half is wrong", "half.py", find, replace, ("tests/test_half.py",))


@pytest.mark.parametrize(
    ("find", "replace", "status", "said"),
    [
        ("n / 2", "n / 3", 1, "caught"),
        ("n / 2", "n * 0.5", 0, "SURVIVED"),
        ("def half", "def third", 2, "SURVIVED"),  # what cannot even be imported proves nothing
    ],
)
def test_caught_means_that_a_test_failed(project, monkeypatch, capsys, find, replace, status, said):
    mutant = plant(find, replace)
    monkeypatch.setattr(run, "read_mutants", lambda: [mutant])
    monkeypatch.setattr(run, "problem", lambda one: "")
    assert run.main(["--jobs", "1"]) == (0 if said == "caught" else 1)
    shown = capsys.readouterr().out
    assert said in shown
    assert said == "caught" or f"ended with {status}" in shown


def test_what_cannot_be_planted_is_said(project):
    assert run.problem(plant("n / 2", "n / 3"), project) == ""
    assert "occurs 0 times" in run.problem(plant("n / 5", "n / 3"), project)
    assert "occurs 3 times" in run.problem(plant("n", "m"), project)
    assert "changes nothing" in run.problem(plant("n / 2", "n / 2"), project)
