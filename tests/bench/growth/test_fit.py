"""Exponents are those that cases were made of, whatever their start; none is told of cases that are all start."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.growth.fit import expected, fitted

XS = [10, 100, 1000, 10_000, 100_000]


@given(st.floats(0.5, 3.0), st.floats(1e-6, 1e3), st.sampled_from([0.0, 0.3, 3.0, 30.0]))
@settings(max_examples=40, deadline=None)
def test_a_power_is_found_behind_any_start(exponent, factor, starts):
    """A start of up to thirty times what the smallest case works."""
    start = starts * factor * XS[0] ** exponent
    found = fitted(XS, [start + factor * x**exponent for x in XS])
    assert found.exponent is None or found.exponent == pytest.approx(exponent, abs=1e-3)
    assert found.exponent is not None or starts == 30 or exponent < 1
    assert found.exponent is None or found.factor == pytest.approx(factor, rel=0.02)


def test_start_is_not_taken_for_slow_growth():
    """Measured: n-grams by rows. A line through the logarithms of the upper four says x^0.70 [0.12, 1.28]."""
    found = fitted([100, 1000, 10_000, 100_000, 1_000_000], [0.631, 0.895, 1.36, 10.1, 101])
    assert found.exponent == pytest.approx(1.0, abs=0.05)
    assert found.start == pytest.approx(0.6, abs=0.1)
    assert found.last == pytest.approx(1.0, abs=0.01)


def test_of_cases_that_are_nearly_all_start_no_exponent_is_told():
    found = fitted([2, 8, 18, 77], [0.935, 0.949, 0.966, 1.70])
    assert (found.start, found.factor, found.exponent) == (None, None, None)
    assert found.last == pytest.approx(0.39, abs=0.01)
    # One that is clear of the start is none to fit a line through.
    assert fitted(XS, [1.0, 1.0, 1.1, 2.0, 11.0]).exponent is None


def test_where_growth_stops_being_linear_is_said():
    ys = [max(x, x**2 / 1000) for x in XS]
    assert fitted(XS, ys).steep_from == 1000
    # One case that took long, and the next one not: the machine's.
    assert fitted(XS, [10, 500, 1000, 10_000, 100_000]).steep_from is None


def test_few_cases_say_what_they_can():
    assert fitted([10], [1.0]) is None
    found = fitted([10, 100], [1.0, 10.0])
    assert (found.exponent, found.last) == (None, pytest.approx(1.0))
    assert fitted([10, 100, 1000], [1.0, 10.0, 100.0]).exponent is None


def test_the_next_case_is_expected_by_the_last_two():
    assert expected([], [], 10) is None
    assert expected([10], [2.0], 30) == pytest.approx(6.0)
    assert expected([1, 10, 100], [50.0, 1.0, 100.0], 1000) == pytest.approx(10_000)
    # A start that took longer than the next case is no reason to expect less still.
    assert expected([100, 1000], [5.2, 4.5], 10_000) == 4.5
