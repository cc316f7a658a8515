"""Always the most frequent label, with the train shares as probabilities: what any classifier must beat first."""

from __future__ import annotations

from sklearn.dummy import DummyClassifier

from labelwright.task import Task


def majority(task: Task, seed: int) -> DummyClassifier:
    """Unfitted. Its log loss is the entropy that the label shares alone leave."""
    return DummyClassifier(strategy="prior")
