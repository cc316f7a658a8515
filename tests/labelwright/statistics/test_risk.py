"""Exact bounds, held to scipy's, and a promise that is broken no more often than it says: by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, binom, binomtest

from labelwright.statistics.risk import Counts, binomial_tail, least_rows, log_binomial_tail, risk_bound


@given(st.integers(0, 400), st.integers(0, 400), st.floats(0.001, 0.999))
def test_the_tail_is_the_binomials(wrong, more, rate):
    n = wrong + more
    expected = binom.logcdf(wrong, n, rate)
    # Scipy's own logarithm is of a number that may be 0 already.
    assert log_binomial_tail(wrong, n, rate) == pytest.approx(expected, rel=1e-6, abs=1e-9) or expected < -300


@given(st.integers(0, 60), st.integers(1, 200), st.floats(0.5, 0.999))
def test_the_bound_is_clopper_and_pearsons(wrong, more, confidence):
    bound = risk_bound(wrong, wrong + more, confidence)
    assert bound == pytest.approx(beta.ppf(confidence, wrong + 1, more), abs=1e-9)
    assert binomial_tail(wrong, wrong + more, bound) == pytest.approx(1 - confidence, rel=1e-6)


@given(st.floats(0.005, 0.5), st.floats(0.5, 0.999))
def test_fewer_rows_promise_nothing(rate, confidence):
    n = least_rows(rate, confidence)
    assert binomial_tail(0, n, rate) <= (1 - confidence) * (1 + 1e-6)
    assert binomial_tail(0, n - 1, rate) > (1 - confidence) * (1 - 1e-6)


def counts(*rows: tuple[float, int, int, int, int]) -> Counts:
    """Threshold, answered and wrong of the first side, answered and wrong of the tested one."""
    return Counts(tuple(r[0] for r in rows), tuple(r[1:3] for r in rows), tuple(r[3:] for r in rows))


def test_it_goes_down_while_each_passes_and_not_beyond_the_first_that_does_not():
    table = counts(
        (0.9, 50, 0, 50, 0),
        (0.8, 200, 1, 200, 1),  # the first side finds this the easiest
        (0.7, 220, 4, 220, 4),
        (0.6, 240, 9, 240, 12),  # 5 % is not excluded
        (0.5, 400, 9, 4000, 12),  # it would pass, and is not asked any more
        (0.0, 500, 200, 500, 200),
    )
    assert table.threshold(0.05, 0.95) == 0.7
    assert table.threshold(0.001, 0.95) == math.inf
    assert table.threshold(0.5, 0.95) == 0.0


def test_the_order_is_the_first_sides_whatever_the_tested_rows_say():
    table = counts((0.9, 10, 0, 300, 0), (0.5, 300, 0, 300, 60), (0.0, 400, 200, 400, 0))
    assert table.threshold(0.05, 0.95) == math.inf


def test_counting_rows():
    confidence, wrong = np.array([0.9, 0.8, 0.8, 0.3, -1.0]), np.array([0, 1, 0, 1, 1])
    table = Counts.of((confidence, wrong), (confidence, wrong), n_thresholds=4)
    assert table.thresholds[-1] == 0.0
    assert list(table.thresholds) == sorted(table.thresholds, reverse=True)
    assert table.tested[-1] == (4, 2)  # what is not answered counts nowhere
    assert table.tested[table.thresholds.index(0.8)] == (3, 1)
    assert Counts.of((np.zeros(0), np.zeros(0)), (confidence, wrong)).thresholds == (0.0,)


def test_how_many_more_rows_would_do():
    table = counts((0.9, 40, 0, 40, 0), (0.0, 100, 40, 100, 40))
    n = round(40 * table.times_needed(0.05, 0.95))
    # As if 1 of 82 were wrong: the first number of rows of which so many may be.
    assert (n, math.ceil(n / 82)) == (124, 2)
    assert binomial_tail(2, 124, 0.05) < 0.05 < binomial_tail(2, 123, 0.05)
    assert counts((0.0, 100, 40, 100, 40)).times_needed(0.05, 0.95) == math.inf


def draw(chance: np.random.Generator, n_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows whose confidence is right."""
    confidence = 1 - chance.beta(0.6, 3, size=n_rows)
    return confidence, (chance.random(n_rows) > confidence).astype(np.int64)


def true_rate(threshold: float) -> float:
    """Wrong among the answered: the mean of a beta distribution cut off at 1 - threshold."""
    doubt, mean = 1 - threshold, 0.6 / 3.6
    return float(mean * beta.cdf(doubt, 1.6, 3) / beta.cdf(doubt, 0.6, 3))


def test_the_promise_is_broken_no_more_often_than_it_says():
    """Where it is nearly tight: an order from few rows, and a rate near the wanted one at most thresholds."""
    chance, delta = np.random.default_rng(0), 0.2
    found = [Counts.of(draw(chance, 300), draw(chance, 300)).threshold(0.08, 1 - delta) for _ in range(200)]
    made = [one for one in found if math.isfinite(one)]
    n_broken = sum(true_rate(one) > 0.08 for one in made)
    assert len(made) > 130
    assert binomtest(n_broken, len(found), delta, alternative="greater").pvalue > 0.01
    # It would be worth little if it never were: it is not that cautious.
    assert n_broken > 0
