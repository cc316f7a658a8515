"""Scores of rows that a stage asks for, and what they say on dev.

How stages choose on dev is one rule and stands here: by accuracy, and where that is equal by log loss.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from labelwright.bundle.types import Bundle
from labelwright.data.task import Example
from labelwright.statistics.metrics import Floats, Ints, accuracy, log_loss
from optimizers.kept import KeptScores
from optimizers.stage import StageContext


def kept_scores(bundle: Bundle, rows: Sequence[Example], context: StageContext, name: str) -> Floats:
    """Whole log-scores of shape (n_rows, n_labels): ``KeptScores.of`` the context, else of the stage's own folder.

    Parameters
    ----------
    name : str
        Of the rows, for progress.
    """

    def tell(done: int, total: int) -> None:
        context.tracker.progress(done, total, f"scoring {name}")

    kept = context.scores or KeptScores(context.folder / "scores")
    return kept.of(bundle, rows, context.open_engine, tell)


def gold_of(bundle: Bundle, rows: Sequence[Example]) -> Ints:
    """Positions of the rows' labels, shape (n_rows,)."""
    return np.array([bundle.task.index(row.label) for row in rows], dtype=np.int64)


def dev_numbers(probs: Floats, gold: Ints) -> dict[str, float]:
    """accuracy and log_loss of probabilities (n_rows, n_labels)."""
    return {"accuracy": float(accuracy(probs, gold)), "log_loss": float(log_loss(probs, gold))}


def rank(numbers: Mapping[str, Any], suffix: str = "") -> tuple[float, float]:
    """What to choose by, the highest being the best.

    >>> rank({"accuracy": 0.5, "log_loss": 1.0}) > rank({"accuracy": 0.5, "log_loss": 1.2})
    True
    """
    return numbers[f"accuracy{suffix}"], -numbers[f"log_loss{suffix}"]
