"""A run at work: which run a verb takes, its rows and engines, and its steps one after another.

A run is a recipe's pipeline, begun once with its rows and splits. It owns no result: every step is kept by
``workbench.run.steps`` under what made it, and the run records which ones it is made of. A process killed at any moment
is continued by the same command.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import cached_property
from typing import TYPE_CHECKING, Any

from labelwright.bundle.store import load
from labelwright.bundle.types import Bundle
from labelwright.data.task import Task
from labelwright.errors import RecipeError
from optimizers.stage import Stage, Tracker
from workbench.progress import Display
from workbench.recipe.recipe import Recipe, asked_stages
from workbench.recipe.rows import Rows, split_remarks, task_of
from workbench.recipe.splits import SIDES, read_splits, split_digest
from workbench.run.engines import Engines
from workbench.run.folder import RUNS, STEPS, RunFolder
from workbench.run.steps import Asked, Step, Steps, Untuned, settings_of

if TYPE_CHECKING:
    from workbench.tracking.recorder import Tracking


class Session:
    """One recipe run at work: rows, splits, task, engines, steps and where things are reported.

    Raises
    ------
    LabelwrightError
        What a stage would say of the files that it reads, hours later (``Stage.check``).
    """

    def __init__(self, recipe: Recipe, folder: RunFolder, rows: Rows, display: Display) -> None:
        self.recipe = recipe
        self.folder = folder
        self.display = display
        self.rows = rows
        self.splits = read_splits(folder.path / "splits.json", rows)
        self.task = task_of(recipe, rows)
        for stage in map(recipe.stage, asked_stages(recipe)):
            if hasattr(stage, "check"):
                stage.check(self.splits.for_tuning(), self.task)
        self.engines = Engines(recipe.model.settings)
        self.steps = steps_of(recipe, self.task, self.engines)
        self.tracking: Tracking
        self.n_steps = 0

    @contextmanager
    def opened(self) -> Iterator[Session]:
        """Hold the run's lock and its tracking run."""
        with self.folder.lock():
            self.tracking = open_tracking(self.recipe, self.folder, self.display)
            with self.tracking.opened():
                settings = {name: asdict(getattr(self.recipe, name)) for name in ("data", "splits", "model")}
                digest = split_digest(self.splits)
                self.tracking.begin(
                    {
                        "seed": self.recipe.seed,
                        "stages": ",".join(self.recipe.stages),
                        "split_digest": digest,
                        **{f"{table}.{key}": value for table, part in settings.items() for key, value in part.items()},
                    }
                )
                tuning = self.splits.for_tuning()
                for side in SIDES:
                    if getattr(tuning, side):
                        self.tracking.dataset(side, getattr(tuning, side), digest)
                yield self

    @property
    def data_remarks(self) -> list[str]:
        """What there is to say of the rows and of how they were dealt, a sentence each."""
        return [*self.rows.remarks, *split_remarks(self.splits, self.recipe.splits)]

    def newest_bundle(self) -> Bundle | None:
        """The bundle of the last finished step; None where there is none, or it is gone."""
        path = self.folder.bundle_path(self.folder.done_steps()[-1]) if self.folder.done_steps() else None
        return load(path) if path and path.is_dir() else None

    def recorded_steps(self) -> list[tuple[dict[str, Any], Step]]:
        """The run's finished steps, each with its record."""
        done, stages = self.folder.done_steps(), self._done_stages()
        names = ["+".join(stage.name for stage in _tuning(stages[: n + 1])) for n in range(len(stages))]
        kept = [self.steps.root / record["key"] for record in done]
        return [
            (record, Step(name, stage, folder, ""))
            for record, name, stage, folder in zip(done, names, stages, kept, strict=True)
        ]

    def ensure_untuned(self) -> None:
        """Step 0: the task as it stands in the recipe, scored on dev."""
        if not self.folder.done_steps():
            self.extend("untuned")

    def extend(self, name: str) -> None:
        """One more stage on the newest step, continued where it was interrupted, or taken as it is kept."""
        stages = [*self._done_stages(), self._stage(name)]
        record = self.folder.unfinished_step()
        (step,) = self._plan(stages)[-1:]
        if record is not None and record["key"] != step.key:
            changed = f"the [{name}] table" if record["settings"] != settings_of(step.stage) else "what it is made of"
            self.display.say(f"{record['folder']}: {changed} changed since it was interrupted; it begins again")
            self.folder.drop_from(record)
            record = None
        # Recorded before it is run, so that a kill leaves a run that knows what it was doing.
        record = record or self.folder.begin_step(name, settings_of(step.stage), step.folder)
        if step.is_done:
            self.display.say(f"{record['folder']}: done already, as {self.folder.path / record['folder']}")
            self.tracking.kept(step)
        else:
            self.steps.run(_tuning(stages), self._asked, self._opened)
        self.folder.end_step(record, step.cost._asdict())
        if name == "calibrate" and (made := self.newest_bundle()) and (fault := made.promise.fault()):
            self.display.say(f"warning: [calibrate] abstain = true, so no row will get a label: {fault}")

    def drop_stale(self) -> None:
        """Forget steps that are not what recipe, models and code would make now, and those that were built on them.

        Their stages are noted in the run, for ``make_again``.
        """
        stale = self._stale()
        if stale:
            record, why = stale
            after = self.folder.steps[self.folder.steps.index(record) :]
            # Noted and dropped in one write: a kill leaves both or neither.
            self.folder.again[:0] = [one["stage"] for one in after if one["stage"] != "untuned" and one["done"]]
            self.display.say(f"{record['folder']} {why}: dropping {', '.join(self.folder.drop_from(record))}")

    def make_again(self, before: tuple[str, ...] = ()) -> None:
        """Make again what ``drop_stale`` dropped, up to a stage that is forced and would drop what follows it."""
        while self.folder.again and self.folder.again[0] not in before:
            self.extend(self.folder.again[0])
        self.folder.again.clear()

    def _stale(self) -> tuple[dict[str, Any], str] | None:
        """The first finished step that is not what would be made now, and why; None where all stand."""
        for number, record in enumerate(self.folder.done_steps(), start=1):
            (step,) = self._plan(self._done_stages()[:number])[-1:]
            if record["key"] != step.key:
                return record, "is made of other settings, models or code now"
            if not step.is_done:
                return record, "is gone"
        return None

    def finish_interrupted(self) -> None:
        """Finish the step that a kill left open."""
        record = self.folder.unfinished_step()
        if record is None or record["stage"] == "untuned":
            return
        if stale := self._stale():
            raise RecipeError(
                f"run {self.folder.path.name}: {record['folder']} was interrupted, and {stale[0]['folder']} before it "
                f"{stale[1]}; put that back, or make both again with `make optimize` or `make demo`"
            )
        self.display.say(f"continuing {self.folder.path / record['folder']}, which was interrupted")
        self.extend(record["stage"])

    def run_verb_stages(self, names: tuple[str, ...], force: bool) -> None:
        """Run stages unless they are done; with ``force`` again, dropping what was built on them."""
        for name in names:
            done = [record for record in self.folder.done_steps() if record["stage"] == name]
            if done and not force:
                where = self.folder.bundle_path(done[-1])
                self.display.say(f"{name} is done, its bundle is {where}; to do it again: --force (make … FORCE=1)")
                continue
            if done:
                self.display.say(f"dropping {', '.join(self.folder.drop_from(done[-1]))}")
            if force:
                self.forget(name)
            self.extend(name)

    def forget(self, name: str) -> None:
        """Have a stage on the newest step run again, though it may be kept."""
        (step,) = self._plan([*self._done_stages(), self._stage(name)])[-1:]
        self.steps.drop(step)

    def remaining_stages(self) -> list[str]:
        """The recipe's stages that are not done, in the recipe's order."""
        done = Counter(record["stage"] for record in self.folder.done_steps())
        left = []
        for name in self.recipe.stages:
            if done[name]:
                done[name] -= 1
            else:
                left.append(name)
        return left

    def _stage(self, name: str) -> Stage:
        return Untuned() if name == "untuned" else self.recipe.stage(name)

    def _done_stages(self) -> list[Stage]:
        """The stages behind the newest step, with the recipe's settings."""
        return [self._stage(record["stage"]) for record in self.folder.done_steps()]

    def _plan(self, stages: Sequence[Stage]) -> tuple[Step, ...]:
        return self.steps.plan(_tuning(stages), self._asked)

    @cached_property
    def _asked(self) -> Asked:
        return Asked(self.splits, self.recipe.seed, self.recipe.task.style)

    @contextmanager
    def _opened(self, step: Step) -> Iterator[Tracker]:
        number = len(self.folder.steps)
        with self.display.step(step.stage.name, number, self.n_steps), self.tracking.step(step) as tracker:
            yield tracker


def _tuning(stages: Sequence[Stage]) -> Sequence[Stage]:
    """Without step 0, which the others do not build on: nothing is tuned in it."""
    return stages if len(stages) == 1 else [stage for stage in stages if stage.name != "untuned"]


def steps_of(recipe: Recipe, task: Task, engines: Engines) -> Steps:
    """The recipe's steps, kept beside its runs."""
    return Steps(RUNS / recipe.name / STEPS, task, recipe.model.name, recipe.model.settings, engines)


def open_tracking(recipe: Recipe, folder: RunFolder, display: Display) -> Tracking:
    """The run's tracking. MLflow takes seconds to import: only once there is work to record."""
    from workbench.tracking.recorder import Tracking

    return Tracking(recipe, folder, display)
