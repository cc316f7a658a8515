"""What a candidate's and a step's key hold, which failures are remembered, and what forgetting leaves."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import workbench_fakes
from small_comparison import opened

from baselines import BASELINES
from labelwright.bundle.store import load
from labelwright.data.task import Splits
from labelwright.errors import BundleError, DataError, LabelwrightError, MissingExtraError, ModelError, RecipeError
from workbench.cli import main
from workbench.compare import score as compare
from workbench.compare.jobs import Comparison, Job, comparison_of
from workbench.compare.processes import worker
from workbench.compare.processes.lasting import is_lasting
from workbench.compare.processes.pool import CandidateFailedError
from workbench.compare.processes.worker import attempt
from workbench.compare.score import score_candidates
from workbench.progress import Display
from workbench.recipe.read import read_recipe
from workbench.recipe.rows import read_rows
from workbench.recipe.stages import read_pipeline
from workbench.run.choose import new_run
from workbench.run.engines import Engines
from workbench.run.folder import RunFolder
from workbench.run.session import steps_of
from workbench.run.steps import Asked

REAL = dict(BASELINES)
CANDIDATES = ("majority", "words", "untuned", "sft")


@pytest.fixture
def run(workspace: Path) -> RunFolder:
    """A run that has done nothing yet, of a recipe with a local base model and rows out of scope."""
    models = '[models]\ncandidates = ["untuned", "sft"]\n'
    change("[compare]", models + '[compare]\nseeds = 1\ncurves = ["words", "sft"]\ncurve_rows = [2]')
    change('"words", "absent"]', '"words"]')
    change('name = "fake"', 'name = "base"')
    (workspace / "base").mkdir()
    (workspace / "base" / "config.json").write_text("{}")
    recipe = read_recipe("toy.toml")
    return new_run(recipe, read_rows(recipe), Display())


def change(old: str, new: str, path: str = "toy.toml") -> None:
    text = Path(path).read_text()
    assert old in text
    Path(path).write_text(text.replace(old, new))


def keys(comparison: Comparison) -> dict[Job, str]:
    return {job: comparison.key(job) for name in comparison.names for job in comparison.jobs(name)}


def changed(run: RunFolder, do: Callable[[], None]) -> set[str]:
    """Candidates of which the main result is stale after a change."""
    before = keys(opened(run))
    do()
    after = keys(opened(run))
    return {job.candidate for job in before if not job.per_label and before[job] != after.get(job)}


@pytest.mark.parametrize("side", ["train", "dev", "calib", "test"])
@pytest.mark.parametrize("part", ["text", "label", "group", "order"])
def test_every_row_of_every_side_counts(run: RunFolder, side: str, part: str) -> None:
    found = opened(run)
    splits = found.splits_of(found.jobs("words")[0])
    first, second, *rest = getattr(splits, side) if side != "test" else compare.read_test(splits)
    other = {"text": "another text", "label": "hvac" if first.label != "hvac" else "pool", "group": "another"}
    rows = (second, first, *rest) if part == "order" else (replace(first, **{part: other[part]}), second, *rest)
    recipe = read_recipe("toy.toml")
    altered = comparison_of(recipe, run, read_rows(recipe), replace(splits, **{side: rows}))
    for name in CANDIDATES:
        job = Job(name, recipe.seed, recipe.seed)
        assert altered.key(job) != found.key(job), name


def test_rows_out_of_scope_count_for_who_answers_them(run: RunFolder) -> None:
    row = {"id": "out", "text": "what is love", "label": "none of these", "group": "out"}
    with Path("rows.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")
    change('id = "id"', 'id = "id"\nout_of_scope = "none of these"')
    assert changed(run, lambda: change("what is love", "what is hate", "rows.jsonl")) == set(CANDIDATES)
    before = keys(opened(run))
    change("what is hate", "what is rain", "rows.jsonl")
    after = keys(opened(run))
    assert all(before[job] == after[job] for job in before if job.per_label), "a learning curve asks none of them"


def test_the_base_models_files_count_for_what_answers_with_it(run: RunFolder) -> None:
    assert changed(run, lambda: change("{}", '{"layers": 3}', "base/config.json")) == {"untuned", "sft"}


def test_an_encoders_files_count_for_what_stands_on_it(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    known = REAL["minilm-logreg"]
    monkeypatch.setattr("baselines.BASELINES", {"words": known, "majority": REAL["majority"]})
    shutil.copytree("base", "encoder")
    change("[export]", '[baselines.settings.words]\nencoder = "encoder"\n[export]')
    assert changed(run, lambda: change("{}", "[]", "encoder/config.json")) == {"words"}


def test_what_is_done_to_long_rows_counts_for_every_candidate(run: RunFolder) -> None:
    assert changed(run, lambda: change("[model]", '[model]\nlong_rows = "head"')) == set(CANDIDATES)


def step(**changes: Any) -> str:
    recipe = read_recipe("toy.toml")
    rows = read_rows(recipe)
    splits = Splits(tuple(rows[:20]), tuple(rows[20:30]), tuple(rows[30:40]), tuple(rows[40:]))
    given = {"name": "sft", "recipe": recipe, "task": recipe.task_for(()), "splits": splits, "seed": 3, **changes}
    pipeline, recipe = read_pipeline(given["name"]), given["recipe"]
    steps = steps_of(recipe, given["task"], Engines(recipe.model.settings))
    asked = Asked(given["splits"], given["seed"], pipeline.style or recipe.task.style)
    return steps.plan([recipe.stage(stage) for stage in pipeline.stages], asked)[-1].key


def test_a_steps_key_holds_all_that_it_is_made_of(run: RunFolder) -> None:
    recipe = read_recipe("toy.toml")
    rows = read_rows(recipe)
    before = step()
    splits = Splits(tuple(rows[:20]), tuple(rows[20:30]), tuple(rows[30:40]), tuple(rows[40:]))
    others = {
        "model's name": step(recipe=replace(recipe, model=replace(recipe.model, name="smollm2"))),
        "model's dtype": step(recipe=replace(recipe, model=replace(recipe.model, dtype="float32"))),
        "long rows": step(recipe=replace(recipe, model=replace(recipe.model, long_rows="head"))),
        "settings": step(recipe=replace(recipe, stage_tables={"sft": {"steps": 9}})),
        "style": step(name="sft@code"),
        "what was before": step(name="gepa+sft"),
        "seed": step(seed=4),
        "task": step(task=replace(recipe.task_for(()), instructions="Say it.")),
        "train": step(splits=replace(splits, train=splits.train[1:])),
        "dev": step(splits=replace(splits, dev=splits.dev[1:])),
    }
    change("{}", "[]", "base/config.json")
    others["model's files"] = step()
    assert len({before, *others.values()}) == 1 + len(others)
    assert step(splits=replace(splits, test=())) == step(), "a stage sees no test row, so none counts"


def outcome(error: BaseException) -> list[dict[str, Any]]:
    """What the process of a candidate says when it ends in this error."""
    said: list[dict[str, Any]] = []

    def fail(*given: Any) -> None:
        raise error

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "open_comparison", fail)
        assert attempt(Path("recipe"), Path("run"), [], said.append) in (1, 2)
    return said


def behind(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "lasting"),
    [
        (RecipeError("no setting"), True),
        (DataError("rows"), True),
        (MissingExtraError("extra"), True),
        (ModelError("cannot be fetched"), False),
        (BundleError("damaged"), False),
        (LabelwrightError("other"), False),
        (MemoryError(), False),
        (OSError(28, "No space left on device"), False),
        (TimeoutError("slow"), False),
        (RuntimeError("CUDA out of memory"), False),
        (behind(DataError("cannot be read"), OSError(5, "I/O error")), False),
        (behind(RecipeError("failed"), MemoryError()), False),
        (behind(RecipeError("failed"), torch.OutOfMemoryError("CUDA out of memory")), False),
    ],
)
def test_only_what_would_fail_again_is_lasting(error: BaseException, lasting: bool) -> None:
    assert is_lasting(error) is lasting
    (said,) = outcome(error)
    assert bool(said.get("lasting")) is lasting


def test_what_was_killed_is_tried_again(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []
    real = workbench_fakes.run_candidate_here

    def killed(self: Any, jobs: Any, *rest: Any) -> None:
        begun.append(jobs[0].candidate)
        if begun[-1] == "words":
            raise CandidateFailedError("its process was ended by signal 9 (out of memory?)", lasting=False)
        real(self, jobs, *rest)

    monkeypatch.setattr("workbench.compare.processes.pool.Processes.run", killed)
    assert main(["compare", "toy.toml"]) == 0
    report = json.loads((run.path / "report.json").read_text())
    failed = {one["name"]: one["failed"] for one in report["candidates"] if one["failed"]}
    assert failed == {"words": "its process was ended by signal 9 (out of memory?)"}
    begun.clear()
    monkeypatch.setattr(
        "workbench.compare.processes.pool.Processes.run",
        lambda *given: begun.append(given[1][0].candidate) or real(*given),
    )
    assert main(["compare", "toy.toml"]) == 0
    assert begun == ["words"]
    report = json.loads((run.path / "report.json").read_text())
    assert not [one["name"] for one in report["candidates"] if one["failed"]]


def test_a_lasting_failure_is_remembered_until_something_changes(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = opened(run)
    found.keep_failure("words", "needs a package", lasting=True)
    assert "words" not in opened(run).unfinished()
    assert opened(run).failure("words") == "needs a package"
    with monkeypatch.context() as patch:
        patch.setattr("workbench.compare.jobs.environment", lambda: "another package")
        assert "words" in opened(run).unfinished()
    with monkeypatch.context() as patch:
        patch.setattr("workbench.compare.jobs.measured_code", lambda module: "other code")
        assert "words" in opened(run).unfinished()
    change("latency_rows = 2", "latency_rows = 3")
    assert "words" in opened(run).unfinished()
    change("latency_rows = 3", "latency_rows = 2")
    assert "words" not in opened(run).unfinished()
    opened(run).forget("words")
    assert "words" in opened(run).unfinished()


def test_a_forgotten_result_does_not_count_even_if_forgetting_is_cut_off(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    score_candidates(opened(run), Display())
    found = opened(run)
    (step,) = found.steps(found.jobs("sft")[0])

    def cut_off(*given: Any, **settings: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", cut_off)
    with pytest.raises(KeyboardInterrupt):
        found.forget("sft")
    assert found.jobs("sft")[0] in opened(run).missing("sft")
    assert not step.is_done or load(step.bundle), "what is taken for done is whole"
