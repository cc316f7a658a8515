"""The prices of a recipe's ``[costs]`` as a reward: what the decision weighs is what the stages learn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from labelwright.data.costs import Costs
from labelwright.data.task import Example, Task
from labelwright.errors import RecipeError
from rewards.feedback import feedback
from rewards.outcome import Outcome, Score


@dataclass(frozen=True)
class Prices:
    """1 - cost / (highest cost). What asking a person costs plays no part: a label is always drawn.

    Attributes
    ----------
    labels : tuple of str
        All labels of the task. An answer outside them costs as much as the dearest one.
    """

    labels: tuple[str, ...]
    costs: Costs

    name: ClassVar[str] = "prices"

    def __call__(self, gold: str, outcome: Outcome) -> Score:
        """1 for an answer that costs nothing, 0 for the dearest one."""
        cost = self._table[gold].get(outcome.label, self._highest)
        return Score(1 - cost / self._highest, feedback(gold, outcome))

    @cached_property
    def _table(self) -> dict[str, dict[str, float]]:
        rows = self.costs.table(self.labels)
        return {gold: dict(zip(self.labels, row, strict=True)) for gold, row in zip(self.labels, rows, strict=True)}

    @cached_property
    def _highest(self) -> float:
        return self.costs.highest(self.labels)

    @classmethod
    def for_task(cls, task: Task, train: Sequence[Example]) -> Prices:
        """The task's own prices. Raises RecipeError where it has none."""
        if task.costs is None:
            raise RecipeError("reward 'prices' needs [costs]: say there what mistakes cost")
        return cls(task.names, task.costs)
