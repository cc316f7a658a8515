"""Bundles of classifiers that are not tuned by stages: a small one that is trained, and several that answer as one.

``labelwright.bundle.store`` writes them, as any other.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from labelwright.bundle.store import require_labels
from labelwright.bundle.types import Bundle
from labelwright.data.task import Task
from labelwright.engines.together import document as together
from labelwright.engines.together.plan import Plan
from labelwright.models.weights import Predictor, Together
from labelwright.prompt import Prompt, Template
from labelwright.statistics.calibration import Calibration


def predictor_bundle(
    task: Task,
    name: str,
    predictor_folder: Path,
    calibration: Calibration,
    report: Mapping[str, Any] | None = None,
    history: Sequence[Mapping[str, Any]] = (),
) -> Bundle:
    """The bundle of a small classifier that answers without a language model.

    Its prompt carries the labels and is read by nobody.

    Parameters
    ----------
    name : str
        What to call the classifier: a baseline's name, such as "sgd-ngrams".
    predictor_folder : Path
        Written by ``labelwright.predictors.store.save_predictor``, or an estimator of ``baselines``; ``save`` copies
        it. Labels of the task that it does not know get the probability 0.
    calibration : Calibration
        Fitted on the scores of ``labelwright.engines.predictor``: logarithms of the predictor's probabilities.

    Raises
    ------
    BundleError
        If the folder holds no predictor, or one with a label that is not the task's.
    """
    folder = Path(predictor_folder).absolute()
    require_labels(folder, task)
    prompt, weights = Prompt.for_task(task, Template()), Predictor(name, folder)
    return Bundle(task, prompt, weights, calibration, dict(report or {}), tuple(history))


def together_bundle(
    task: Task, name: str, plan: Plan, members: Mapping[str, Path], folder: Path, calibration: Calibration
) -> Bundle:
    """The bundle of several bundles that answer as one. Its prompt carries the labels and is read by nobody.

    Parameters
    ----------
    name : str
        What to call the whole: "ensemble" say.
    plan : Plan
        Who is asked, and what is made of the answers.
    members : mapping of name to folder
        Bundles, in the plan's order; they are copied.
    folder : Path
        Where plan and members are put together; ``save`` copies it.
    calibration : Calibration
        Fitted on the log-probabilities that the plan gives.

    Raises
    ------
    BundleError
        As ``labelwright.engines.together.document.write_plan``.
    """
    folder = Path(folder).absolute()
    folder.mkdir(parents=True)
    for source, target in zip(members.values(), together.write_plan(plan, list(members), folder).folders, strict=True):
        shutil.copytree(source, target)
    return Bundle(task, Prompt.for_task(task, Template()), Together(name, folder), calibration)
