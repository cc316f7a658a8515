"""The demo: its story over fakes, what a budget leaves out, and commands to copy that run nothing else."""

from __future__ import annotations

import io
import json
import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest
import workbench_fakes
from rich.console import Console

import baselines
from workbench import demo
from workbench.cli import main
from workbench.compare.expected import Expected
from workbench.progress import Display
from workbench.run.folder import RunFolder, runs_of

HOSTILE = "no $(touch owned) `touch owned` \"; touch owned #\x1b]0;owned\x07 it's"


def test_what_a_finished_run_shows_runs_nothing(tmp_path: Path) -> None:
    out = io.StringIO()
    work = SimpleNamespace(
        folder=SimpleNamespace(path=tmp_path / "a run", state={}),
        recipe=SimpleNamespace(path=Path("runs/my recipe.toml")),
        display=Display(Console(file=out, width=500)),
        tracking=SimpleNamespace(uri="sqlite:///mlflow.db"),
        splits=SimpleNamespace(dev=[SimpleNamespace(text=HOSTILE)]),
        task=SimpleNamespace(points=()),
    )
    demo._show_outputs(work, 1.0, 2**30, "3 more candidates")
    (line,) = (line for line in out.getvalue().splitlines() if "make predict" in line)
    words = shlex.split(line)
    assert words[:3] == ["make", "predict", "RECIPE=runs/my recipe.toml"]
    assert words[3].startswith("TEXT=no $(touch owned) `touch owned`")
    assert len(words) == 4
    assert not {"\x1b", "\x07"} & set(out.getvalue())


@pytest.fixture
def toy(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The toy recipe with candidates that a demo leaves to `make compare`."""
    workbench_fakes.without_plots(monkeypatch.setattr)
    recipe = workspace / "toy.toml"
    more = '[models]\ncandidates = ["sft"]\n[demo]\ncandidates = ["majority"]\n[compare]\nseeds = 2\n'
    recipe.write_text(recipe.read_text().replace("[compare]\n", more))
    return recipe


def candidates(workspace: Path) -> dict[str, str | None]:
    """Of the newest report, each with why it is left out, where it is."""
    report = json.loads((runs_of(workspace / "runs" / "toy")[-1] / "report.json").read_text())
    return {one["name"]: one["failed"] for one in report["candidates"]}


def test_the_demo_compares_its_own_and_compare_adds_the_rest(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", str(toy)]) == 0
    said = capsys.readouterr().out
    # A table before the first stage, each candidate's time before it starts (longer on a busy machine),
    # and what is left at the end.
    order = ["majority: a", "33.3", "first table: done", "gepa", "compare", "export"]
    places = [said.index(word) for word in order]
    assert places == sorted(places)
    assert "# 3 more candidates, other seeds, learning curves" in said[said.index("peak memory") :]
    assert list(candidates(toy.parent)) == ["majority", "untuned", "gepa", "gepa+grpo"]
    (path,) = runs_of(toy.parent / "runs" / "toy")
    kept = {file: file.stat().st_mtime_ns for file in (path.parent / "candidates").glob("*/*.json")}
    assert len(kept) == 4, "each is trained once"
    assert main(["compare", str(toy)]) == 0
    assert list(candidates(toy.parent)) == ["majority", "words", "absent", "untuned", "sft", "gepa", "gepa+grpo"]
    assert {file: file.stat().st_mtime_ns for file in kept} == kept, "what the demo did is not done again"
    repeats = RunFolder(path).report()["candidates"][0]["repeats"]
    assert repeats, "other splits are compare's"


def test_what_does_not_fit_in_the_minutes_is_left_out_by_name(
    toy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Expected, "stage", lambda self, stage, splits: 500.0 if stage.name == "grpo" else 1.0)
    assert main(["demo", str(toy), "--minutes=2"]) == 0
    said = capsys.readouterr().out
    assert "grpo is left out: about 8 min expected, and 1 min" in said
    assert "of 2 minutes are left" in said
    found = candidates(toy.parent)
    assert found.keys() == {"majority", "untuned", "gepa"}
    (path,) = runs_of(toy.parent / "runs" / "toy")
    assert [step["stage"] for step in RunFolder(path).done_steps()] == ["untuned", "gepa", "calibrate"]
    # The stage is made when there is time, on the same run.
    assert main(["train", str(toy)]) == 0
    assert RunFolder(path).done_steps()[-1]["stage"] == "grpo"


def test_a_candidate_that_does_not_fit_is_a_row_that_says_so(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy.write_text(toy.read_text().replace('candidates = ["majority"]', 'candidates = ["majority", "sft"]'))
    real = Expected.candidate
    monkeypatch.setattr(
        Expected,
        "candidate",
        lambda self, name: 900.0 if name == "sft" and self._comparison.missing(name) else real(self, name),
    )
    assert main(["demo", str(toy), "--minutes=3"]) == 0
    assert "about 15 min expected" in candidates(toy.parent)["sft"]
    assert main(["compare", str(toy)]) == 0
    assert not candidates(toy.parent)["sft"]


def test_a_demo_without_its_students_reads_no_pool_and_ships_what_it_has(
    toy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = baselines.BASELINES["words"]._replace(learns_soft=True)
    monkeypatch.setattr(baselines, "BASELINES", {**baselines.BASELINES, "words": words})
    text = toy.read_text().replace('["gepa", "grpo", "calibrate"]', "[]")
    text = text.replace("[data]\n", '[data]\nunlabelled = "no-such-pool.csv"\n')
    toy.write_text(text.replace("[export]\n", '[export]\ncandidate = "distilled-words"\n'))
    assert main(["demo", str(toy)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert 'candidate = "distilled-words" was left out of this demo' in said
    # words, absent, sft and the student.
    assert "# 4 more candidates" in said
    (path,) = runs_of(toy.parent / "runs" / "toy")
    assert RunFolder(path).state["export"]["candidate"] == "majority"


@pytest.mark.parametrize("minutes", ["-1", "nan", "inf"])
def test_a_budget_that_is_none_is_refused(toy: Path, minutes: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", str(toy), f"--minutes={minutes}"]) == 2
    assert "expected a number of minutes" in capsys.readouterr().err


def test_where_every_candidate_trains_a_transformer_the_demo_compares_them(toy: Path) -> None:
    """Nothing is tuned and nothing light is there to stand in."""
    text = toy.read_text().replace('["majority", "words", "absent"]', "[]").replace('candidates = ["majority"]', "")
    text = text.replace('["gepa", "grpo", "calibrate"]', "[]").replace("[export]\n", '[export]\ncandidate = "ship"\n')
    toy.write_text(text)
    assert main(["demo", str(toy)]) == 0
    assert candidates(toy.parent) == {"sft": None}
