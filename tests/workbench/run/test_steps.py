"""The one loop: each step once, under what made it; what is cut off goes on; what is dropped takes its followers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import workbench_fakes

from optimizers.kept import KeptScores
from workbench.recipe.read import read_recipe
from workbench.recipe.rows import make_splits, read_rows, task_of
from workbench.run.engines import Engines
from workbench.run.folder import RunBusyError, locked
from workbench.run.session import steps_of
from workbench.run.steps import Asked, Step, Steps


class Silent:
    def __getattr__(self, name: str) -> Any:
        return lambda *given, **named: None


class World:
    """Steps over the fakes, and which of them were run."""

    def __init__(self) -> None:
        recipe = read_recipe("toy.toml")
        rows = read_rows(recipe)
        self.recipe = recipe
        self.asked = Asked(make_splits(rows, recipe.splits, 3), 3, "name")
        self.steps: Steps = steps_of(recipe, task_of(recipe, rows), Engines(recipe.model.settings))
        self.ran: list[str] = []

    @contextmanager
    def opened(self, step: Step) -> Iterator[Any]:
        self.ran.append(step.name)
        yield Silent()

    def run(self, *names: str) -> Any:
        return self.steps.run([self.recipe.stage(name) for name in names], self.asked, self.opened)


@pytest.fixture
def world(workspace: Path) -> World:
    return World()


def test_what_pipelines_share_is_run_once(world: World) -> None:
    one, other = world.run("sft", "grpo"), world.run("sft", "gepa")
    assert world.ran == ["sft", "sft+grpo", "sft+gepa"]
    assert one.steps[0] == other.steps[0]
    assert one.seconds >= one.steps[0].cost.seconds
    again = World()
    assert again.run("sft", "grpo").bundle == one.bundle
    assert again.ran == [], "another process finds the work done"


def test_no_stage_is_the_untuned_model(world: World) -> None:
    bundle, steps = world.run()
    assert (steps, bundle.history, world.ran) == ((), (), [])
    assert bundle.prompt.instructions == world.recipe.task.instructions


def test_every_step_has_its_dev_scores(world: World) -> None:
    assert 0 <= world.run("sft").bundle.report["accuracy"] <= 1


def test_a_step_costs_what_it_reuses(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether dev was scored by an earlier step of the same bundle, or by it: its price is the same."""
    real = KeptScores.of

    def slow(self: KeptScores, *given: Any, **named: Any) -> Any:
        scores = real(self, *given, **named)
        self.reused_s *= 1e6
        self.reused_busy_cores = 97.0
        return scores

    first = world.run("calibrate").steps[0]
    monkeypatch.setattr(KeptScores, "of", slow)
    world.steps.drop(first)
    cost = world.run("calibrate").steps[0].cost
    assert cost.seconds > 1e3, "its own scores from before it was dropped"
    assert cost.others_busy_cores == 97.0, "as busy as the machine was then"


def test_a_step_that_was_cut_off_goes_on_where_it_was(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    real = workbench_fakes.FakeSft.run

    def cut_off(stage: Any, bundle: Any, splits: Any, context: Any) -> Any:
        real(stage, bundle, splits, context)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(workbench_fakes.FakeSft, "run", cut_off)
        with pytest.raises(KeyboardInterrupt):
            world.run("sft")
    tuned = world.run("sft")
    assert world.ran == ["sft", "sft"]
    assert (tuned.steps[0].folder / "work" / "steps-run.txt").read_text().split() == ["1", "2"]


def test_a_dropped_step_takes_with_it_what_was_built_on_it(world: World) -> None:
    world.run("sft", "grpo", "gepa")
    world.run("gepa")
    world.ran.clear()
    (sft,) = world.steps.plan([world.recipe.stage("sft")], world.asked)
    world.steps.drop(sft)
    assert sorted(path.name.split("-")[0] for path in world.steps.root.iterdir()) == ["gepa"]
    world.run("gepa")
    assert world.ran == []
    world.run("sft", "grpo", "gepa")
    assert world.ran == ["sft", "sft+grpo", "sft+grpo+gepa"]


def test_a_step_is_stale_once_its_code_is_another(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.run("sft")
    monkeypatch.setattr("workbench.run.steps.code_version", lambda entries: "another loss")
    world.run("sft")
    assert world.ran == ["sft"], "what is edited meanwhile is the next command's"
    later = World()
    later.run("sft")
    assert later.ran == ["sft"]


def test_two_processes_do_not_work_on_one_step(world: World) -> None:
    (sft,) = world.steps.plan([world.recipe.stage("sft")], world.asked)
    sft.folder.mkdir(parents=True)
    with locked(sft.folder), pytest.raises(RunBusyError, match="is in use by process"):
        world.run("sft")


def test_a_step_says_what_it_is(world: World) -> None:
    *_, step = world.run("sft", "grpo").steps
    about = json.loads((step.folder / "step.json").read_text())
    assert (about["name"], about["stage"], about["settings"]) == ("sft+grpo", "grpo", {"steps": 5})
    assert about["parent"].startswith("sft-")


def test_what_a_process_works_on_is_not_dropped(world: World) -> None:
    _, grpo = world.run("sft", "grpo").steps
    (sft,) = world.steps.plan([world.recipe.stage("sft")], world.asked)
    with locked(grpo.folder), pytest.raises(RunBusyError, match="is in use by process"):
        world.steps.drop(sft)
    assert sft.is_done
    assert grpo.is_done


def test_what_is_dropped_lies_aside_until_it_was_run_again(world: World) -> None:
    (sft,) = world.run("sft").steps
    world.steps.drop(sft)
    assert (world.steps.root.parent / "dropped" / sft.key / "bundle").is_dir()
    world.run("sft")
    assert not (world.steps.root.parent / "dropped" / sft.key).exists()


def test_a_folder_that_is_dropped_while_it_is_locked_is_not_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    (tmp_path / "step").mkdir()
    real = fcntl.flock

    def late(*given: Any) -> None:
        (tmp_path / "step").rename(tmp_path / "aside")
        real(*given)

    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(RunBusyError, match="was dropped by another process"), locked(tmp_path / "step"):
        pytest.fail("a lock in a folder that is elsewhere holds nothing")
