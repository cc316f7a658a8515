"""1 for the gold label, 0 for any other answer: the reward whose mean is accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from labelwright.data.task import Example, Task
from rewards.feedback import feedback
from rewards.outcome import Outcome, Score


@dataclass(frozen=True)
class LabelMatch:
    """Right or wrong."""

    name: ClassVar[str] = "label_match"

    def __call__(self, gold: str, outcome: Outcome) -> Score:
        """1.0 where the answer is gold, else 0.0."""
        return Score(float(outcome.label == gold), feedback(gold, outcome))

    @classmethod
    def for_task(cls, task: Task, train: Sequence[Example]) -> LabelMatch:
        """Needs nothing of either."""
        return cls()
