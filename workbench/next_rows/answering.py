"""Who answers the pool: what ships of the newest run, or, where nothing is there, a light classifier trained now."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import baselines
from labelwright.bundle.store import load
from labelwright.bundle.types import Bundle
from labelwright.data.task import group_keys, words_and_labels
from labelwright.decisions.decision import LIKELIEST, Decision
from labelwright.engines.protocol import Engine
from labelwright.errors import BundleError, DataError, MissingExtraError, ModelError
from labelwright.labelling import score_rows
from workbench.export import exported
from workbench.recipe.recipe import Recipe
from workbench.recipe.rows import Rows, make_splits, task_of
from workbench.report.report import read_report
from workbench.run.engines import Engines
from workbench.run.folder import CANDIDATES, RUNS, RunFolder

# Trained where nothing is there yet: the first that can be.
LIGHT = ("minilm-logreg", "sgd-chars")
_CHUNK_ROWS = 64


@dataclass(frozen=True)
class Answerer:
    """A classifier over the task's labels.

    Attributes
    ----------
    name : str
        What it is and where it comes from, in a few words.
    probabilities : callable
        From texts to probabilities, (n_texts, n_labels), labels in the task's order; zeros for a text without answer.
    decision : Decision
        What they become.
    """

    name: str
    labels: tuple[str, ...]
    probabilities: Callable[[Sequence[str]], NDArray[np.float64]]
    decision: Decision = LIKELIEST

    def in_time(
        self, texts: Sequence[str], seconds: float, least: int, progress: Callable[[int], None]
    ) -> NDArray[np.float64]:
        """Probabilities of as many of the first texts as there is time for, but ``least`` at least."""
        begun, found = time.monotonic(), []
        for start in range(0, len(texts), _CHUNK_ROWS):
            if start >= least and time.monotonic() - begun > seconds:
                break
            found.append(self.probabilities(texts[start : start + _CHUNK_ROWS]))
            progress(start + len(found[-1]))
        return np.vstack(found)


def best_there_is(recipe: Recipe, folder: RunFolder | None, rows: Rows) -> Answerer:
    """What answers best as far as anybody knows: what was exported, else what the comparison says to ship, else the
    newest step that was tuned, else a light classifier, trained on the train rows now.

    A bundle of other labels than the recipe's, of a time before they changed, is passed over.
    """
    names = task_of(recipe, rows).names
    for what, path in _bundles(recipe, folder):
        with suppress(BundleError):
            bundle = load(path)
            if bundle.task.names == names:
                engine = Engines(recipe.model.settings)(bundle.weights)
                return Answerer(f"{what} ({path})", names, partial(_scored, bundle, engine), bundle.decision)
    return _trained_now(recipe, rows)


def _bundles(recipe: Recipe, folder: RunFolder | None) -> list[tuple[str, Path]]:
    if folder is None:
        return []
    found = [("the exported bundle", folder.path / "bundle")] if exported(folder) else []
    report = None
    with suppress(DataError):  # a report of another version says nothing, and the rest may
        report = read_report(folder)
    if report and report.verdict.ship:
        ship = report.verdict.ship
        key = folder.state["compare"]["candidates"].get(ship, "")
        found.append((f"{ship}, which the comparison says to ship", RUNS / recipe.name / CANDIDATES / ship / key))
    done = folder.done_steps()
    if any(step["stage"] != "untuned" for step in done):
        found.append((f"step {done[-1]['folder']}", folder.bundle_path(done[-1])))
    return [(what, path) for what, path in found if (path / "bundle.json").is_file()]


def _scored(bundle: Bundle, engine: Engine, texts: Sequence[str]) -> NDArray[np.float64]:
    """Rows that an engine refuses (too long, say) are rows without an answer."""
    found, silent = score_rows(bundle, engine, texts), np.zeros(len(bundle.task.names))
    return np.stack([one if isinstance(one, np.ndarray) else silent for one in found])


def _trained_now(recipe: Recipe, rows: Rows) -> Answerer:
    task = task_of(recipe, rows)
    train = make_splits(rows, recipe.splits, recipe.seed).for_tuning().train
    texts, labels = words_and_labels(train)
    *others, last = LIGHT
    for name in (*others, last):
        estimator = baselines.make(name, task, recipe.seed)
        try:
            estimator.fit(texts, labels, groups=group_keys(train))
            break
        except (MissingExtraError, ModelError):
            if name == last:
                raise
    columns = [task.names.index(str(label)) for label in estimator.classes_]

    def probabilities(texts: Sequence[str]) -> NDArray[np.float64]:
        probs = np.zeros((len(texts), len(task.names)))
        probs[:, columns] = estimator.predict_proba(list(texts))
        return probs

    told = f"{name}, trained just now on {len(train)} train rows"
    return Answerer(told, task.names, probabilities, Decision.of(task.costs, task.names))
