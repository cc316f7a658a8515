"""One trial: a baseline with other settings learns train, is calibrated on calib and answers dev. Test is not read.

One that may be given up learns shares of train before; what it reached at each is kept, and not what became of it:
that is up to the trials before it, and is said again whenever the search is replayed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import baselines
from labelwright.errors import MissingExtraError
from labelwright.files import short_hash
from labelwright.predictors.encoders.sentence_encoder import one_pass
from workbench.compare import measure
from workbench.compare.jobs import Comparison, Job, measured_code
from workbench.compare.processes.lasting import is_lasting
from workbench.compare.searched import dev
from workbench.compare.searched.choosing import Earlier, outcome, shares_of
from workbench.compare.searched.found import Trial, write_steps
from workbench.run.identity import settings_content
from workbench.run.steps import settings_of


def trial_place(comparison: Comparison, name: str, settings: Mapping[str, Any], earlier: Earlier | None = None) -> Path:
    """Where a trial of a searched candidate is kept: named after a hash of all that its numbers depend on.

    Parameters
    ----------
    earlier : sequence, optional
        As in ``run_trial``; whether there are any counts, and not what they are.
    """
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
        [comparison.rows_digest(job, share) for share in shares_of(earlier)],
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


def run_trial(comparison: Comparison, job: Job, settings: Mapping[str, Any], earlier: Earlier | None = None) -> None:
    """Try settings of a searched candidate and keep what they reach on dev; or that they cannot be had, and why.

    Parameters
    ----------
    earlier : sequence, optional
        What trials before had reached (``choosing.earlier_of``), where this one may be given up.

    Raises
    ------
    Exception
        Whatever is no fact about the settings, ``lasting.is_lasting`` says which: nothing is kept then. Nor of a
        package that is missing, which is one about this machine.
    """
    done: list[Trial] = []

    def steps() -> Iterator[Trial]:
        for share in shares_of(earlier):
            done.append(_step(comparison, job, settings, share))
            yield done[-1]

    # A share's rows, and those of calib and dev, are there again in the next one. A trial that is killed begins anew:
    # vectors of other batches differ in their last digits.
    with one_pass() if earlier is not None else nullcontext():
        outcome(steps(), comparison.recipe.search.by, earlier)
    write_steps(trial_place(comparison, job.candidate, settings, earlier), done)


def _step(comparison: Comparison, job: Job, settings: Mapping[str, Any], share: float) -> Trial:
    begun = time.monotonic()
    try:
        return _tried(comparison, job, settings, share)
    except Exception as error:
        if isinstance(error, MissingExtraError) or not is_lasting(error):
            raise
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        return Trial(dict(settings), seconds=time.monotonic() - begun, failed=said, share=share)


def _tried(comparison: Comparison, job: Job, settings: Mapping[str, Any], share: float) -> Trial:
    plain, recipe = comparison.searched[job.candidate], comparison.recipe
    whole = {**comparison.baseline_settings(plain), **settings}
    asked = measure.BaselineJob(plain, comparison.task, whole, job.seed, recipe.model.long_rows)
    splits = comparison.splits_of(job, share)
    return replace(dev.reached(asked, settings, splits, comparison.calibration(), recipe.seed), share=share)
