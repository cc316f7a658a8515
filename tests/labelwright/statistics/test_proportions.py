"""Intervals of shares and of paired differences: that they hold their level, and are never without a width."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t as student

from labelwright.errors import DataError
from labelwright.statistics import proportions
from labelwright.statistics.intervals import bootstrap_intervals
from labelwright.statistics.proportions import (
    Interval,
    difference_ends,
    difference_interval,
    effective_rows,
    priced_difference_interval,
    rows_needed,
    share_ends,
    share_interval,
    wilson,
)

N_DRAWS = 1500
SIZES = (20, 50, 200)
SHARES = (0.5, 0.8, 0.95, 0.99)


def grouping(kind: str, n: int) -> tuple[np.ndarray, float]:
    """The rows' groups, and how alike rows of one group are."""
    if kind == "independent":
        return np.arange(n), 0.0
    if kind == "pairs":
        return np.arange(n) // 2, 0.6
    sizes = np.tile([1, 1, 2, 3, 8], n)
    return np.repeat(np.arange(len(sizes)), sizes)[:n], 0.8


def draw(index: np.ndarray, alike: float, share: float, rng: np.random.Generator, n_draws: int = N_DRAWS) -> np.ndarray:
    """Rows of ``n_draws`` test splits that hold with probability ``share``, within-group correlation ``alike``."""
    n_groups = index.max() + 1
    whole = (rng.random((n_draws, n_groups)) < alike)[:, index]
    common = (rng.random((n_draws, n_groups)) < share)[:, index]
    return np.where(whole, common, rng.random((n_draws, len(index))) < share).astype(float)


def test_ten_of_ten_is_not_certainty() -> None:
    assert share_interval(np.ones(10)) == Interval(1.0, pytest.approx(0.7225, abs=1e-3), 1.0)
    assert share_interval(np.zeros(10)) == Interval(0.0, 0.0, pytest.approx(0.2775, abs=1e-3))
    for metrics in (bootstrap_intervals(np.eye(2)[np.arange(10) % 2], np.arange(10) % 2, n_resamples=50),):
        assert metrics["accuracy"].low == pytest.approx(0.7225, abs=1e-3)
        assert metrics["macro_f1"] == (1.0, metrics["accuracy"].low, 1.0)
    wrong = bootstrap_intervals(np.eye(2)[1 - np.arange(10) % 2], np.arange(10) % 2, n_resamples=50)
    assert wrong["accuracy"].high == wrong["macro_f1"].high == pytest.approx(0.2775, abs=1e-3)


@pytest.mark.parametrize("kind", ["independent", "pairs", "uneven"])
def test_the_interval_of_a_share_covers_it(kind: str) -> None:
    """Nominal 95 %. The percentile bootstrap covers 0.64 at 20 rows and a share of 0.95."""
    rng = np.random.default_rng(1)
    covered, widths = {}, {}
    for n in SIZES:
        index, alike = grouping(kind, n)
        for share in SHARES:
            values = draw(index, alike, share, rng)
            low, high = share_ends(values, index)
            covered[n, share] = ((low <= share) & (share <= high)).mean()
            if share == 0.5:
                widths[n] = (high - low).mean() / np.ptp(np.quantile(values.mean(axis=1), [0.025, 0.975]))
    assert np.mean(list(covered.values())) >= 0.94, covered
    assert min(covered.values()) >= 0.88, covered
    # Not by being absurdly wide: about as wide as the share really varies.
    assert max(widths.values()) < 1.6, widths
    assert widths[200] < 1.25, widths


@pytest.mark.parametrize("kind", ["independent", "pairs", "uneven"])
def test_the_interval_of_a_difference_covers_it(kind: str) -> None:
    rng = np.random.default_rng(2)
    for level in (0.95, 1 - 0.05 / 24):
        covered = {}
        for n in SIZES:
            index, alike = grouping(kind, n)
            for only_a, only_b in ((0.0, 0.05), (0.02, 0.02), (0.1, 0.2), (0.3, 0.1)):
                # Rows of a group that are alike differ in the same way.
                n_groups = index.max() + 1
                whole = (rng.random((N_DRAWS, n_groups)) < alike)[:, index]
                chance = np.where(whole, rng.random((N_DRAWS, n_groups))[:, index], rng.random((N_DRAWS, n)))
                net = (chance < only_a).astype(float) - (chance > 1 - only_b)
                low, high = difference_ends(net, index, level)
                true = only_a - only_b
                covered[n, only_a, only_b] = ((low <= true) & (true <= high)).mean()
        assert np.mean(list(covered.values())) >= level - 0.012, covered


@given(st.integers(0, 10_000), st.integers(1, 60), st.integers(1, 12), st.sampled_from([0.8, 0.95, 0.998]))
@settings(deadline=None, max_examples=80)
def test_an_interval_holds_its_value_and_has_a_width(seed: int, n: int, n_groups: int, level: float) -> None:
    rng = np.random.default_rng(seed)
    groups = rng.integers(n_groups, size=n).astype(str).tolist()
    for share in (0.0, 0.3, 0.97, 1.0):
        right = rng.random(n) < share
        net = right.astype(int) - (rng.random(n) < share)
        for given_groups in (None, groups):
            for found, least in (
                (share_interval(right, given_groups, level), 0.0),
                (difference_interval(net, given_groups, level), -1.0),
            ):
                assert least <= found.low <= found.value <= found.high <= 1
                assert found.high - found.low > 0.5 / (n + 4)


def test_without_groups_and_with_groups_of_one_row_it_is_wilsons() -> None:
    right = np.arange(30) % 7 > 0
    alone = [str(i) for i in range(30)]
    assert share_interval(right) == share_interval(right, alone) == wilson(right.mean(), 30)


def test_groups_all_right_count_as_groups_and_not_as_rows() -> None:
    pairs = np.repeat(np.arange(20), 2).astype(str)
    found = share_interval(np.ones(40), pairs)
    assert wilson(1.0, 20).low - 0.01 < found.low <= wilson(1.0, 20).low
    one_group = share_interval(np.ones(40), ["g"] * 40)
    assert one_group == wilson(1.0, 1.0)
    # A group of 38 and two of one are hardly more than one group.
    assert share_interval(np.ones(40), ["g"] * 38 + ["h", "i"]).low < wilson(1.0, 2).low


def test_one_error_more_never_narrows_the_lower_end_much() -> None:
    """What is not learnt about groups without an error is not all forgotten with the first one."""
    pairs = np.repeat(np.arange(50), 2).astype(str)
    lows = [share_interval(np.arange(100) >= n_wrong, pairs).low for n_wrong in range(12)]
    assert all(after <= before for before, after in pairwise(lows)), lows


def test_copies_count_once() -> None:
    rng = np.random.default_rng(0)
    right = rng.random(60) < 0.7
    alone, copied = share_interval(right), share_interval(np.repeat(right, 5), np.repeat(np.arange(60), 5).astype(str))
    assert copied.high - copied.low == pytest.approx(alone.high - alone.low, rel=0.05)
    net = rng.integers(-1, 2, size=60)
    alone, copied = (
        difference_interval(net),
        difference_interval(np.repeat(net, 5), np.repeat(np.arange(60), 5).astype(str)),
    )
    assert copied.high - copied.low == pytest.approx(alone.high - alone.low, rel=0.05)


def test_opposite_rows_in_a_group_are_no_more_than_their_rows() -> None:
    index = np.arange(40) // 2
    assert effective_rows(np.arange(40) % 2 * 1.0, index) <= 40


def test_equal_answers_on_all_rows_are_not_known_to_be_equal_elsewhere() -> None:
    few, many = difference_interval(np.zeros(12)), difference_interval(np.zeros(1200))
    assert few.low < -0.15
    assert few.high > 0.15
    assert -0.005 < many.low < 0 < many.high < 0.005


def test_bonett_and_price_by_hand() -> None:
    # 2012, with n12 = 1 and n21 = 7 of 59 pairs: -0.098 +- 1.96 * sqrt((2 + 8) / 61 - 0.098^2) / sqrt(61).
    net = np.repeat([1, -1, 0], [1, 7, 51])
    p = np.array([2, 8]) / 61
    half = 1.959964 * np.sqrt((p.sum() - (p[0] - p[1]) ** 2) / 61)
    found = difference_interval(net)
    assert found.value == pytest.approx(-6 / 59)
    assert (found.low, found.high) == pytest.approx((p[0] - p[1] - half, p[0] - p[1] + half), abs=1e-7)


def test_students_quantile_is_near_enough() -> None:
    for level in (0.9, 0.95, 0.998):
        for df in (3, 5, 10, 40, 1000):
            assert proportions._t(df, level) == pytest.approx(
                student.ppf((1 + level) / 2, df), rel=0.06 if df < 5 else 0.01
            )


def test_no_rows_and_groups_of_another_length_are_refused() -> None:
    with pytest.raises(DataError, match="at least one row"):
        share_interval(np.array([]))
    with pytest.raises(DataError, match="2 groups for 3 rows"):
        difference_interval(np.zeros(3), ["a", "b"])


# --- differences of costs ---


def test_of_prices_0_and_1_a_difference_of_costs_is_one_of_accuracies() -> None:
    draw = np.random.default_rng(4)
    for n, groups in ((7, None), (120, None), (120, [str(i // 3) for i in range(120)])):
        net = draw.choice([-1, 0, 1], size=n, p=[0.1, 0.7, 0.2])
        for level in (0.95, 0.998):
            expected = difference_interval(net, groups, level)
            assert priced_difference_interval(net, 1.0, groups, level) == pytest.approx(expected, abs=1e-12)
            of_cents = priced_difference_interval(100 * net, 100.0, groups, level)
            assert of_cents == pytest.approx([100 * one for one in expected], abs=1e-9)


def test_a_dear_mistake_that_the_rows_may_lack_is_reckoned_with() -> None:
    """One row of two hundred costs twenty: of 60 rows, three in four have none, and drawing from them finds none."""
    draw = np.random.default_rng(0)
    shares, values = np.array([0.005, 0.05, 0.035]), np.array([20.0, 1.0, -1.0])
    truth, held, held_by_draws = float(shares @ values), 0, 0
    for _ in range(300):
        counts = draw.multinomial(60, [*shares, 1 - shares.sum()])
        net = np.repeat([*values, 0.0], counts)
        low, high = priced_difference_interval(net, 20.0)[1:]
        held += low <= truth <= high
        least, most = np.quantile(net[draw.integers(0, 60, (400, 60))].mean(axis=1), [0.025, 0.975])
        held_by_draws += least <= truth <= most
    assert held >= 0.95 * 300
    assert held_by_draws <= 0.7 * 300
    print(f"of 300 intervals at 95 % {held} hold the truth, of a bootstrap's {held_by_draws}")


@given(st.lists(st.sampled_from([0.0, 0.0, 1.0, 3.5]), min_size=1, max_size=20), st.integers(1, 40), st.booleans())
def test_as_many_rows_as_are_needed_have_an_interval_as_wide_as_the_margin(
    one_way: list[float], times: int, in_pairs: bool
) -> None:
    net = np.array([*one_way, *(-one for one in one_way)])
    groups = None if not in_pairs else [str(i) for i in range(len(net))]
    high = priced_difference_interval(np.tile(net, times), 20.0, None, 0.99).high
    assert rows_needed(net, 20.0, high, groups, 0.99) == pytest.approx(times * len(net))
