"""Levels in order: an answer is worth the more, the nearer it is to the right level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from labelwright.data.asked.levels import level_values
from labelwright.data.task import Example, Task
from labelwright.errors import RecipeError
from rewards.feedback import feedback
from rewards.outcome import Outcome, Score

How = Literal["absolute", "squared"]


@dataclass(frozen=True)
class Distance:
    """1 - distance / span, where span is the distance of the lowest level from the highest one.

    Attributes
    ----------
    levels : mapping of label to float
        What each level counts as, from 0 for the lowest to 1 for the highest one of its question. Labels that are no
        levels, of other questions of the task, are right or wrong.
    question : mapping of label to str
        The question that each of these belongs to: to an answer of another one nothing is near.
    distance : {"absolute", "squared"}
        Whether twice as far is twice as bad, or four times.
    """

    levels: Mapping[str, float]
    question: Mapping[str, str]
    distance: How = "absolute"

    name: ClassVar[str] = "distance"

    def __post_init__(self) -> None:
        if self.distance not in get_args(How):
            raise RecipeError(f"reward {self.name!r}: distance = {self.distance!r}: expected absolute or squared")

    def __call__(self, gold: str, outcome: Outcome) -> Score:
        """1 for the right level, 0 for the one that can be farthest, and for an answer that is none."""
        return Score(self._value(gold, outcome.label), feedback(gold, outcome))

    def _value(self, gold: str, answered: str) -> float:
        if answered == gold:
            return 1.0
        if gold not in self.levels or self.question.get(answered) != self.question[gold]:
            return 0.0
        apart = abs(self.levels[gold] - self.levels[answered])
        return 1 - (apart if self.distance == "absolute" else apart**2)

    @classmethod
    def for_task(cls, task: Task, train: Sequence[Example], distance: How = "absolute") -> Distance:
        """The levels of the task's questions. Raises RecipeError where it asks for none."""
        levels: dict[str, float] = {}
        of: dict[str, str] = {}
        for asked in task.questions:
            if asked.kind != "score":
                continue
            names = [label.name for label in asked.labels]
            values = level_values(names)
            for name, value in zip(names, values, strict=True):
                point = next((one for one in task.points if one.name == asked.name), None)
                label = point.class_of(name) if point else name
                levels[label], of[label] = (value - values[0]) / (values[-1] - values[0]), asked.name
        if not levels:
            raise RecipeError(f'reward {cls.name!r} needs levels in order: a question of kind = "score"')
        return cls(levels, of, distance)
