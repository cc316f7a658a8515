"""`python -m bench.held_out.pipelines`: what stages are worth one behind another, on rows that took no part.

Every seed holds out a fifth of the rows of train and dev, whole families, and deals the others to train and dev. Every
pipeline of the recipe's stages, with the recipe's settings, is run on these as `make compare` would, step by step: a
step that pipelines begin with in common is done once. What the last one leaves answers the rows held out, calibrated by
the recipe's ``[calibrate]`` on dev. Differences are paired by row, their intervals are of families; every pipeline is
held against every one before it. Nothing is chosen on the rows held out, and no row of test is read.

Steps are kept beside the runs of the recipe, and what each pipeline answered is appended to a file as it ends: a
command that was killed goes on where it was.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from bench.training.arms.run import with_dev
from bench.training.arms.trainers import Silent
from bench.training.differences import joined, named, pairs, with_interval
from bench.training.kept import keep, read_kept
from labelwright.data.task import Example, group_keys
from labelwright.decide import log_scores
from labelwright.errors import LabelwrightError, RecipeError
from labelwright.files import short_hash
from labelwright.statistics.metrics import Floats
from optimizers.scores import gold_of
from optimizers.stage import Stage, Tracker
from workbench.progress import duration, silence_libraries
from workbench.recipe.read import read_recipe
from workbench.recipe.recipe import Recipe
from workbench.recipe.rows import make_splits, read_rows, task_of
from workbench.recipe.stages import pipeline_fault, read_pipeline
from workbench.run.engines import Engines
from workbench.run.folder import RUNS
from workbench.run.identity import code_version
from workbench.run.steps import Asked, Step, Steps, settings_of

PIPELINES = ("sft", "sft+grpo", "sft+gepa+grpo")
DEV_FOLDS = 4
# By its name, not by __name__, which is "__main__" here.
_MODULE = "bench.held_out.pipelines"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is missing, and print the tables; 0, or 2 where the recipe, its rows or a pipeline are at fault."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.held_out.pipelines", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("recipe", type=Path, nargs="?", default=Path("runs/homeowner.toml"), help="(%(default)s)")
    parser.add_argument("--seeds", type=int, default=5, help="(default: %(default)s)")
    parser.add_argument("--pipelines", nargs="+", default=PIPELINES, help="stages joined by + (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="where answers are kept (default: pipelines.jsonl beside the runs)")
    given = parser.parse_args(arguments)
    if given.seeds < 1:
        parser.error(f"--seeds {given.seeds}: expected at least 1")
    silence_libraries()
    try:
        recipe = read_recipe(given.recipe)
        out = given.out or RUNS / recipe.name / "pipelines.jsonl"
        print("\n".join(tables(Bench(recipe, out).all_of(given.pipelines, given.seeds))))
    except LabelwrightError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


class Bench:
    """A recipe's rows and steps.

    Parameters
    ----------
    out : Path
        Where answers are kept, a line a pipeline and seed.
    """

    def __init__(self, recipe: Recipe, out: Path) -> None:
        rows = read_rows(recipe)
        seen = make_splits(rows, recipe.splits, recipe.seed).for_tuning()
        self.recipe, self.task, self.out = recipe, task_of(recipe, rows), out
        self.rows = (*seen.train, *seen.dev)
        self.engines = Engines(recipe.model.settings)
        # A folder of its own: these steps are no part of any run of the recipe.
        folder = RUNS / recipe.name / "held-out" / "steps"
        self.steps = Steps(folder, self.task, recipe.model.name, recipe.model.settings, self.engines)

    def all_of(self, pipelines: Sequence[str], n_seeds: int) -> list[dict[str, Any]]:
        """What every pipeline answered, seed by seed, from the file where it is there already."""
        if faults := [fault for name in pipelines if (fault := pipeline_fault(name) or _fault(name))]:
            raise RecipeError("--pipelines: " + "; ".join(faults))
        kept, found = read_kept(self.out), list[dict[str, Any]]()
        # Calibration is no step, so that its settings and code are in no step's key.
        how = [settings_of(self.recipe.stage("calibrate")), code_version((_MODULE, "optimizers.calibrate"))]
        for seed in range(n_seeds):
            splits, held_out = with_dev(self.rows, self.task, seed, DEV_FOLDS)
            for name in pipelines:
                asked = Asked(splits, seed, read_pipeline(name).style or self.recipe.task.style)
                plan = self.steps.plan(self._stages(name), asked)
                last = plan[-1].key if plan else self.steps.base(asked.style)
                key = short_hash([last, [(row.id, row.text, row.label) for row in held_out], how])
                if key not in kept:
                    kept[key] = {"key": key, **self.measured(name, asked, held_out)}
                    keep(self.out, kept[key])
                found.append({**kept[key], "pipeline": name, "seed": seed})
        return found

    def _stages(self, name: str) -> list[Stage]:
        return [self.recipe.stage(stage) for stage in read_pipeline(name).stages]

    def measured(self, name: str, asked: Asked, held_out: Sequence[Example]) -> dict[str, Any]:
        """Of every row held out its family, whether the answer is right, and its log loss."""
        begun = time.monotonic()

        @contextmanager
        def opened(step: Step) -> Iterator[Tracker]:
            print(f"seed {asked.seed}: {step.name}", file=sys.stderr, flush=True)
            yield Silent()

        bundle = self.steps.run(self._stages(name), asked, opened).bundle
        engine = self.engines(bundle.weights)

        def scores(rows: Sequence[Example]) -> Floats:
            return log_scores(bundle, engine, [row.text for row in rows])

        dev, stage = asked.splits.dev, self.recipe.stage("calibrate")
        fitted = stage.calibrated(bundle, dev, lambda _: scores(dev), asked.seed).bundle.calibration
        probs, gold = fitted.apply(scores(held_out)), gold_of(bundle, held_out)
        print(f"seed {asked.seed}: {name}, {duration(time.monotonic() - begun)}", file=sys.stderr, flush=True)
        return {
            "families": group_keys(held_out),
            "right": (probs.argmax(axis=1) == gold).tolist(),
            "log_loss": np.round(-np.log(probs[np.arange(len(gold)), gold]), 5).tolist(),
        }


def _fault(name: str) -> str:
    return f"{name!r} answers in free text, which has no probabilities: leave it out" * read_pipeline(name).free


def tables(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Markdown: every pipeline, and every one against every one before it."""
    of_pipelines = named(found, "pipeline")
    lines = ["| pipeline | accuracy % | log loss |", "|---|---|---|"]
    for name, runs in of_pipelines.items():
        families = joined(runs, "families").tolist()
        right = with_interval(100 * joined(runs, "right").astype(float), families, 1, sign="")
        lines.append(f"| {name} | {right} | {with_interval(joined(runs, 'log_loss'), families, 2, sign='')} |")
    n_seeds, n_rows = len(next(iter(of_pipelines.values()))), len(joined(next(iter(of_pipelines.values())), "right"))
    return [*lines, "", *pairs(of_pipelines), "", f"{n_seeds} seeds, {n_rows} rows held out in all; 95 % intervals."]


if __name__ == "__main__":
    sys.exit(main())
