"""Rare-class weighting from train counts."""

from __future__ import annotations

import pytest
from fakes import toy_task

from labelwright.data.task import Example
from rewards.outcome import Outcome
from rewards.rare_class import RareClass


def value(reward: RareClass, label: str) -> float:
    return reward(label, Outcome(label, {})).value


def test_rarest_label_is_worth_one() -> None:
    reward = RareClass({"pool": 16, "fence": 4}, power=0.5)
    assert (value(reward, "fence"), value(reward, "pool")) == (1.0, 0.5)
    assert reward("fence", Outcome("pool", {})).value == 0
    assert value(RareClass({"pool": 16, "fence": 4}, power=1), "pool") == 0.25
    assert value(RareClass({"pool": 16, "fence": 4}, power=0), "pool") == 1.0


def test_counts_come_from_train_and_a_label_without_rows_counts_as_one() -> None:
    rows = [Example(str(n), "x", "pool" if n < 4 else "fence") for n in range(5)]
    reward = RareClass.for_task(toy_task(), rows, power=1)
    assert [value(reward, label) for label in ("pool", "fence", "hvac")] == pytest.approx([0.25, 1, 1])
