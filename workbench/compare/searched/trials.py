"""One trial: a baseline with other settings learns train, is calibrated on calib and answers dev. Test is not read."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import baselines
from labelwright.errors import MissingExtraError
from labelwright.files import short_hash
from workbench.compare import measure
from workbench.compare.jobs import Comparison, Job, measured_code
from workbench.compare.processes.lasting import is_lasting
from workbench.compare.searched import dev
from workbench.compare.searched.found import Trial, write_trial
from workbench.run.identity import settings_content
from workbench.run.steps import settings_of


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
        # Whole: what mistakes cost decides what is right.
        asdict(comparison.task),
        settings_of(comparison.calibration()),
        comparison.recipe.model.long_rows,
        whole,
        models,
        measured_code(comparison.family(plain)),
        measured_code(dev.__name__),
    ]
    return comparison.root / name / "trials" / f"{short_hash(made_of)}.json"


def run_trial(comparison: Comparison, job: Job, settings: Mapping[str, Any]) -> None:
    """Try settings of a searched candidate and keep what they reach on dev; or that they cannot be had, and why.

    Raises
    ------
    Exception
        Whatever is no fact about the settings, ``lasting.is_lasting`` says which: nothing is kept then. Nor of a
        package that is missing, which is one about this machine.
    """
    place = trial_place(comparison, job.candidate, settings)
    begun = time.monotonic()
    try:
        trial = _tried(comparison, job, settings)
    except Exception as error:
        if isinstance(error, MissingExtraError) or not is_lasting(error):
            raise
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        trial = Trial(dict(settings), seconds=time.monotonic() - begun, failed=said)
    write_trial(place, trial)


def _tried(comparison: Comparison, job: Job, settings: Mapping[str, Any]) -> Trial:
    plain, recipe = comparison.searched[job.candidate], comparison.recipe
    whole = {**comparison.baseline_settings(plain), **settings}
    asked = measure.BaselineJob(plain, comparison.task, whole, job.seed, recipe.model.long_rows)
    return dev.reached(asked, settings, comparison.splits_of(job), comparison.calibration(), recipe.seed)
