"""Weights of an ensemble: what helps gets some, what only repeats or disturbs gets none, and luck is averaged out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwright.engines.together.plan import average
from labelwright.statistics.metrics import log_loss
from workbench.compare.together.ensemble import choose_ensemble

N, K = 300, 4
CHANCE = np.random.default_rng(0)
GOLD = CHANCE.integers(0, K, N)
GROUPS = [str(i // 2) for i in range(N)]


def answers(ahead: float, seed: int) -> np.ndarray:
    """Probabilities with errors of their own."""
    logits = np.random.default_rng(seed).normal(size=(N, K))
    logits[np.arange(N), GOLD] += ahead
    weights = np.exp(logits)
    return weights / weights.sum(axis=1, keepdims=True)


def loss(probs: dict[str, np.ndarray], names: tuple[str, ...], plan) -> float:
    level = plan.levels[0]
    return float(log_loss(np.exp(average([probs[name] for name in names], level.weights, plan.mean)), GOLD))


def test_members_that_err_alone_are_both_in_and_better_than_either():
    probs = {"a": answers(2.0, 1), "b": answers(2.0, 2)}
    names, plan = choose_ensemble(probs, GOLD, GROUPS, 8, 5, 0)
    assert names == ("a", "b")
    assert min(plan.levels[0].weights) > 0.3
    assert sum(plan.levels[0].weights) == pytest.approx(1)
    assert loss(probs, names, plan) < min(float(log_loss(one, GOLD)) for one in probs.values()) - 0.05


def test_who_knows_nothing_is_left_out():
    probs = {"noise": answers(-1.0, 3), "good": answers(3.0, 1), "wrong": np.roll(answers(3.0, 4), 1, axis=1)}
    assert choose_ensemble(probs, GOLD, GROUPS, 8, 5, 0)[0] == ("good",)


def test_the_most_members_are_the_most():
    probs = {str(seed): answers(2.0, seed) for seed in range(6)}
    names, plan = choose_ensemble(probs, GOLD, GROUPS, 3, 5, 0)
    assert len(names) == len(plan.levels[0].weights) == 3
    assert len(choose_ensemble(probs, GOLD, GROUPS, 8, 5, 0)[0]) > 3


def test_the_mean_is_the_one_that_dev_prefers():
    """A member that is now and then wholly wrong spoils a product, and only its share of a sum."""
    wild = answers(6.0, 1)
    rows = np.arange(0, N, 4)
    wild[rows] = 1e-5
    wild[rows, (GOLD[rows] + 1) % K] = 1 - 3e-5
    probs = {"wild": wild, "tame": answers(2.0, 2)}
    names, plan = choose_ensemble(probs, GOLD, GROUPS, 8, 5, 0)
    other = choose_ensemble(probs, GOLD, GROUPS, 8, 5, 0, means=("log",))
    assert plan.mean == "probability"
    assert loss(probs, names, plan) < loss(probs, *other)


def test_resamples_draw_whole_groups_and_repeat_themselves():
    probs = {"a": answers(2.0, 1), "b": answers(1.5, 2)}
    once, again = (choose_ensemble(probs, GOLD, GROUPS, 8, 4, 7) for _ in range(2))
    assert once == again
    # One group alone is the same rows at every draw, so that bags change nothing.
    whole = [choose_ensemble(probs, GOLD, ["all"] * N, 8, bags, seed) for bags, seed in ((1, 0), (3, 5))]
    assert whole[0][0] == whole[1][0]
    assert whole[0][1].levels[0].weights == pytest.approx(whole[1][1].levels[0].weights)


def test_one_alone_is_taken_where_those_that_are_kept_are_worse():
    """Each of four is wrong on another quarter of the rows: together they are good, and two of them are not."""
    quarter = np.arange(N) % 4

    def at_gold(right: np.ndarray) -> np.ndarray:
        return np.where(np.eye(K)[GOLD] > 0, right[:, None], (1 - right[:, None]) / (K - 1))

    probs = {"steady": at_gold(np.full(N, 0.6))}
    probs |= {str(one): at_gold(np.where(quarter == one, 0.05, 0.9)) for one in range(4)}
    assert len(choose_ensemble(probs, GOLD, GROUPS, 8, 3, 0, means=("log",))[0]) == 5
    names, plan = choose_ensemble(probs, GOLD, GROUPS, 2, 3, 0, means=("log",))
    assert (names, [level.weights for level in plan.levels]) == (("steady",), [(1.0,)])


@settings(max_examples=15)
@given(seed=st.integers(0, 99), members=st.integers(2, 4))
def test_it_is_never_worse_on_dev_than_its_best_member(seed, members):
    probs = {str(one): answers(1.5, 100 * seed + one) for one in range(members)}
    names, plan = choose_ensemble(probs, GOLD, GROUPS, 8, 3, seed)
    assert loss(probs, names, plan) <= min(float(log_loss(one, GOLD)) for one in probs.values()) + 1e-12
