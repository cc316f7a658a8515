"""The prices of a task as the reward that stages take by themselves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fakes import toy_task

from labelwright.data.costs import Costs
from labelwright.errors import RecipeError
from rewards import AUTO, make_reward, reward_matrix, weighs_rows
from rewards.outcome import Outcome
from rewards.prices import Prices

PRICED = replace(toy_task(), costs=Costs((("hvac", "pool", 5.0), ("pool", "pool", 0.5)), abstain=0.1))


def test_one_minus_cost_over_the_highest():
    reward = make_reward(AUTO, PRICED, ())
    expected = 1 - np.array([[0.5, 1, 1], [1, 0, 1], [5, 1, 0]]) / 5
    assert reward_matrix(reward, PRICED.names) == pytest.approx(expected)
    assert weighs_rows(reward_matrix(reward, PRICED.names))
    assert reward("fence", Outcome("spa", {})).value == 0.0


def test_without_prices_it_is_right_or_wrong():
    assert make_reward(AUTO, toy_task(), ()).name == "label_match"
    with pytest.raises(RecipeError, match=r"needs \[costs\]"):
        Prices.for_task(toy_task(), ())
