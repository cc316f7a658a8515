"""Metrics of levels against scikit-learn and scipy, on any rows and on any resample of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.metrics import cohen_kappa_score, mean_absolute_error

from labelwright.statistics.intervals import bootstrap_intervals
from labelwright.statistics.ordered import ORDERED, levels_of

VALUES = [1.0, 2.0, 4.0, 5.0]


def rows(seed: int, n_rows: int = 30):
    chance = np.random.default_rng(seed)
    # Few different rows, so that there are ties.
    probs = chance.dirichlet(np.ones(4), 8)[chance.integers(8, size=n_rows)]
    return probs, chance.integers(4, size=n_rows), chance.integers(0, 4, size=n_rows)


@given(seed=st.integers(0, 10_000))
def test_as_scikit_learn_and_scipy_have_them(seed: int) -> None:
    probs, gold, weights = rows(seed)
    weights[0] += 1
    worth = np.array(VALUES)
    read = levels_of(probs, gold, VALUES)
    for each in (None, weights):
        kept = np.repeat(np.arange(len(gold)), 1 if each is None else each)
        said, right, mean = probs.argmax(axis=1)[kept], gold[kept], (probs @ worth)[kept]
        found = {name: float(one(read, gold, each)) for name, one in ORDERED.items()}
        assert found["mean_absolute_error"] == pytest.approx(mean_absolute_error(worth[right], worth[said]))
        assert found["mean_absolute_error_of_mean"] == pytest.approx(mean_absolute_error(worth[right], mean))
        if len({*said.tolist(), *right.tolist()}) > 1:
            kappa = cohen_kappa_score(right, said, weights="quadratic", labels=range(4))
            assert found["quadratic_kappa"] == pytest.approx(kappa)
        if np.ptp(right) and np.ptp(mean):
            assert found["spearman"] == pytest.approx(spearmanr(mean, worth[right]).statistic)


@given(seed=st.integers(0, 10_000))
def test_a_block_of_resamples_is_each_of_them(seed: int) -> None:
    probs, gold, weights = rows(seed)
    block = np.stack([weights + 1.0, np.ones(len(gold)), np.arange(len(gold)) % 3 + 0.0])
    read = levels_of(probs, gold, VALUES)
    for metric in ORDERED.values():
        assert metric(read, gold, block) == pytest.approx([float(metric(read, gold, one)) for one in block])


def test_a_row_without_an_answer_is_as_wrong_as_can_be() -> None:
    probs = np.array([[0.0, 0, 0, 0], [0, 0, 0, 1]])
    read = levels_of(probs, np.array([1, 3]), VALUES)
    assert read.value.tolist() == read.mean.tolist() == [5.0, 5.0]
    assert float(ORDERED["mean_absolute_error"](read, np.array([1, 3]))) == 1.5


def test_levels_that_are_all_one_and_all_right() -> None:
    gold = np.array([2, 2, 2])
    read = levels_of(np.eye(4)[gold], gold, VALUES)
    found = bootstrap_intervals(read, gold, metrics=ORDERED, n_resamples=50)
    assert [found[name].value for name in ORDERED] == [0.0, 0.0, 1.0, 0.0]


def test_what_is_said_may_be_another_level_than_the_likeliest() -> None:
    probs, gold = np.array([[0.4, 0.3, 0.3, 0.0]]), np.array([1])
    read = levels_of(probs, gold, VALUES, said=np.array([1]))
    assert float(ORDERED["mean_absolute_error"](read, gold)) == 0.0


def test_groups_widen_the_interval() -> None:
    probs, gold, _ = rows(0, 120)
    read = levels_of(probs, gold, VALUES)
    alone = bootstrap_intervals(read, gold, metrics=ORDERED)
    together = bootstrap_intervals(
        levels_of(np.repeat(probs[:30], 4, axis=0), np.repeat(gold[:30], 4), VALUES),
        np.repeat(gold[:30], 4),
        [str(i // 4) for i in range(120)],
        metrics=ORDERED,
    )
    for name in ORDERED:
        assert alone[name].low <= alone[name].value <= alone[name].high
        assert together[name].high - together[name].low > 1.3 * (alone[name].high - alone[name].low)
