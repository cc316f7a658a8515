"""The one loop behind every tuning: stages over a parent, each step kept in a folder named after all that made it.

A step is one stage, run on the bundle that the step before it left. Its folder is named after a hash of that step, the
stage and its settings, the rows it may see, the seed, the model and its content, and the code that runs it. Whoever
asks for the same step gets the same folder: a run, the comparison, the next run. So ``sft`` is trained once for ``sft``
and for ``sft+grpo``, and ``make optimize`` after ``make compare`` finds the work done.

A step's folder holds ``step.json`` (what it is, written first), ``work`` (the stage's own state, from which a killed
stage goes on), ``curves.jsonl``, ``bundle``, and ``done.json``, which comes last and makes it count.
"""

from __future__ import annotations

import json
import os
import platform
import secrets
import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from labelwright.bundle.store import load, save
from labelwright.bundle.types import Bundle
from labelwright.data.task import Splits, Task
from labelwright.decide import log_scores
from labelwright.engines.settings import BACKENDS, EngineSettings
from labelwright.files import folder_digest, read_json, short_hash, write_json, write_text
from labelwright.models.gpus import VISIBLE
from labelwright.models.weights import Base
from labelwright.prompt import Prompt, Style
from labelwright.statistics.calibration import Calibration
from labelwright.statistics.metrics import evaluate
from optimizers.kept import KeptScores
from optimizers.scores import gold_of
from optimizers.stage import SoftLabels, Stage, StageContext, Tracker
from workbench.recipe.splits import split_digest
from workbench.run.engines import Engines, let_go
from workbench.run.folder import ANSWERS, SCORES, Clock, locked
from workbench.run.identity import code_version, content_of, settings_content
from workbench.run.usage import Load, forget_peak_memory, most, peak_memory_bytes


@dataclass(frozen=True)
class Untuned:
    """No tuning: the task as the recipe words it, scored on dev so that what follows can be held against it."""

    name: ClassVar[str] = "untuned"

    def run(self, bundle: Bundle, splits: Splits, context: StageContext) -> Bundle:
        """The bundle as it is; its dev scores are the loop's work, as after every stage."""
        context.tracker.progress(0, 1, "scoring dev")
        return bundle


@dataclass(frozen=True)
class Asked:
    """What a pipeline is run on.

    Attributes
    ----------
    splits : Splits
        Its test side is never looked at: stages get ``for_tuning()``.
    seed : int
        What every stage draws from.
    style : {"name", "code", "letter"}
        How the model answers.
    taught_by : str
        Of a student: a hash of all that its teacher's answers depend on; they are known to be needed before they are
        there.
    soft : SoftLabels, optional
        Those answers; needed where a stage is run that learns them.
    """

    splits: Splits
    seed: int
    style: Style
    taught_by: str = ""
    soft: SoftLabels | None = None

    @cached_property
    def rows(self) -> str:
        """A digest of the rows that stages see."""
        return split_digest(self.splits.for_tuning())


class Cost(NamedTuple):
    """What a step took: seconds of all attempts, bytes at most, cores that others kept busy (``usage.Load``)."""

    seconds: float
    peak_memory_bytes: int
    others_busy_cores: float | None


@dataclass(frozen=True)
class Step:
    """A stage in its place, and the folder where it is kept.

    Attributes
    ----------
    name : str
        The stages so far, joined by "+": "sft+grpo".
    parent : str
        The folder's name of the step before; empty for the first.
    """

    name: str
    stage: Stage
    folder: Path
    parent: str

    @property
    def key(self) -> str:
        """The folder's name, which is unique: stage and hash."""
        return self.folder.name

    @property
    def bundle(self) -> Path:
        """Where its bundle lies once it is done."""
        return self.folder / "bundle"

    @property
    def curves(self) -> Path:
        """The numbers it reported by step."""
        return self.folder / "curves.jsonl"

    @property
    def is_done(self) -> bool:
        """Whether it was run to its end."""
        return self._done.is_file()

    @property
    def cost(self) -> Cost:
        """What it took; only of a step that is done."""
        known = read_json(self._done)
        return Cost(known["seconds"], known["peak_memory_bytes"], known["others_busy_cores"])

    @property
    def left(self) -> str:
        """A digest of the bundle that it left: run again, a stage that asks a hosted model may leave another."""
        return str(read_json(self._done)["bundle"]) if self.is_done else ""

    @property
    def _done(self) -> Path:
        return self.folder / "done.json"


class Tuned(NamedTuple):
    """What a pipeline left: the last step's bundle, and the steps in order (none for the untuned model)."""

    bundle: Bundle
    steps: tuple[Step, ...]

    @property
    def seconds(self) -> float:
        """Of all steps, in whatever process they ran."""
        return sum(step.cost.seconds for step in self.steps)

    @property
    def others_busy_cores(self) -> float | None:
        """The most of any step."""
        return most(step.cost.others_busy_cores for step in self.steps)


# Who records and shows a step while it runs.
Open = Callable[[Step], AbstractContextManager[Tracker]]


class Steps:
    """All steps of one task over one model.

    Parameters
    ----------
    root : Path
        Where they are kept, one folder each.
    model : str
        The base model's name, as ``labelwright.models`` knows it.
    engines : Engines
        Weights to an open engine.

    Attributes
    ----------
    peak_memory_bytes : int
        The largest resident size of this process so far. Each step begins to count anew.
    """

    def __init__(self, root: Path, task: Task, model: str, settings: EngineSettings, engines: Engines) -> None:
        self.root = root
        self._task = task
        self._model = model
        self._settings = settings
        self._engines = engines
        self.peak_memory_bytes = 0
        self._codes: dict[str, str] = {}
        self._engine = ""

    def plan(self, stages: Sequence[Stage], asked: Asked) -> tuple[Step, ...]:
        """The steps of a pipeline, done or not. Nothing is run and no model is loaded."""
        steps: list[Step] = []
        parent = self.base(asked.style)
        for stage in stages:
            # Keys are a chain: one that holds its parent's holds all that the parent was made of. A digest of the
            # parent's bundle would say as much, and only once it is there; what is left to do must be known before.
            made_of = [parent, stage.name, settings_of(stage), settings_content(asdict(stage)), asked.rows, asked.seed]  # type: ignore[call-overload]
            made_of += [asked.taught_by] if asked.taught_by and learns_soft(stage) else []
            key = f"{stage.name}-{short_hash([*made_of, self._code(stage)])}"
            name = "+".join([*(step.stage.name for step in steps), stage.name])
            steps.append(Step(name, stage, self.root / key, steps[-1].key if steps else ""))
            parent = key
        return tuple(steps)

    def base(self, style: Style) -> str:
        """A hash of what every pipeline begins with: task, model with its content, how it runs, how it answers."""
        content = content_of(self._model, self._settings.backend == "transformers")
        return short_hash([asdict(self._task), self._model, asdict(self._settings), content, style])

    def scores(self, asker: str = "") -> KeptScores | None:
        """Scores of rows under any of the bundles, kept beside the steps for all who ask.

        None where another process answers: what it has today nobody knows here, so it is asked again.
        """
        if BACKENDS[self._settings.backend].is_elsewhere:
            return None
        if not self._engine:
            files = content_of(self._model, self._settings.backend == "transformers")
            code = code_version(("labelwright.decide", BACKENDS[self._settings.backend].module))
            # What "auto" comes to, and the last digits, are the machine's.
            machine = [platform.node(), platform.machine(), os.environ.get(VISIBLE, "")]
            self._engine = short_hash([asdict(self._settings), files, code, machine])
        return KeptScores(self.root.with_name(SCORES), self._engine, asker, watch=lambda: Load(before_s=0))

    def run(self, stages: Sequence[Stage], asked: Asked, opened: Open) -> Tuned:
        """Run what is left of a pipeline; steps that are done are taken as they are.

        Parameters
        ----------
        opened : callable
            A step to the context in which it is run, whose tracker the stage reports to. Not called for done steps.

        Raises
        ------
        RunBusyError
            Another process works on one of the steps.
        """
        steps, bundle = self.plan(stages, asked), None
        for step in steps:
            if not step.is_done:
                self._run(step, bundle or self._untuned(asked.style), asked, opened)
            bundle = load(step.bundle)
        return Tuned(bundle or self._untuned(asked.style), steps)

    def drop(self, step: Step) -> None:
        """Put a step aside with all that was built on it, so that it is run again.

        What is put aside lies under ``dropped`` beside the steps until it was run again: a kill in between costs the
        other runs that link to it no more than a name.

        Raises
        ------
        RunBusyError
            A process works on one of them; then nothing is dropped.
        """
        # What was built on it keeps its key when the step is run again and may leave another bundle: it has to go, too.
        known = [(path.parent, read_json(path)["parent"]) for path in self.root.glob("*/step.json")]
        folders = [step.folder] if step.folder.is_dir() else []
        names = {step.key}
        while found := [folder for folder, parent in known if parent in names and folder.name not in names]:
            folders += found
            names |= {folder.name for folder in found}
        with ExitStack() as held:
            for folder in folders:
                held.enter_context(locked(folder))
            for folder in reversed(folders):
                aside = self._aside(folder.name)
                shutil.rmtree(aside, ignore_errors=True)
                aside.parent.mkdir(exist_ok=True)
                folder.rename(aside)

    def _aside(self, key: str) -> Path:
        return self.root.with_name("dropped") / key

    def _run(self, step: Step, before: Bundle, asked: Asked, opened: Open) -> None:
        step.folder.mkdir(parents=True, exist_ok=True)
        with locked(step.folder):
            # Another process may have done it while this one waited or loaded the model.
            if not step.is_done:
                self._run_held(step, before, asked, opened)

    def _run_held(self, step: Step, before: Bundle, asked: Asked, opened: Open) -> None:
        with opened(step) as tracker:
            self.peak_memory_bytes = max(self.peak_memory_bytes, peak_memory_bytes())
            # A step's peak is its own where the system can tell: not that of the steps before it in this process.
            forget_peak_memory()
            settings = settings_of(step.stage)
            made_of = {"name": step.name, "stage": step.stage.name, "settings": settings, "parent": step.parent}
            write_json(step.folder / "step.json", {**made_of, "seed": asked.seed, "rows": asked.rows})
            with Clock(step.folder / "clock.json") as clock, Load(before_s=0) as load:
                tracker.params(settings)
                work = step.folder / "work"
                work.mkdir(exist_ok=True)
                kept = self.scores(_attempt(step))
                answers = self.root.with_name(ANSWERS)
                context = StageContext(work, tracker, self._engines, asked.seed, self._engines.close, kept, answers)
                if learns_soft(step.stage):
                    assert bool(asked.taught_by) == (asked.soft is not None), "a student without its teacher's answers"
                    context = replace(context, soft=asked.soft)
                bundle = step.stage.run(before, asked.splits.for_tuning(), context)
                let_go()
                # A stage that looked at dev itself has said so in the report; the others are scored here, all alike.
                if not bundle.report or (not _same_classifier(bundle, before) and bundle.report == before.report):
                    # Asked as it is saved, with its weights as everybody will find them: saving rewrites their config.
                    bundle = save(bundle, step.bundle)
                    bundle = replace(bundle, report=self._dev_report(bundle, asked.splits, kept))
                numbers = {f"dev.{key}": one for key, one in bundle.report.items() if isinstance(one, (int, float))}
                tracker.metrics(numbers)
                save(bundle, step.bundle)
            # From here on a kill loses nothing but this file, and the stage finds its own end in ``work``.
            # What others had scored counts as if it had been scored here: a step costs the same in whatever order.
            seconds = round(clock.seconds + (kept.reused_s if kept else 0.0), 2)
            others = most([load.others_busy_cores, kept.reused_busy_cores if kept else None])
            cost = Cost(seconds, peak_memory_bytes(), others)
            self.peak_memory_bytes = max(self.peak_memory_bytes, cost.peak_memory_bytes)
            tracker.metrics({"seconds": cost.seconds, "peak_memory_bytes": cost.peak_memory_bytes})
            write_json(step.folder / "done.json", {**cost._asdict(), "bundle": folder_digest(step.bundle)})
            shutil.rmtree(self._aside(step.key), ignore_errors=True)

    def _untuned(self, style: Style) -> Bundle:
        weights = Base(self._model)
        prompt = Prompt.for_task(self._task, self._engines(weights).template, style)
        return Bundle(self._task, prompt, weights, Calibration())

    def _dev_report(self, bundle: Bundle, splits: Splits, kept: KeptScores | None) -> dict[str, float]:
        texts = [row.text for row in splits.dev]
        scores = (
            kept.of(bundle, splits.dev, self._engines)
            if kept is not None
            else log_scores(bundle, self._engines(bundle.weights), texts)
        )
        return evaluate(bundle.calibration.apply(scores), gold_of(bundle, splits.dev), self._task.names)

    def _code(self, stage: Stage) -> str:
        # Looked at once: code that is edited meanwhile is the next command's.
        module = type(stage).__module__
        if module not in self._codes:
            self._codes[module] = code_version((__name__, module, BACKENDS[self._settings.backend].module))
        return self._codes[module]


def learns_soft(stage: Stage | type) -> bool:
    """Whether a stage learns a teacher's probabilities."""
    return bool(getattr(stage, "learns_soft", False))


def settings_of(stage: Stage) -> dict[str, Any]:
    """A stage's settings as JSON holds them."""
    settings: dict[str, Any] = json.loads(json.dumps(asdict(stage), default=str))  # type: ignore[call-overload]
    return settings


def _attempt(step: Step) -> str:
    """Who works on a step, by a name that outlives a kill and not the step: dropped and run again, it is another."""
    path = step.folder / "work" / "attempt.txt"
    if not path.is_file():
        write_text(path, secrets.token_hex(8))
    return path.read_text(encoding="utf-8")


def _same_classifier(one: Bundle, other: Bundle) -> bool:
    return (one.prompt, one.weights, one.calibration) == (other.prompt, other.weights, other.calibration)
