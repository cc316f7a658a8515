"""Decisions measured on labelled rows, by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fakes import toy_bundle

from labelwright.data.costs import Costs
from labelwright.decisions.answered import answer
from labelwright.decisions.decision import LIKELIEST, Decision
from labelwright.decisions.measured import answered_and_wrong, costs, decided_metrics, sets
from labelwright.serve.questions import Question, put

NAMES = ("pool", "fence", "hvac")
PROBS = np.array([[0.9, 0.05, 0.05], [0.5, 0.3, 0.2], [0.2, 0.6, 0.2], [0.1, 0.1, 0.8]])
GOLD = np.array([0, 1, 1, 0])


def test_answered_and_wrong_among_them():
    found = answered_and_wrong(Decision.of(None, NAMES, 0.6), PROBS, GOLD)
    assert (found["answered"].value, found["wrong"].value) == pytest.approx((0.75, 1 / 3))
    assert found["wrong"].low < 1 / 3 < found["wrong"].high
    assert set(answered_and_wrong(Decision.of(None, NAMES, 2.0), PROBS, GOLD)) == {"answered"}


def test_costs_beside_those_of_argmax():
    # Sent to hvac, a pool question costs 3; a person costs 0.5.
    decision = Decision.of(Costs((("pool", "hvac", 3.0),), abstain=0.45), NAMES)
    found = costs(decision, PROBS, GOLD)
    assert decision.decide(PROBS).said.tolist() == [0, -1, 1, 2]
    assert found["cost"].value == pytest.approx((0 + 0.45 + 0 + 3) / 4)
    assert found["cost_of_argmax"].value == pytest.approx((0 + 1 + 0 + 3) / 4)
    assert found["cost_saved"].value == pytest.approx(0.55 / 4)
    assert found["expected_cost"].value == pytest.approx((0.1 + 0.45 + 0.4 + (0.3 + 0.1)) / 4)
    assert found["cost_saved"].low <= 0.55 / 4 <= found["cost_saved"].high


def test_sets_have_the_likeliest_label_at_the_least():
    found = sets(LIKELIEST, PROBS, GOLD, np.array([0.95, 0.3, 0.95]))
    assert found["in_set"].value == 0.75
    assert found["set_size"].value == pytest.approx((1 + 2 + 1 + 1) / 4)


def test_with_prices_a_set_has_the_choice_and_the_likeliest_wherever_it_is_told():
    # Answering pool where it is hvac costs 7, so that hvac is said of a row that is likelier pool.
    priced = replace(toy_bundle(), task=replace(toy_bundle().task, costs=Costs((("hvac", "pool", 7.0),))))
    row, lowest = np.array([0.6, 0.1, 0.3]), np.full(3, 0.95)
    assert priced.decision.sets(np.array([row, np.zeros(3)]), lowest).tolist() == [[True, False, True], [False] * 3]
    assert sets(priced.decision, row[None], np.array([2]), lowest)["in_set"].value == 1
    object.__setattr__(priced, "set_thresholds", lowest)
    assert (found := answer(priced, row))["label_set"] == ["pool", "hvac"]
    assert found["label"] == "hvac"
    question = Question("?", tuple((name, "") for name in NAMES), True)
    assert put(priced, "a text", question).beside(row, NAMES)["x_label_set"] == ["pool", "hvac"]


def test_a_bundle_that_decides_nothing_has_nothing_to_measure():
    assert decided_metrics(toy_bundle(), PROBS, GOLD) == {}
    priced = replace(toy_bundle(), task=replace(toy_bundle().task, costs=Costs()))
    assert set(decided_metrics(priced, PROBS, GOLD)) == {"cost", "expected_cost", "cost_of_argmax", "cost_saved"}
