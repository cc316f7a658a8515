"""Thresholds of a cascade: nothing is lost on the rows that choose, the time is the least, and nothing is free."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwright.data.costs import Costs
from labelwright.decisions.decision import Decision
from labelwright.engines.together.plan import Level, Plan
from workbench.compare.together.cascade import choose_cascade

MS = {"tiny": 1.0, "small": 10.0, "large": 100.0}


def price(names: Sequence[str]) -> float:
    return sum(MS[name] for name in names)


def confident(n_rows: int, share_sure: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two labels: sure and right on a share of the rows, else as good as chance; and the gold labels."""
    chance = np.random.default_rng(seed)
    gold = chance.integers(0, 2, n_rows)
    sure = np.where(chance.random(n_rows) < share_sure, 0.97, 0.52)
    right = np.where(sure > 0.9, True, chance.random(n_rows) < 0.5)
    at_gold = np.where(right, sure, 1 - sure)
    probs = np.empty((n_rows, 2))
    probs[np.arange(n_rows), gold], probs[np.arange(n_rows), 1 - gold] = at_gold, 1 - at_gold
    return probs, gold


def chosen(probs: dict[str, np.ndarray], gold: np.ndarray, price=price, most_levels: int = 3):
    """Each row a group of its own; the dearer the better."""
    rows = [str(row) for row in range(len(gold))]
    return choose_cascade(probs, gold, rows, price, "large", list(probs)[::-1], most_levels)


def perfect(gold: np.ndarray, p: float = 0.9) -> np.ndarray:
    return np.where(np.eye(2)[gold] > 0, p, 1 - p)


def test_the_cheap_one_answers_what_it_is_sure_of_and_nothing_is_lost():
    tiny, gold = confident(400, 0.6)
    chain, frontier = chosen({"tiny": tiny, "large": perfect(gold)}, gold)
    assert chain is not None
    assert chain.names == ("tiny", "large")
    assert 0.52 < chain.thresholds[0] < 0.97, "between two confidences"
    assert chain.accuracy == 1.0
    left = float((tiny.max(axis=1) < 0.9).mean())
    assert chain.ms == pytest.approx(1 + left * 100)
    assert frontier[0].names == ("tiny",)
    assert [one.ms for one in frontier] == sorted(one.ms for one in frontier)
    assert [one.accuracy for one in frontier] == sorted(one.accuracy for one in frontier)


def test_three_levels_where_they_are_cheaper_and_two_where_no_more_are_allowed():
    tiny, gold = confident(400, 0.5)
    small = np.where((np.random.default_rng(1).random(400) < 0.7)[:, None], perfect(gold, 0.98), 0.5)
    probs = {"tiny": tiny, "small": small, "large": perfect(gold)}
    three, _ = chosen(probs, gold)
    two, _ = chosen(probs, gold, most_levels=2)
    assert three is not None
    assert two is not None
    assert three.names == ("tiny", "small", "large")
    assert len(two.names) == 2
    assert three.ms < two.ms


def test_who_is_sure_and_wrong_answers_nothing():
    tiny, gold = confident(200, 0.5)
    wrong = tiny[:, ::-1]
    chain, frontier = chosen({"tiny": wrong, "large": perfect(gold)}, gold)
    assert chain is None
    assert frontier[-1].names == ("large",)


def test_right_as_often_and_far_less_sure_is_a_loss_too():
    """All are right; the cheap one's probabilities say much less."""
    _, gold = confident(200, 0.5)
    chain, _ = chosen({"tiny": perfect(gold, 0.6), "large": perfect(gold, 0.99)}, gold)
    assert chain is None


def test_what_is_not_cheaper_is_not_asked_first():
    tiny, gold = confident(200, 0.6)
    chain, frontier = chosen({"tiny": tiny, "large": perfect(gold)}, gold, price=lambda names: 100.0 * len(names))
    assert chain is None
    assert [one.names for one in frontier] == [("large",)]


def test_what_members_share_is_paid_once():
    tiny, gold = confident(400, 0.5)
    chain, _ = chosen({"tiny": tiny, "large": perfect(gold)}, gold, price=lambda names: max(MS[name] for name in names))
    assert chain is not None
    left = float((tiny.max(axis=1) < 0.9).mean())
    assert chain.ms == pytest.approx(1 + left * 99)


def better_by_a_little(n_rows: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The cheap one is wrong on one row in thirty, the dear one on two other ones; the cheap one is unsure of some."""
    tiny, large = np.tile([0.95, 0.05], (n_rows, 1)), np.tile([0.9, 0.1], (n_rows, 1))
    part = n_rows // 30
    tiny[:part], large[part : 3 * part] = [0.05, 0.95], [0.1, 0.9]
    tiny[-2 * part :] = 0.5
    return {"tiny": tiny, "large": large}, np.zeros(n_rows, dtype=np.int64)


def test_luck_on_few_rows_is_not_enough():
    """What on thirty rows may be luck is none on three thousand."""
    assert chosen(*better_by_a_little(30))[0] is None
    assert chosen(*better_by_a_little(3000))[0] is not None


def test_with_prices_a_chain_that_is_right_more_often_and_costs_more_is_a_loss():
    """The cheap one's mistakes are leaks, half as many as the dear one's false alarms."""
    probs, gold = better_by_a_little(3000)
    gold[:100] = 1
    probs = {name: np.where(gold[:, None] == 1, one[:, ::-1], one) for name, one in probs.items()}
    rows = [str(row) for row in range(3000)]

    def chain_at(leak: float):
        decision = Decision.of(Costs((("leak", "pool", leak),)), ("pool", "leak"))
        return choose_cascade(probs, gold, rows, price, "large", ["large", "tiny"], 3, decision)[0]

    assert chain_at(1.0) == chosen(probs, gold)[0] is not None
    assert chain_at(3.0) is None


def test_rows_of_a_group_are_not_as_many_as_they_look():
    """What three thousand rows show, thirty groups of a hundred do not."""
    groups = [str(row // 100) for row in range(3000)]
    assert choose_cascade(*better_by_a_little(3000), groups, price, "large", ["large", "tiny"], 3)[0] is None


@settings(max_examples=25)
@given(seed=st.integers(0, 999), share=st.floats(0.1, 0.9))
def test_what_is_promised_is_what_the_plan_answers(seed, share):
    """The search's own arithmetic and the plan that ships agree on the rows that chose."""
    tiny, gold = confident(60, share, seed)
    large = perfect(gold)
    large[:3] = large[:3, ::-1]
    chain, _ = chosen({"tiny": tiny, "large": large}, gold)
    if chain is None:
        return
    plan = Plan((Level((1.0, 0.0), chain.thresholds[0]), Level((0.0, 1.0))))
    found = plan.answer(lambda member, rows: (tiny, large)[member][rows], len(gold), 2)
    assert (found.log_probs.argmax(axis=1) == gold).mean() == pytest.approx(chain.accuracy)
    assert -found.log_probs[np.arange(len(gold)), gold].mean() == pytest.approx(chain.log_loss)
    assert 1 + (found.levels == 1).mean() * 100 == pytest.approx(chain.ms)
    assert chain.accuracy >= (large.argmax(axis=1) == gold).mean()
