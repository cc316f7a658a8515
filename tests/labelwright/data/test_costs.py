"""Prices: what differs from the defaults is written, all that is wrong is told at once, and JSON gives them back."""

from __future__ import annotations

import math

import pytest
from fakes import toy_task

from labelwright.data.costs import Costs
from labelwright.data.task import LETTERS, Task
from labelwright.errors import DataError

NAMES = ("pool", "fence", "hvac")


def test_only_what_differs_is_written():
    costs = Costs((("hvac", "pool", 5.0), ("pool", "pool", 0.5)), wrong=2.0, right=0.1)
    assert costs.table(NAMES) == [[0.5, 2.0, 2.0], [2.0, 0.1, 2.0], [5.0, 2.0, 0.1]]
    assert costs.highest(NAMES) == 5.0


def test_written_and_read_back():
    costs = Costs((("hvac", "pool", 5.0), ("hvac", "fence", 2.0)), abstain=0.3)
    assert costs.to_dict()["matrix"] == {"hvac": {"pool": 5.0, "fence": 2.0}}
    assert Costs.from_dict(costs.to_dict()) == costs
    assert Costs.from_dict({}) == Costs()


def test_all_faults_at_once():
    costs = Costs((("spa", "pool", 1.0), ("pool", "fence", -1.0), ("pool", "hvac", math.nan)), right=True, abstain=0.0)
    said = "; ".join(costs.faults(NAMES))
    assert "right is True" in said
    assert "abstain is 0.0: expected a number above 0" in said
    assert "matrix names 'spa': expected labels of pool, fence and hvac" in said
    assert "'pool' answered as 'fence' costs -1.0" in said
    assert "'pool' answered as 'hvac' costs nan" in said


@pytest.mark.parametrize("costs", [Costs(wrong=0.0), Costs(wrong=1.0, right=1.0)])
def test_prices_that_decide_nothing_are_refused(costs):
    assert costs.faults(NAMES) == [
        "every answer costs the same, right or wrong: give a mistake a price above that of being right"
    ]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"prices": {}}, "expected some of matrix, wrong, right, abstain"),
        ({"matrix": {"pool": 3, "hvac": []}}, "matrix of 'pool' is 3.*matrix of 'hvac' is"),
        ({"matrix": [1]}, r"matrix is \[1\]: expected a table"),
    ],
)
def test_what_is_no_table_is_refused(values, said):
    with pytest.raises(DataError, match=said):
        Costs.from_dict(values)


def test_a_task_holds_its_prices_to_its_labels():
    task = toy_task()
    with pytest.raises(DataError, match="costs: matrix names 'spa'"):
        Task(task.name, task.instructions, task.labels, costs=Costs((("spa", "pool", 1.0),)))
    with pytest.raises(DataError, match="leave the costs out"):
        Task("quiz", "Which?", (), max_choices=len(LETTERS), costs=Costs())
