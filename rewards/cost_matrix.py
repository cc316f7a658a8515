"""Mistakes that cost differently: sending a gas leak to the pool desk is worse than sending it to hvac."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from labelwright.data.task import Example, Task
from labelwright.errors import RecipeError
from rewards.feedback import feedback
from rewards.outcome import Outcome, Score


@dataclass(frozen=True)
class CostMatrix:
    """1 - cost / (highest cost); the gold label costs nothing.

    Attributes
    ----------
    labels : tuple of str
        All labels of the task. An answer outside them costs as much as the worst mistake.
    costs : mapping of gold to mapping of predicted to number
        Costs of 0 or more, in any unit, of answering ``predicted`` where ``gold`` is right.
    other : float
        The cost of every mistake that ``costs`` does not list.

    Raises
    ------
    RecipeError
        A name that is not a label; a cost that is negative or not a number; a cost for the right answer; no mistake
        that costs anything.
    """

    labels: tuple[str, ...]
    costs: Mapping[str, Mapping[str, float]]
    other: float = 1.0

    name: ClassVar[str] = "cost_matrix"

    def __post_init__(self) -> None:
        _check_cost(self.other, "other")
        for gold, row in self.costs.items():
            if not isinstance(row, Mapping):
                raise RecipeError(f"costs of {gold!r} are {row!r}: expected a table of predicted label = cost")
            for label in (gold, *row):
                if label not in self.labels:
                    raise RecipeError(
                        f"costs name the label {label!r}, which the task does not have: "
                        f"expected one of {', '.join(self.labels)}"
                    )
            for predicted, cost in row.items():
                _check_cost(cost, f"{gold!r} answered as {predicted!r}")
            if row.get(gold):
                raise RecipeError(f"costs charge {row[gold]} for {gold!r} answered rightly: leave that entry out")
        if self.highest == 0:
            raise RecipeError("no mistake costs anything: give at least one cost above 0")

    @property
    def highest(self) -> float:
        """The highest cost, which scores 0."""
        return max([self.other, *(cost for row in self.costs.values() for cost in row.values())])

    def __call__(self, gold: str, outcome: Outcome) -> Score:
        """1.0 for gold, 0.0 for the costliest mistake, the rest in between in proportion."""
        return Score(1 - self._cost(gold, outcome.label) / self.highest, feedback(gold, outcome))

    @classmethod
    def for_task(
        cls, task: Task, train: Sequence[Example], costs: Mapping[str, Mapping[str, float]], other: float = 1.0
    ) -> CostMatrix:
        """Costs as the recipe gives them, over the task's labels."""
        if not isinstance(costs, Mapping):
            raise RecipeError(f"costs are {costs!r}: expected a table {{gold = {{predicted = cost}}}}")
        return cls(task.names, costs, other)

    def _cost(self, gold: str, predicted: str) -> float:
        if predicted == gold:
            return 0.0
        return self.costs.get(gold, {}).get(predicted, self.other) if predicted in self.labels else self.highest


def _check_cost(cost: Any, what: str) -> None:
    if isinstance(cost, bool) or not isinstance(cost, int | float) or not (math.isfinite(cost) and cost >= 0):
        raise RecipeError(f"the cost of {what} is {cost!r}: expected a number of 0 or more")
