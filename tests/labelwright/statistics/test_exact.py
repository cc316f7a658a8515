"""Exact tests against scipy's, and what is promised of looking again and again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from labelwright.statistics.exact import clopper_pearson, confidence_sequence, fisher, is_told_apart, sign_test

counts = st.tuples(st.integers(1, 400), st.integers(1, 4000), st.floats(0, 1), st.floats(0, 1), st.integers(0, 9))


@given(counts)
def test_fishers_test_is_twice_the_smaller_tail_of_scipys_hypergeometric(given_counts):
    n, m, share, before, seed = given_counts
    draw = np.random.default_rng(seed)
    yes, yes_before = int(draw.binomial(n, share)), int(draw.binomial(m, before))
    law = stats.hypergeom(n + m, yes + yes_before, n)
    expected = min(1.0, 2 * min(law.cdf(yes), law.sf(yes - 1)))
    assert fisher([yes], n, [yes_before], m)[0] == pytest.approx(expected, rel=1e-6, abs=1e-200)


def test_fishers_test_holds_its_level_given_the_margins():
    """Over every table that there can be, p <= a has probability a at most."""
    n, m, all_yes = 40, 90, 13
    tables = np.arange(all_yes + 1)
    p = fisher(tables, n, all_yes - tables, m)
    chance = stats.hypergeom(n + m, all_yes, n).pmf(tables)
    for level in (0.2, 0.05, 0.01, 0.001):
        assert chance[p <= level].sum() <= level


def test_many_labels_are_asked_about_at_once():
    draw = np.random.default_rng(0)
    yes, before = draw.multinomial(500, np.ones(1000) / 1000), draw.multinomial(10**6, np.ones(1000) / 1000)
    one_by_one = [fisher([a], 500, [b], 10**6)[0] for a, b in zip(yes[:20], before[:20], strict=True)]
    assert fisher(yes, 500, before, 10**6)[:20].tolist() == pytest.approx(one_by_one)


def test_the_sign_test_is_mcnemars_exact_one():
    for first, second in ((0, 0), (3, 3), (1, 7), (40, 61), (0, 300)):
        expected = stats.binomtest(first, first + second, 0.5).pvalue if first + second else 1.0
        assert sign_test(first, second) == pytest.approx(expected)


@settings(max_examples=30)
@given(st.integers(1, 500), st.floats(0, 1), st.sampled_from([0.9, 0.95, 0.975]))
def test_clopper_and_pearsons_interval_is_scipys(n, share, level):
    yes = round(share * n)
    expected = stats.binomtest(yes, n).proportion_ci(level)
    assert clopper_pearson(yes, n, level)[1:] == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_a_confidence_sequence_holds_the_share_at_every_row_at_once():
    """Wilson's interval, looked at after every row, leaves the true share out in far more than 5 % of streams."""
    draw, n, share = np.random.default_rng(1), 800, 0.9
    missed = {"always": 0, "once": 0}
    for _ in range(300):
        sums = np.cumsum(draw.random(n) < share).tolist()
        missed["always"] += any(is_told_apart(yes, row, share) for row, yes in enumerate(sums, start=1))
        z = [abs(yes - row * share) / (row * share * (1 - share)) ** 0.5 for row, yes in enumerate(sums, start=1)]
        missed["once"] += max(z[9:]) > 1.96
    # P(at most 24 of 300 at 5 %) is 0.99.
    assert missed["always"] <= 24 < missed["once"]


@given(st.integers(0, 300), st.integers(1, 300), st.floats(0.001, 0.999))
def test_told_apart_is_what_the_sequence_leaves_out(yes, n, share):
    yes = min(yes, n)
    _, low, high = confidence_sequence(yes, n)
    if min(abs(share - low), abs(share - high)) > 1e-6:
        assert is_told_apart(yes, n, share) is (not low <= share <= high)


def test_before_the_first_row_nothing_is_known():
    assert confidence_sequence(0, 0)[1:] == (0.0, 1.0)
    assert not is_told_apart(0, 0, 0.3)
    assert is_told_apart(1, 1, 0.0)
