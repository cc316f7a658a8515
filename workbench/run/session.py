"""The stage loop: which run to work on, what is left of it, and each step from bundle to bundle.

A step's bundle is written before the step is marked done, and a stage resumes from its own folder: a process killed at
any moment is continued by the same command.
"""

from __future__ import annotations

import gc
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from labelwright.bundle.store import load, save
from labelwright.bundle.types import Bundle
from labelwright.data.task import Example, Splits, Task
from labelwright.decide import probabilities
from labelwright.errors import RecipeError
from labelwright.models.weights import Base
from labelwright.prompt import Prompt
from labelwright.statistics.calibration import Calibration
from labelwright.statistics.metrics import evaluate
from optimizers.stage import StageContext
from workbench.compare.jobs import Comparison, settings_of
from workbench.progress import Display
from workbench.recipe.checks import check_rewards
from workbench.recipe.recipe import Recipe, read_recipe
from workbench.recipe.rows import (
    SIDES,
    Rows,
    load_rows,
    make_splits,
    max_choices,
    read_splits,
    split_digest,
    split_remarks,
    splits_document,
)
from workbench.run.engines import Engines
from workbench.run.folder import Clock, RunFolder, find_run, runs_of
from workbench.run.measure import Load, forget_peak_memory, peak_memory_bytes

if TYPE_CHECKING:
    from workbench.tracking.recorder import Tracking

RUNS = Path("runs")
# Beside the runs of a recipe: results of candidates, which all of its runs share.
CANDIDATES = "candidates"
# Which stages a verb runs; `demo` runs what the recipe lists.
VERB_STAGES = {"optimize": ("gepa",), "train": ("grpo",), "calibrate": ("calibrate",)}


class Session:
    """One recipe run at work: rows, splits, task, engines and where things are reported."""

    def __init__(self, recipe: Recipe, folder: RunFolder, rows: Rows, display: Display) -> None:
        self.recipe = recipe
        self.folder = folder
        self.display = display
        self.rows = rows
        self.splits = read_splits(folder.path / "splits.json", rows)
        self.task = task_of(recipe, rows)
        self.engines = Engines(recipe.model)
        self.tracking: Tracking
        self.n_steps = 0
        # The largest of the whole process so far, as of the last step's end.
        self.peak_memory_bytes = 0

    @contextmanager
    def opened(self) -> Iterator[Session]:
        """Hold the run's lock and its tracking run."""
        with self.folder.lock():
            self.tracking = open_tracking(self.recipe, self.folder, self.display)
            with self.tracking.opened():
                settings = {name: asdict(getattr(self.recipe, name)) for name in ("data", "splits", "model")}
                self.tracking.log_params(
                    self.tracking.run_id,
                    {
                        "seed": self.recipe.seed,
                        "stages": ",".join(self.recipe.stages),
                        "split_digest": split_digest(self.splits),
                        **{f"{table}.{key}": value for table, part in settings.items() for key, value in part.items()},
                    },
                )
                tuning = self.splits.for_tuning()
                for side in SIDES:
                    if getattr(tuning, side):
                        self.tracking.dataset(side, getattr(tuning, side), split_digest(self.splits))
                self.tracking.log_artifact(self.tracking.run_id, self.folder.path / "recipe.toml")
                self.tracking.log_artifact(self.tracking.run_id, self.folder.path / "splits.json")
                yield self

    @property
    def data_remarks(self) -> list[str]:
        """What there is to say of the rows and of how they were dealt, a sentence each."""
        return [*self.rows.remarks, *split_remarks(self.splits, self.recipe.splits)]

    def newest_bundle(self) -> Bundle:
        """The bundle of the last finished step."""
        return load(self.folder.bundle_path(self.folder.done_steps()[-1]))

    def comparison(self) -> Comparison:
        """The candidates to compare."""
        return comparison_of(self.recipe, self.folder, self.rows, self.splits)

    def ensure_untuned(self) -> None:
        """Step 0: the task as it stands in the recipe, scored on dev."""
        if self.folder.done_steps():
            return
        step = self.folder.unfinished_step() or self.folder.begin_step("untuned", {})
        with self._working(step) as tracker:
            tracker.progress(0, 2, "opening the model")
            engine = self.engines(Base(self.recipe.model.name))
            prompt = Prompt.for_task(self.task, engine.template, self.recipe.task.style)
            tracker.progress(1, 2, "scoring dev")
            bundle = Bundle(self.task, prompt, Base(self.recipe.model.name), Calibration())
            bundle = replace(bundle, report=self._dev_report(bundle))
            tracker.metrics({f"dev.{key}": value for key, value in bundle.report.items()})
            tracker.progress(2, 2, f"dev {bundle.report['accuracy']:.3f}")
            save(bundle, self.folder.bundle_path(step))

    def run_stage(self, name: str) -> None:
        """Run a stage on the newest bundle, continuing it where it was interrupted."""
        stage = self.recipe.stage(name)
        settings = settings_of(stage)
        step = self.folder.unfinished_step()
        if step is not None and step["settings"] != settings:
            self.display.say(f"{step['folder']}: the [{name}] table changed since it was interrupted; it begins again")
            self.folder.drop_from(step)
            step = None
        step = step or self.folder.begin_step(name, settings)
        before = self.newest_bundle()
        with self._working(step) as tracker:
            tracker.params(settings)
            folder = self.folder.path / step["folder"]
            context = StageContext(folder, tracker, self.engines, self.recipe.seed)
            bundle = stage.run(before, self.splits.for_tuning(), context)
            # Trainers hold themselves in cycles; without this their weights would stay until some later collection.
            gc.collect()
            if not _same_classifier(bundle, before) and bundle.report == before.report:
                bundle = replace(bundle, report=self._dev_report(bundle))
            numbers = {f"dev.{key}": value for key, value in bundle.report.items() if isinstance(value, (int, float))}
            tracker.metrics(numbers)
            save(bundle, self.folder.bundle_path(step))

    def finish_interrupted(self) -> None:
        """Finish the step that a kill left open."""
        step = self.folder.unfinished_step()
        if step is None or step["stage"] == "untuned":
            return
        self.display.say(f"continuing {self.folder.path / step['folder']}, which was interrupted")
        self.run_stage(step["stage"])

    def run_verb_stages(self, names: tuple[str, ...], force: bool) -> None:
        """Run stages unless they are done; with ``force`` again, dropping what was built on them."""
        for name in names:
            done = [step for step in self.folder.done_steps() if step["stage"] == name]
            if done and not force:
                where = self.folder.bundle_path(done[-1])
                self.display.say(f"{name} is done, its bundle is {where}; to do it again: --force (make … FORCE=1)")
                continue
            if done:
                self.display.say(f"dropping {', '.join(self.folder.drop_from(done[-1]))}")
            self.run_stage(name)

    def remaining_stages(self) -> list[str]:
        """The recipe's stages that are not done, in the recipe's order."""
        done = Counter(step["stage"] for step in self.folder.done_steps())
        left = []
        for name in self.recipe.stages:
            if done[name]:
                done[name] -= 1
            else:
                left.append(name)
        return left

    @contextmanager
    def _working(self, step: dict[str, Any]) -> Iterator[Any]:
        """Display, tracking and clock around a step; marks it done at the end."""
        clock_path = self.folder.path / step["folder"] / "clock.json"
        number = self.folder.steps.index(step) + 1
        with self.display.step(step["stage"], number, self.n_steps), self.tracking.stage(step) as tracker:
            # A step's peak is its own where the system can tell: not that of the steps before it in this process.
            self.peak_memory_bytes = max(self.peak_memory_bytes, peak_memory_bytes())
            forget_peak_memory()
            with Clock(clock_path) as clock, Load(before_s=0) as load:
                yield tracker
            step["seconds"] = round(clock.seconds, 2)
            step["others_busy_cores"] = load.others_busy_cores
            step["peak_memory_bytes"] = peak_memory_bytes()
            self.peak_memory_bytes = max(self.peak_memory_bytes, step["peak_memory_bytes"])
            tracker.metrics({"seconds": step["seconds"], "peak_memory_bytes": step["peak_memory_bytes"]})
            step["done"] = True
            self.folder.save()

    def _dev_report(self, bundle: Bundle) -> dict[str, float]:
        names = self.task.names
        texts = [row.text for row in self.splits.dev]
        gold = np.array([names.index(row.label) for row in self.splits.dev])
        return evaluate(probabilities(bundle, self.engines(bundle.weights), texts), gold, names)


def open_tracking(recipe: Recipe, folder: RunFolder, display: Display) -> Tracking:
    """The run's tracking. MLflow takes seconds to import: only once there is work to record."""
    from workbench.tracking.recorder import Tracking

    return Tracking(recipe, folder, display)


def choose_run(recipe: Recipe, verb: str, run: str, rows: Rows, display: Display) -> RunFolder:
    """The run a verb works on: the one asked for, the newest, or a new one.

    ``demo`` continues the newest run if it is unfinished, ``optimize`` if its first step is; otherwise they begin a new
    one. The other verbs continue the newest.

    Raises
    ------
    RecipeError
        The run asked for does not exist, or a table that a run keeps from its beginning was changed.
    """
    parent = RUNS / recipe.name
    if run:
        folder = find_run(parent, run)
        changed = changed_tables(recipe, folder)
        if changed:
            raise RecipeError(_changed_message(recipe, folder, changed))
        return folder
    known = runs_of(parent)
    newest = RunFolder(known[-1]) if known else None
    if newest is not None:
        unfinished = {
            "demo": not newest.state.get("finished"),
            "optimize": not any(step["stage"] != "untuned" and step["done"] for step in newest.steps)
            and all(step["stage"] in ("untuned", *VERB_STAGES["optimize"]) for step in newest.steps),
        }.get(verb, True)
        changed = changed_tables(recipe, newest)
        if unfinished and not changed:
            if newest.steps:
                display.say(f"continuing run {newest.path}")
            return newest
        if unfinished and verb not in ("demo", "optimize"):
            raise RecipeError(_changed_message(recipe, newest, changed))
        if unfinished:
            display.say(
                f"{recipe.path}: {_tables(changed)} changed since run {newest.path.name} began; a new run begins"
            )
    elif verb not in ("demo", "optimize"):
        display.say(f"no run of {recipe.name} yet: beginning one from the untuned model")
    return new_run(recipe, rows, display)


def new_run(recipe: Recipe, rows: Rows, display: Display) -> RunFolder:
    """Make a run folder with its splits."""
    splits = make_splits(rows, recipe.splits, recipe.seed)
    state = {"recipe": recipe.name, "fingerprints": recipe.fingerprints(), "begun_with": " ".join(sys.argv[1:])}
    folder = RunFolder.create(
        RUNS / recipe.name,
        recipe.path.read_text(encoding="utf-8"),
        splits_document(splits),
        state,
    )
    sizes = ", ".join(f"{side} {len(getattr(splits, side))}" for side in SIDES)
    display.say(f"run {folder.path}: {sizes} rows")
    for remark in [*rows.remarks, *split_remarks(splits, recipe.splits)]:
        display.say(f"  {remark}")
    return folder


def open_comparison(recipe_path: Path, run: Path) -> Comparison:
    """The comparison of a run, for a process that works on one candidate of it."""
    recipe = read_recipe(recipe_path)
    rows = read_rows(recipe)
    folder = RunFolder(run)
    return comparison_of(recipe, folder, rows, read_splits(folder.path / "splits.json", rows))


def comparison_of(recipe: Recipe, folder: RunFolder, rows: Sequence[Example], splits: Splits) -> Comparison:
    """The candidates of a recipe over a run's rows; what they leave is kept beside the recipe's runs."""
    return Comparison(recipe, task_of(recipe, rows), folder, rows, splits, RUNS / recipe.name / CANDIDATES)


def changed_tables(recipe: Recipe, folder: RunFolder) -> list[str]:
    """Tables that a run keeps from its beginning and that the recipe now says otherwise."""
    began: Mapping[str, str] = folder.state["fingerprints"]
    return [name for name, value in recipe.fingerprints().items() if began.get(name) != value]


def read_rows(recipe: Recipe) -> Rows:
    """The recipe's rows, checked against its labels, before anything heavy is imported."""
    names = [label.name for label in recipe.task.labels] or None
    rows = load_rows(recipe.data, names, recipe.seed)
    check_rewards(recipe, task_of(recipe, rows))
    return rows


def task_of(recipe: Recipe, rows: Sequence[Example]) -> Task:
    """The recipe's task over these rows."""
    return recipe.task_for(tuple({row.label for row in rows}), max_choices(rows))


def _same_classifier(one: Bundle, other: Bundle) -> bool:
    return (one.prompt, one.weights, one.calibration) == (other.prompt, other.weights, other.calibration)


def _tables(names: list[str]) -> str:
    return ", ".join("seed" if name == "seed" else f"[{name}]" for name in names)


def _changed_message(recipe: Recipe, folder: RunFolder, changed: list[str]) -> str:
    return (
        f"{recipe.path}: {_tables(changed)} changed since run {folder.path.name} began; "
        f"put it back, or begin a new run with `make optimize` or `make demo`"
    )
