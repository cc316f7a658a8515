"""Train labels of which a known share is wrong: an answer is worth how likely it makes the label that the row has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from labelwright.data.asked.asking import asking
from labelwright.data.task import Example, Task
from labelwright.errors import RecipeError
from rewards.feedback import feedback
from rewards.outcome import Outcome, Score


@dataclass(frozen=True)
class NoisyLabel:
    """1 for the row's label; for another one the odds that it is right and the row's label a slip.

    With a share e of slips, evenly to the other n - 1 labels, a row whose right label is k has the label g with
    probability T_kg = 1 - e where g = k, else e / (n - 1). The value is T_kg / (1 - e), and so ln E[r], what
    ``scale_rewards = "mean"`` ascends, is the log-likelihood of the labels as they are: the forward correction of
    Patrini et al. (2017, section 4.2). To an optimizer of E[r] itself it is "label_match", stretched and moved.

    Attributes
    ----------
    n_labels : int
    share : float in [0, 0.5)
        Share of train labels that are wrong.
    """

    n_labels: int
    share: float

    name: ClassVar[str] = "noisy_label"

    def __post_init__(self) -> None:
        if isinstance(self.share, bool) or not isinstance(self.share, int | float) or not 0 <= self.share < 0.5:
            raise RecipeError(
                f"noisy_label share is {self.share!r}: expected a number from 0 to below 0.5, such as 0.1"
            )

    def __call__(self, gold: str, outcome: Outcome) -> Score:
        """1.0 for the row's label, else share / ((n - 1) (1 - share))."""
        slip = self.share / (max(1, self.n_labels - 1) * (1 - self.share))
        return Score(1.0 if outcome.label == gold else slip, feedback(gold, outcome))

    @classmethod
    def for_task(cls, task: Task, train: Sequence[Example], share: float) -> NoisyLabel:
        """The share as the recipe gives it, over the task's labels.

        Raises
        ------
        RecipeError
            Also where rows bring their own choices: a slip goes to one of a row's own, not to any letter.
        """
        if beyond := asking(task).beyond:
            raise RecipeError(f'reward "noisy_label" is of shared labels, and {beyond} here: set "label_match"')
        return cls(len(task.names), share)
