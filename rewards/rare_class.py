"""A right answer is worth more the rarer its label is, so that accuracy is not bought with the frequent labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from labelwright.data.task import Example, Task
from labelwright.errors import RecipeError
from rewards.feedback import feedback
from rewards.outcome import Outcome, Score


@dataclass(frozen=True)
class RareClass:
    """(rarest count / count of gold) ** power for a right answer, 0 for a wrong one.

    An optimizer that divides each row's rewards by their spread takes a factor that is common to the row out again:
    GRPO's usual scaling, ``scale_rewards = "group"``, which ``optimizers.training.grpo`` therefore does not take here.

    Attributes
    ----------
    counts : mapping of label to int
        Train rows a label; a label without rows counts as one row.
    power : float in [0, 1]
        0 treats all labels alike, 1 makes every label worth the same in total.
    """

    counts: Mapping[str, int]
    power: float = 0.5

    name: ClassVar[str] = "rare_class"

    def __post_init__(self) -> None:
        if isinstance(self.power, bool) or not isinstance(self.power, int | float) or not 0 <= self.power <= 1:
            raise RecipeError(f"rare_class power is {self.power!r}: expected a number from 0 to 1, such as 0.5")

    def __call__(self, gold: str, outcome: Outcome) -> Score:
        """The weight of gold where the answer is right, else 0.0."""
        return Score(self.weight(gold) if outcome.label == gold else 0.0, feedback(gold, outcome))

    def weight(self, label: str) -> float:
        """What a right answer is worth, in (0, 1]; 1 for the rarest label."""
        rarest = max(1, min(self.counts.values()))
        return float((rarest / max(1, self.counts[label])) ** self.power)

    @classmethod
    def for_task(cls, task: Task, train: Sequence[Example], power: float = 0.5) -> RareClass:
        """Counts from the train rows, for every label of the task."""
        counts = Counter(example.label for example in train)
        return cls({name: counts[name] for name in task.names}, power)
