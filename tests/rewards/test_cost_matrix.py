"""The cost matrix: its scale, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from labelwright.errors import RecipeError
from rewards import reward_matrix
from rewards.cost_matrix import CostMatrix
from rewards.outcome import Outcome

NAMES = ("pool", "fence", "hvac")


def test_costs_are_scaled_by_the_highest() -> None:
    reward = CostMatrix(NAMES, {"pool": {"hvac": 4, "fence": 2}, "fence": {"pool": 0}})
    expected = [[1, 0.5, 0], [1, 1, 0.75], [0.75, 0.75, 1]]
    assert reward_matrix(reward, NAMES) == pytest.approx(np.array(expected))


def test_invented_answer_costs_the_most() -> None:
    assert CostMatrix(NAMES, {"pool": {"hvac": 4}})("fence", Outcome("nonsense", {})).value == 0


@pytest.mark.parametrize(
    ("costs", "other", "message"),
    [
        ({"pond": {"hvac": 1}}, 1, "label 'pond'"),
        ({"pool": {"pond": 1}}, 1, "label 'pond', which the task does not have: expected one of pool, fence, hvac"),
        ({"pool": {"hvac": -1}}, 1, "'pool' answered as 'hvac' is -1"),
        ({"pool": {"hvac": "dear"}}, 1, "is 'dear'"),
        ({"pool": {"hvac": float("nan")}}, 1, "is nan"),
        ({"pool": {"pool": 1}}, 1, "answered rightly"),
        ({"pool": 3}, 1, "costs of 'pool' are 3"),
        ({}, -1, "the cost of other"),
        ({"pool": {"hvac": 0}}, 0, "no mistake costs anything"),
    ],
)
def test_costs_that_cannot_be_meant_are_refused(costs: Any, other: float, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        CostMatrix(NAMES, costs, other)
