"""One training of a measurement: what it is taught, what it is trained for, and which rows it holds out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bench.setting import Setting
from labelwright.data.costs import Costs
from labelwright.data.task import Example, Splits, Task, group_keys
from labelwright.statistics.calibration import group_folds
from optimizers.training.settings import Objective, Scale
from rewards import reward_matrix
from rewards.noisy_label import NoisyLabel
from rewards.prices import Prices

FOLDS = 5
FLIPPED = 0.2
# Labels that the same trade sees to; a wrong one of them is worth half.
TRADES = (
    ("brick work", "fence", "gutters", "painting", "window service"),
    ("fountain", "garden lights", "irrigation", "mosquito", "pool", "tree service"),
    ("appliances", "doorbell", "electric", "hvac", "water heater"),
    ("car", "cooking"),
)
# Whoever comes for one of these has to know what can go wrong: sent for anything else, it is dear.
DANGEROUS = ("electric", "hvac", "water heater")
MISSED = 20.0
# What mistakes cost where they do not all cost 1, by setting.
COSTS: Mapping[str, Costs] = {
    "soft": Costs(tuple((gold, said, 0.5) for trade in TRADES for gold in trade for said in trade if gold != said)),
    "prices": Costs(
        tuple((gold, said, MISSED) for gold in DANGEROUS for said in sum(TRADES, ()) if said not in DANGEROUS)
    ),
}
# An arm that is not trained at all.
UNTUNED = "untuned"
SCALES: Mapping[str, Scale] = {"group": "group", "none": "none", "batch": "batch", "mean": "mean"}
Sides = tuple[tuple[Example, ...], tuple[Example, ...]]


@dataclass(frozen=True)
class Run:
    """One training: an arm of a setting, with one seed.

    Attributes
    ----------
    train, held_out : tuple of Example
        The train labels as they are taught, flipped ones included.
    """

    setting: str
    arm: str
    seed: int
    train: tuple[Example, ...]
    held_out: tuple[Example, ...]

    @property
    def trains(self) -> bool:
        """Whether the arm learns anything."""
        return self.arm != UNTUNED

    def objective(self, names: Sequence[str]) -> Objective:
        """What the arm is trained for."""
        if self.arm.startswith("sft"):
            return Objective("cross_entropy", label_smoothing=FLIPPED if self.arm == "sft, smoothed" else 0.0)
        scale, _, likelihood = self.arm.partition(", ")
        rewards = rewards_of(self.setting, names)
        if likelihood:
            rewards = reward_matrix(NoisyLabel(len(names), FLIPPED), list(names))
        return Objective("exact", rewards=rewards, scale_rewards=SCALES[scale])

    def targets(self) -> np.ndarray | None:
        """Probabilities to learn in the place of labels, (n_train, n_labels); None where labels are learnt."""
        return None

    def key(self, names: Sequence[str], about: Any) -> str:
        """16 hex digits of all that the run depends on; SFT's is the same where only the rewards differ."""
        objective = self.objective(names)
        rewards = None if objective.rewards is None else objective.rewards.tolist()
        rows = [(row.id, row.text, row.label) for row in (*self.train, *self.held_out)]
        whole = [replace(objective, rewards=None, row_rewards=None), rewards, self.seed, rows, about]
        return hashlib.sha256(repr(whole).encode()).hexdigest()[:16]


Trainer = Callable[[Run], np.ndarray]


def held_out_folds(setting: Setting, seed: int, n_folds: int = FOLDS) -> Sides:
    """The rows of a seed that are taught, and those that are not: the folds in turn, dealt anew once all were out."""
    return _parted(setting.examples, setting.task, seed, n_folds)


def with_dev(rows: Sequence[Example], task: Task, seed: int, dev_folds: int) -> tuple[Splits, tuple[Example, ...]]:
    """Train and dev of a seed, dev one of so many folds of families, and the rows that ``held_out_folds`` holds out."""
    rest, held_out = _parted(rows, task, seed, FOLDS)
    gold = np.array([task.index(row.label) for row in rest])
    is_dev = group_folds(gold, group_keys(rest), dev_folds, seed) == 0
    train, dev = (tuple(row for row, is_in in zip(rest, is_dev == one, strict=True) if is_in) for one in (False, True))
    return Splits(train, dev, (), ()), held_out


def _parted(rows: Sequence[Example], task: Task, seed: int, n_folds: int) -> Sides:
    gold = np.array([task.index(row.label) for row in rows])
    held = group_folds(gold, group_keys(rows), n_folds, seed // n_folds) == seed % n_folds
    train = tuple(row for row, out in zip(rows, held, strict=True) if not out)
    return train, tuple(row for row, out in zip(rows, held, strict=True) if out)


def rewards_of(setting: str, names: Sequence[str]) -> np.ndarray:
    """What an answer is worth in a setting, (gold, answered): 1 if right, 0 for what costs most (``COSTS``)."""
    return reward_matrix(Prices(tuple(names), COSTS.get(setting, Costs())), list(names))
