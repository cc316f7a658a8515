"""Prices of a stage's own, in its ``reward_settings``: for who tunes by other prices than ``[costs]`` decides by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from labelwright.data.costs import Costs, pairs_of
from labelwright.data.task import Example, Task
from labelwright.errors import DataError, RecipeError
from rewards.prices import Prices


class CostMatrix(Prices):
    """``rewards.prices.Prices`` of what a recipe gives the reward, whatever the task's own are."""

    name: ClassVar[str] = "cost_matrix"

    @classmethod
    def of_settings(
        cls, task: Task, train: Sequence[Example], costs: Mapping[str, Mapping[str, Any]], other: Any = 1.0
    ) -> CostMatrix:
        """Prices over the task's labels.

        Parameters
        ----------
        costs : mapping of gold to mapping of answered to number
            In any unit; a right answer costs nothing where it is not among them.
        other : float
            The price of every mistake that ``costs`` does not list.

        Raises
        ------
        RecipeError
            What [costs] would be refused for, all of it in one line.
        """
        try:
            prices = Costs(pairs_of(costs, "costs"), other)
        except DataError as error:
            raise RecipeError(f"reward {cls.name!r}: {error}") from error
        if faults := prices.faults(task.names, "costs", "other"):
            raise RecipeError(f"reward {cls.name!r}: {'; '.join(faults)}")
        return cls(task.names, prices)
