"""Tunings of the model that the comparison asks for beside the run's own steps: stages one after another, each kept.

Every step lies in a folder named after a hash of all that made it, so that ``sft`` is trained once for ``sft`` and for
``sft+grpo``, and a killed stage goes on where it was.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from labelwright.bundle.store import load, save
from labelwright.bundle.types import Bundle
from labelwright.data.task import Splits, Task
from labelwright.files import read_json, short_hash, write_json
from labelwright.models.weights import Base
from labelwright.prompt import Prompt
from labelwright.statistics.calibration import Calibration
from optimizers.stage import StageContext
from workbench.recipe.recipe import Chain, Recipe
from workbench.recipe.rows import split_digest
from workbench.run.engines import Engines
from workbench.run.folder import Clock, append_curve
from workbench.run.identity import content_of, settings_content, step_code
from workbench.run.measure import Load, most

Progress = Callable[[int, int, str], None]


class Tuned(NamedTuple):
    """A bundle at the end of a chain.

    ``folders`` are the steps' in order, for their curves; none for the untuned model. ``others_busy_cores`` is the most
    of any step, see ``workbench.run.measure.Load``.
    """

    bundle: Bundle
    seconds: float
    folders: tuple[Path, ...]
    others_busy_cores: float | None = None


def tune(
    chain: Chain, recipe: Recipe, task: Task, splits: Splits, seed: int, engines: Engines, root: Path, say: Progress
) -> Tuned:
    """Run a chain's stages from the untuned model, or take from ``root`` what was run before.

    Parameters
    ----------
    splits : Splits
        Stages get ``for_tuning()`` of it.
    root : Path
        Where steps are kept, one folder each.
    """
    weights = Base(recipe.model.name)
    engine = engines(weights)
    prompt = Prompt.for_task(task, engine.template, chain.style or recipe.task.style)
    bundle = Bundle(task, prompt, weights, Calibration())
    seconds, folders, loads = 0.0, [], []
    for number, name in enumerate(chain.stages):
        stage = recipe.stage(name)
        key = step_key(Chain(chain.stages[: number + 1], chain.style), recipe, task, splits, seed)
        folder = root / f"{name}-{key}"
        if not (folder / "done.json").is_file():
            folder.mkdir(parents=True, exist_ok=True)
            tracker = FileTracker(folder, name, say)
            with Clock(folder / "clock.json") as clock, Load(before_s=0) as load_of_others:
                work = folder / "work"
                work.mkdir(exist_ok=True)
                tracker.params(json.loads(json.dumps(asdict(stage), default=str)))
                tuned = stage.run(bundle, splits.for_tuning(), StageContext(work, tracker, engines, seed))
                # Trainers hold themselves in cycles; without this their weights would stay until a later collection.
                gc.collect()
                save(tuned, folder / "bundle")
            about = {"seconds": round(clock.seconds, 2), "others_busy_cores": load_of_others.others_busy_cores}
            write_json(folder / "done.json", about)
        bundle = load(folder / "bundle")
        done = read_json(folder / "done.json")
        seconds += done["seconds"]
        loads.append(done.get("others_busy_cores"))
        folders.append(folder)
    return Tuned(bundle, seconds, tuple(folders), most(loads))


def step_key(chain: Chain, recipe: Recipe, task: Task, splits: Splits, seed: int) -> str:
    """A hash of what a chain's last step is made of: rows, task, model and its content, style, seed, settings, code."""
    tuning = splits.for_tuning()
    settings: list[tuple[str, dict[str, Any]]] = [(name, asdict(recipe.stage(name))) for name in chain.stages]
    base = content_of(recipe.model.name, recipe.model.backend == "transformers")
    models = [base, *(settings_content(values) for _, values in settings)]
    style = chain.style or recipe.task.style
    about = [asdict(task), asdict(recipe.model), models, style, seed, settings, split_digest(tuning)]
    return short_hash([about, step_code(chain.stages, recipe.model.backend)])


class FileTracker:
    """An ``optimizers.stage.Tracker`` that writes into a step's folder, for who records it later."""

    def __init__(self, folder: Path, stage: str, say: Progress) -> None:
        self._folder = folder
        self._stage = stage
        self._say = say

    def params(self, values: Mapping[str, Any]) -> None:
        """Keep the settings."""
        write_json(self._folder / "params.json", {str(key): value for key, value in values.items()} | self._params())

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Keep curves; numbers without a step are in the bundle's history."""
        if step is not None:
            append_curve(self._folder / "curves.jsonl", step, values)

    def artifact(self, path: Path) -> None:
        """It stays where the stage wrote it."""

    def prompt(self, role: str, text: str) -> None:
        """Keep the text."""
        (self._folder / f"prompt-{role}.txt").write_text(text, encoding="utf-8")

    def progress(self, done: int, total: int, message: str = "") -> None:
        """Pass it on."""
        self._say(done, total, f"{self._stage} {done}/{total}" + (f", {message}" if message else ""))

    def _params(self) -> dict[str, Any]:
        path = self._folder / "params.json"
        return read_json(path) if path.is_file() else {}
