"""Prices of a stage's own: those of ``[costs]`` in another place, held to the same rules."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fakes import toy_task

from labelwright.data.costs import Costs
from labelwright.errors import RecipeError
from rewards import make_reward, reward_matrix
from rewards.outcome import Outcome

TASK = toy_task()
NAMES = TASK.names


def made(costs: Any, **more: Any) -> Any:
    return make_reward("cost_matrix", TASK, (), {"costs": costs, **more})


def test_costs_are_scaled_by_the_highest() -> None:
    reward = made({"pool": {"hvac": 4, "fence": 2}, "fence": {"pool": 0}})
    found = dict(zip(NAMES, reward_matrix(reward, NAMES), strict=True))
    assert dict(zip(NAMES, found["pool"], strict=True)) == {"pool": 1, "fence": 0.5, "hvac": 0}
    assert dict(zip(NAMES, found["fence"], strict=True)) == {"pool": 1, "fence": 1, "hvac": 0.75}


def test_an_invented_answer_costs_the_most() -> None:
    assert made({"pool": {"hvac": 4}})("fence", Outcome("nonsense", {})).value == 0


def test_the_same_prices_are_the_same_reward_wherever_they_stand() -> None:
    pairs = (("hvac", "pool", 5.0), ("pool", "pool", 0.5))
    of_task = make_reward("auto", replace(TASK, costs=Costs(pairs, wrong=2.0)), ())
    of_stage = made({"hvac": {"pool": 5.0}, "pool": {"pool": 0.5}}, other=2.0)
    np.testing.assert_array_equal(reward_matrix(of_stage, NAMES), reward_matrix(of_task, NAMES))


@pytest.mark.parametrize(
    ("costs", "other", "message"),
    [
        ({"pond": {"hvac": 1}}, 1, "costs names 'pond': expected labels of pool, "),
        ({"pool": {"pond": 1}}, 1, "costs names 'pond'"),
        ({"pool": {"hvac": -1}}, 1, "costs: 'pool' answered as 'hvac' costs -1"),
        ({"pool": {"hvac": "dear"}}, 1, "costs 'dear'"),
        ({"pool": {"hvac": float("nan")}}, 1, "costs nan"),
        ({"pool": {"hvac": True}}, 1, "costs True"),
        ({"pool": 3, "fence": []}, 1, "costs of 'pool' is 3.*costs of 'fence' is"),
        ([1], 1, r"costs is \[1\]: expected a table"),
        ({"pond": {"hvac": -1}}, -1, "other is -1.*costs names 'pond'.*costs -1"),
        ({}, 0, "every answer costs the same"),
    ],
)
def test_what_costs_would_be_refused_for_is_refused_here(costs: Any, other: Any, message: str) -> None:
    with pytest.raises(RecipeError, match=f"reward 'cost_matrix': .*{message}"):
        made(costs, other=other)
