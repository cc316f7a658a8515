"""One trial: a baseline with other settings learns train, is calibrated on calib and answers dev. Test is not read."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import baselines
from labelwright.data.task import group_keys
from labelwright.errors import LabelwrightError
from labelwright.files import short_hash
from labelwright.statistics.intervals import Interval
from labelwright.statistics.metrics import log_loss
from labelwright.statistics.proportions import share_interval
from workbench.compare import measure
from workbench.compare.jobs import Comparison, Job, measured_code
from workbench.compare.searched.found import Trial, write_trial
from workbench.run.identity import settings_content
from workbench.run.steps import settings_of

# What the system refused at the moment is no fact about the settings.
_OF_THE_MOMENT = (OSError, MemoryError)


def trial_place(comparison: Comparison, name: str, settings: Mapping[str, Any]) -> Path:
    """Where a trial of a searched candidate is kept: named after a hash of all that it depends on."""
    plain, job = comparison.searched[name], comparison.jobs(name)[0]
    whole = {**comparison.baseline_settings(plain), **settings}
    models: list[str] = []
    try:
        estimator = baselines.make(plain, comparison.task, 0, whole)
        models = settings_content(estimator.get_params(deep=False))
    except Exception:  # one that cannot be made says so itself, in its own process
        models = settings_content(whole)
    made_of = [
        [plain, job.seed, job.split_seed],
        comparison.rows_digest(job),
        comparison.task.name,
        list(comparison.task.names),
        settings_of(comparison.calibration()),
        comparison.recipe.model.long_rows,
        whole,
        models,
        measured_code(comparison.family(plain)),
    ]
    return comparison.root / name / "trials" / f"{short_hash(made_of)}.json"


def run_trial(comparison: Comparison, job: Job, settings: Mapping[str, Any]) -> None:
    """Try settings of a searched candidate and keep what they reach on dev; or that they cannot be had, and why.

    Raises
    ------
    OSError, MemoryError
        What says nothing of the settings: nothing is kept then.
    """
    place = trial_place(comparison, job.candidate, settings)
    begun = time.monotonic()
    try:
        trial = _tried(comparison, job, settings, begun)
    except Exception as error:
        behind: BaseException | None = error
        while behind is not None:
            if isinstance(behind, _OF_THE_MOMENT):
                raise
            behind = behind.__cause__ or behind.__context__
        first = (str(error).strip() or "no message").splitlines()[0]
        said = first if isinstance(error, LabelwrightError) else f"{type(error).__name__}: {first}"
        trial = Trial(dict(settings), seconds=time.monotonic() - begun, failed=said)
    write_trial(place, trial)


def _tried(comparison: Comparison, job: Job, settings: Mapping[str, Any], begun: float) -> Trial:
    plain, splits = comparison.searched[job.candidate], comparison.splits_of(job)
    whole = {**comparison.baseline_settings(plain), **settings}
    asked = measure.BaselineJob(plain, comparison.task, whole, job.seed, comparison.recipe.model.long_rows)
    with tempfile.TemporaryDirectory() as scratch:
        trained = measure.train_baseline(asked, splits, Path(scratch))
        stage = comparison.calibration()
        final, _, _ = measure.calibrated(trained, stage, splits.calib, comparison.recipe.seed)
        probs = final.bundle.calibration.apply(final.log_scores(splits.dev))
    gold = np.array([comparison.task.index(str(row.label)) for row in splits.dev], dtype=np.int64)
    right = final.bundle.decision.read(probs, gold)
    share = share_interval(right.answer == gold, group_keys(splits.dev))
    seconds = time.monotonic() - begun
    return Trial(dict(settings), Interval(*share), float(log_loss(right, gold)), seconds)
