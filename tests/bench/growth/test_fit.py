"""Exponents are those that the cases were made of."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bench.growth.fit import fitted

XS = [10, 100, 1000, 10_000, 100_000]


@given(st.floats(0.2, 3.0), st.floats(1e-6, 1e3))
def test_a_power_is_found(exponent, factor):
    found = fitted(XS, [factor * x**exponent for x in XS])
    assert found.exponent.value == pytest.approx(exponent, abs=1e-9)
    assert found.factor == pytest.approx(factor, rel=1e-6)
    assert found.exponent.high - found.exponent.low < 1e-6


@given(st.integers(0, 1000))
@settings(max_examples=15)
def test_the_interval_is_scipys(seed):
    ys = np.exp(np.random.default_rng(seed).normal(size=4)) * np.array(XS[-4:])
    found, line = fitted(XS[-4:], ys.tolist()), stats.linregress(np.log(XS[-4:]), np.log(ys))
    reach = stats.t.ppf(0.975, 2) * line.stderr
    assert found.exponent == pytest.approx((line.slope, line.slope - reach, line.slope + reach))


def test_a_fixed_cost_is_left_to_the_small_cases():
    found = fitted([1, *XS], [5 + 0.1 * x for x in (1, *XS)])
    assert 0.9 < found.exponent.value < 1
    assert found.steep_from is None


def test_where_growth_stops_being_linear_is_said():
    ys = [max(x, x**2 / 1000) for x in XS]
    assert fitted(XS, ys).steep_from == 1000
    # One case that took long, and the next one not: the machine's.
    assert fitted(XS, [10, 500, 1000, 10_000, 100_000]).steep_from is None


def test_few_cases_say_what_they_can():
    assert fitted([10], [1.0]) is None
    assert fitted([10, 100], [1.0, 10.0]).exponent == (1.0, -np.inf, np.inf)
