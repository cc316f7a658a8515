"""Rewards: pure functions of gold label and outcome. The same one feeds GEPA's feedback and GRPO's advantages.

Owns which rewards there are (``REWARDS``) and their settings, one a file. The prompt stage and the weight stages make
theirs through ``make_reward``, a recipe is held to ``check_reward``. They never ask a model, and their value depends on
the answered label alone. Beside them stands ``judge``: what a larger model is asked that rates labels row by row, which
only grpo can learn from.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwright.data.asked.questions import Question
from labelwright.data.task import Example, Label, Task
from labelwright.errors import RecipeError
from rewards.cost_matrix import CostMatrix
from rewards.distance import Distance
from rewards.judge import Judge
from rewards.label_match import LabelMatch
from rewards.noisy_label import NoisyLabel
from rewards.outcome import Outcome, Reward
from rewards.prices import Prices
from rewards.rare_class import RareClass
from rewards.tree_path import TreePath


def _as_asked(task: Task, train: Sequence[Example]) -> Reward:
    """What mistakes cost where the task says it, how far off they are where levels are asked, else right or wrong."""
    if task.costs:
        return Prices.for_task(task, train)
    if any(asked.kind == "score" for asked in task.questions):
        return Distance.for_task(task, train)
    return LabelMatch.for_task(task, train)


# What a stage takes where its recipe names no reward.
AUTO = "auto"
# Each takes (task, train rows, **settings of the recipe).
REWARDS: Mapping[str, Callable[..., Reward]] = {
    "label_match": LabelMatch.for_task,
    "cost_matrix": CostMatrix.of_settings,
    "rare_class": RareClass.for_task,
    "noisy_label": NoisyLabel.for_task,
    "distance": Distance.for_task,
    "tree_path": TreePath.for_task,
    AUTO: _as_asked,
}
# Rewards that are nothing but a weight of each gold label: scaled row by row, or by their mean, they are "label_match".
ONLY_WEIGHTS = ("rare_class",)
# Rewards that tell an optimizer more than "label_match" only where it ascends ln E[r].
ONLY_LIKELIHOODS = ("noisy_label",)


# What rewards of labels with a structure are tried on where no task is known.
_TWO = tuple(map(Label, ("one > a", "one > b")))
_STRUCTURED = {
    Distance.name: Task.asking("check", "check", [Question("check", "score", _TWO)]),
    TreePath.name: Task("check", "check", _TWO, tree_separator=" > "),
}


def make_reward(name: str, task: Task, train: Sequence[Example], settings: Mapping[str, Any] | None = None) -> Reward:
    """The reward of that name, for a task and its train rows.

    Raises
    ------
    RecipeError
        Unknown name; a setting that this reward does not have, lacks, or cannot use.
    """
    if name not in REWARDS:
        raise RecipeError(f"reward {name!r} is not known: expected one of {', '.join(REWARDS)}")
    settings = settings or {}
    allowed = list(inspect.signature(REWARDS[name]).parameters.values())[2:]
    names = ", ".join(parameter.name for parameter in allowed) or "none"
    for key in settings:
        if key not in {parameter.name for parameter in allowed}:
            raise RecipeError(f"reward {name!r} has no setting {key!r}: expected {names}")
    for parameter in allowed:
        if parameter.default is parameter.empty and parameter.name not in settings:
            raise RecipeError(f"reward {name!r} needs the setting {parameter.name!r}: add it to the recipe")
    return REWARDS[name](task, train, **settings)


def check_reward(
    name: str,
    settings: Mapping[str, Any] | None = None,
    names: Sequence[str] = (),
    by_row: bool = False,
    task: Task | None = None,
) -> None:
    """Refuse a reward that could not be made, before there are rows.

    Parameters
    ----------
    names : sequence of str
        The labels; none where they are not known yet, and then a setting may name any.
    by_row : bool
        Whether rows bring their own choices; the names are letters then.
    task : Task, optional
        Where it is known, in place of these; else labels may have the structure that the reward needs.

    Raises
    ------
    RecipeError
        As ``make_reward``, or ``Judge.of_settings``.
    """
    if name == Judge.name:
        Judge.of_settings(settings or {}, by_row)
        return
    if not names:
        costs = (settings or {}).get("costs")
        rows = costs if isinstance(costs, Mapping) else {}
        inner = [one for row in rows.values() if isinstance(row, Mapping) for one in row]
        names = list(dict.fromkeys([*rows, *inner, "one label", "another label"]))
    if task is None:
        labels = () if by_row else tuple(Label(one) for one in names)
        task = _STRUCTURED.get(name) or Task("check", "check", labels, max_choices=len(names) if by_row else 0)
    make_reward(name, task, (), settings)


def reward_matrix(reward: Reward, names: Sequence[str]) -> NDArray[np.float64]:
    """Values of shape (n_labels, n_labels), in [0, 1]: row gold, column answered, in the order of ``names``.

    All there is to know of a reward whose value depends on the answered label only, as every reward's does.
    """
    return np.array([[reward(gold, Outcome(answered, {})).value for answered in names] for gold in names])


def weighs_rows(matrix: NDArray[np.float64]) -> bool:
    """Whether some gold labels have more at stake than others: rows of ``reward_matrix`` of unequal range.

    Dividing each row's rewards by their own spread takes such weights out again.

    >>> weighs_rows(np.eye(2)), weighs_rows(np.array([[1, 0], [0, 0.5]]))
    (False, True)
    """
    stakes = np.ptp(matrix, axis=1)
    return bool(np.ptp(stakes) > 1e-6)
