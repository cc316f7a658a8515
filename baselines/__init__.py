"""Baselines: what a tuned model must beat. Scikit-learn classifiers over texts, one family a file.

All have ``fit(texts, labels)``, ``predict``, ``predict_proba`` and ``classes_`` (sorted label names). A new family is a
file with a factory and a line in ``BASELINES``. Importing this needs scikit-learn; encoders are loaded on first use.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator

from baselines.choices import chance, minilm_nearest_choice, pair_logreg
from baselines.linear import sgd_ngrams
from baselines.majority import majority
from baselines.minilm import minilm_logreg, minilm_nearest_name
from labelwright.errors import DataError
from labelwright.task import Task

# Each takes (task, seed) and returns an unfitted classifier.
BASELINES: Mapping[str, Callable[[Task, int], Any]] = {
    "majority": majority,
    "sgd-ngrams": sgd_ngrams,
    "minilm-nearest-name": minilm_nearest_name,
    "minilm-logreg": minilm_logreg,
    "chance": chance,
    "minilm-nearest-choice": minilm_nearest_choice,
    "pair-logreg": pair_logreg,
}
# What makes sense where every row brings its own choices, and only there.
OF_CHOICES = ("chance", "minilm-nearest-choice", "pair-logreg")


def refuse_unfit(name: str, task: Task) -> None:
    """Refuse a baseline that cannot do the task. Raises DataError."""
    if name != "majority" and (name in OF_CHOICES) != task.by_row:
        needs = "rows with their own choices" if name in OF_CHOICES else "labels that all rows share"
        raise DataError(f"{name} needs {needs}: take it off [baselines] names")


def size_bytes(estimator: Any) -> int:
    """What a fitted baseline needs on disk: bytes of all it learned, and of its encoder's files where it has one.

    Counts learned attributes (names that end in an underscore), those of its parts included: arrays at their size in
    memory, strings as UTF-8, other numbers as 8 bytes.
    """
    total = estimator.encoder_bytes() if hasattr(estimator, "encoder_bytes") else 0
    for name, value in vars(estimator).items():
        if name.endswith("_"):
            total += _value_bytes(value)
        elif isinstance(value, BaseEstimator):
            total += size_bytes(value)
        elif isinstance(value, list):
            total += sum(size_bytes(part) for _, part in _steps(value))
    return total


def _steps(value: list[Any]) -> list[tuple[str, Any]]:
    """The entries of a pipeline's ``steps``; nothing of any other list."""
    return [part for part in value if isinstance(part, tuple) and len(part) == 2 and isinstance(part[1], BaseEstimator)]


def _value_bytes(value: Any) -> int:
    if isinstance(value, np.ndarray):
        return value.nbytes
    if sparse.issparse(value):
        return sum(part.nbytes for part in (value.data, value.indices, value.indptr))
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, Mapping):
        return sum(_value_bytes(key) + _value_bytes(entry) for key, entry in value.items())
    if isinstance(value, list | tuple | set):
        return sum(_value_bytes(entry) for entry in value)
    if isinstance(value, BaseEstimator):
        return size_bytes(value)
    return 8 if isinstance(value, int | float | np.number) else 0
