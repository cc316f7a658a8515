"""What a classifier answered, and what that answer is worth. The one home of rewards for GEPA and GRPO."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from labelwright.errors import RecipeError


@dataclass(frozen=True)
class Outcome:
    """One answer: the label taken, the probability of every label, and the row's text."""

    label: str
    probs: Mapping[str, float]
    text: str = ""


@dataclass(frozen=True)
class Score:
    """A value in [0, 1], and a sentence that names gold, runner-up and their probabilities.

    Raises
    ------
    RecipeError
        A value that is no number from 0 to 1: an optimizer would follow it anywhere.
    """

    value: float
    feedback: str

    def __post_init__(self) -> None:
        if not 0 <= self.value <= 1:
            raise RecipeError(f"a reward gave {self.value!r} ({self.feedback}): expected a number from 0 to 1")


class Reward(Protocol):
    """A pure function of gold label and outcome."""

    @property
    def name(self) -> str:
        """The name a recipe calls it by."""
        ...

    def __call__(self, gold: str, outcome: Outcome) -> Score:
        """Score one answer. The value depends on ``outcome.label``; the feedback also on ``outcome.probs``."""
        ...
