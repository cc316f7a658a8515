"""What every measurement runs on: a recipe's untuned model, its prompt, and rows that tuning may see."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from labelwright.bundle.store import load
from labelwright.data.task import Example, Task
from labelwright.decide import render_rows
from labelwright.engines.transformers import TransformersEngine
from labelwright.models.weights import Base, Weights
from labelwright.prompt import Prompt, Rendered
from labelwright.statistics.calibration import UNCALIBRATED, Calibration
from workbench.recipe.read import read_recipe
from workbench.recipe.rows import make_splits, read_rows, task_of
from workbench.run.folder import RUNS, runs_of

SEED = 0


@dataclass(frozen=True)
class Setting:
    """One model, one prompt, some rows.

    Attributes
    ----------
    examples : tuple of Example
        Rows of train and dev, shuffled once; never of test.
    recipe : Path, optional
        Where they came from.
    dev : frozenset of str
        Ids of the examples that are dev's.
    calibration : Calibration
        A tuned bundle's own; an untuned model has none.
    """

    task: Task
    prompt: Prompt
    examples: tuple[Example, ...]
    weights: Weights
    engine: TransformersEngine
    recipe: Path | None = None
    dev: frozenset[str] = frozenset()
    calibration: Calibration = UNCALIBRATED

    def rendered(self, n_rows: int) -> list[Rendered]:
        """The first prompts, at most ``n_rows``."""
        return render_rows(self.prompt, [example.text for example in self.examples[:n_rows]])

    def on_dev(self) -> Setting:
        """The same on rows of dev alone, for tuned weights: of those that taught it a model is surer than of others."""
        return replace(self, examples=tuple(row for row in self.examples if row.id in self.dev))


def tuned_setting(setting: Setting) -> Setting | None:
    """The same rows under the recipe's newest exported bundle, prompt and weights; None before the first export."""
    if setting.recipe is None:
        return None
    runs = runs_of(RUNS / read_recipe(setting.recipe).name)
    exported = [run / "bundle" for run in runs if (run / "bundle" / "bundle.json").is_file()]
    if not exported:
        return None
    bundle = load(exported[-1])
    model = read_recipe(setting.recipe).model
    engine = TransformersEngine.open(bundle.weights, model.settings)
    return replace(
        setting,
        task=bundle.task,
        prompt=bundle.prompt,
        weights=bundle.weights,
        engine=engine,
        calibration=bundle.calibration,
    )


def open_setting(path: Path) -> Setting:
    """Read a recipe and open its untuned model in this process."""
    recipe = read_recipe(path)
    rows = read_rows(recipe)
    splits = make_splits(rows, recipe.splits, recipe.seed).for_tuning()
    examples = [*splits.train, *splits.dev]
    order = np.random.default_rng(SEED).permutation(len(examples))
    task = task_of(recipe, rows)
    weights = Base(recipe.model.name)
    engine = TransformersEngine.open(weights, recipe.model.settings)
    prompt = Prompt.for_task(task, engine.template, recipe.task.style)
    dev = frozenset(row.id for row in splits.dev)
    return Setting(task, prompt, tuple(examples[i] for i in order), weights, engine, path, dev)
