"""Always the most frequent label, with the train shares as probabilities: what any classifier must beat first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from baselines.base import Rows, TextClassifier
from labelwright.data.task import Task
from labelwright.predictors.prior import Prior


class Majority(TextClassifier):
    """The label shares of ``y``; their entropy is its log loss."""

    def __init__(self, labels: Sequence[Any] | None = None, random_state: int = 0) -> None:
        self.labels = labels
        self.random_state = random_state

    def _train(self, rows: Rows) -> Prior:
        return Prior(np.bincount(rows.gold, minlength=len(rows.classes)) / len(rows.gold))


def majority(task: Task, seed: int) -> Majority:
    """Unfitted."""
    return Majority(random_state=seed)
