"""Bootstrap intervals and paired tests."""

from __future__ import annotations

from itertools import product
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from labelwright.errors import DataError
from labelwright.statistics import intervals
from labelwright.statistics.intervals import (
    Interval,
    Resampled,
    bootstrap_intervals,
    gain_test,
    holm,
    mcnemar,
    paired_cost_test,
    paired_test,
    resample,
    resampled_means,
    sign_flip,
    wilson,
)
from labelwright.statistics.metrics import METRICS, evaluate


def one_hot(labels: np.ndarray, n_labels: int = 2) -> np.ndarray:
    return np.eye(n_labels)[labels]


def draw(seed: int, n_rows: int, n_labels: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.ones(n_labels), size=n_rows), rng.integers(n_labels, size=n_rows)


def difference(a: np.ndarray, b: np.ndarray, *rest: Any, **settings: Any) -> dict[str, Resampled]:
    found = resample({"a": a, "b": b}, *rest, **settings)
    return {name: found["a"][name].minus(found["b"][name]) for name in METRICS}


@given(st.integers(0, 10_000), st.integers(1, 80), st.integers(1, 20))
@settings(deadline=None, max_examples=30)
def test_intervals_hold_the_value(seed: int, n_rows: int, n_groups: int) -> None:
    probs, gold = draw(seed, n_rows)
    groups = [str(row % n_groups) for row in range(n_rows)]
    values = evaluate(probs, gold)
    for given_groups in (None, groups):
        found = bootstrap_intervals(probs, gold, given_groups, n_resamples=200, seed=seed)
        assert set(found) == set(METRICS)
        for name, interval in found.items():
            assert interval.value == pytest.approx(values[name])
            assert interval.low <= interval.value <= interval.high


def test_accuracy_interval_is_as_wide_as_theory_says() -> None:
    gold = np.zeros(400, dtype=int)
    probs = one_hot((np.arange(400) % 4 == 0).astype(int))
    interval = bootstrap_intervals(probs, gold)["accuracy"]
    half = 1.96 * np.sqrt(0.75 * 0.25 / 400)
    assert interval.low == pytest.approx(0.75 - half, abs=0.008)
    assert interval.high == pytest.approx(0.75 + half, abs=0.008)


def test_copies_in_a_group_do_not_narrow_the_interval() -> None:
    rng = np.random.default_rng(0)
    wrong = rng.integers(2, size=60)
    alone = bootstrap_intervals(one_hot(wrong), np.zeros(60, dtype=int))["accuracy"]
    copied = np.repeat(wrong, 5)
    groups = np.repeat(np.arange(60), 5)
    grouped = bootstrap_intervals(one_hot(copied), np.zeros(300, dtype=int), groups)["accuracy"]
    naive = bootstrap_intervals(one_hot(copied), np.zeros(300, dtype=int))["accuracy"]
    assert grouped.high - grouped.low == pytest.approx(alone.high - alone.low, abs=0.02)
    assert naive.high - naive.low < 0.6 * (grouped.high - grouped.low)


def test_same_seed_same_interval_whatever_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    probs, gold = draw(1, 50)
    whole = bootstrap_intervals(probs, gold, n_resamples=100, seed=3)
    assert bootstrap_intervals(probs, gold, n_resamples=100, seed=4) != whole
    monkeypatch.setattr(intervals, "_BLOCK_NUMBERS", 50 * 7)
    blocked = bootstrap_intervals(probs, gold, n_resamples=100, seed=3)
    for name, interval in whole.items():
        assert blocked[name] == pytest.approx(interval)


def test_groups_of_another_length_are_refused() -> None:
    probs, gold = draw(1, 5)
    with pytest.raises(DataError, match="2 groups for 5 rows"):
        bootstrap_intervals(probs, gold, ["a", "b"])


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_the_exact_binomial_test(n_only_a: int, n_only_b: int) -> None:
    n = n_only_a + n_only_b
    expected = binomtest(n_only_a, n).pvalue if n else 1.0
    assert mcnemar(n_only_a, n_only_b) == pytest.approx(expected)
    assert mcnemar(n_only_a, n_only_b) == mcnemar(n_only_b, n_only_a)


def test_mcnemar_of_very_many_rows() -> None:
    assert 0 < mcnemar(4000, 6000) < 1e-80


@given(st.integers(0, 30), st.integers(0, 30))
def test_sign_flip_of_single_rows_is_mcnemar(n_only_a: int, n_only_b: int) -> None:
    net = np.array([1] * n_only_a + [-1] * n_only_b + [0] * 3)
    assert sign_flip(net) == pytest.approx(mcnemar(n_only_a, n_only_b))


@given(st.lists(st.integers(-4, 4), min_size=1, max_size=8))
def test_sign_flip_counts_every_assignment(net: list[int]) -> None:
    sums = [abs(sum(s * n for s, n in zip(signs, net, strict=True))) for signs in product([1, -1], repeat=len(net))]
    expected = np.mean([value >= abs(sum(net)) for value in sums])
    assert sign_flip(np.array(net)) == pytest.approx(expected)


def test_paired_test_counts_and_respects_groups() -> None:
    gold = np.zeros(40, dtype=int)
    a, b = one_hot(np.zeros(40, dtype=int)), one_hot(np.repeat([1, 0], [10, 30]))
    rows = paired_test(a, b, gold)
    assert (rows.n_only_a, rows.n_only_b) == (10, 0)
    assert rows.p_value == mcnemar(10, 0)
    assert difference(a, b, gold)["accuracy"].value == 0.25
    assert difference(a, b, gold)["accuracy"].interval().low > 0
    # The ten rows are one group: a single coin toss decided them all.
    groups = [str(row // 10) for row in range(40)]
    assert paired_test(a, b, gold, groups).p_value == 1.0
    assert difference(a, b, gold, groups)["accuracy"].interval().low == 0


def test_a_classifier_with_a_column_for_no_label_can_be_tested_against_one_without() -> None:
    gold = np.array([0, 0, 1])
    found = paired_test(one_hot(np.array([0, 2, 2]), 3), one_hot(np.array([1, 1, 1])), gold)
    assert (found.n_only_a, found.n_only_b) == (1, 1)


def test_paired_difference_is_narrower_than_two_intervals() -> None:
    probs, gold = draw(5, 200)
    near = 0.98 * probs + 0.02 / 3
    paired = difference(probs, near, gold, n_resamples=300)["log_loss"].interval()
    alone = bootstrap_intervals(probs, gold, n_resamples=300)["log_loss"]
    assert paired.high - paired.low < 0.5 * (alone.high - alone.low)
    same = difference(probs, probs, gold, n_resamples=50)["brier"]
    assert same.interval() == (0, 0, 0)
    assert same.p_value() == 1


def test_resamples_are_the_same_in_two_calls() -> None:
    probs, gold = draw(5, 30)
    alone = resample({"a": probs}, gold, n_resamples=20)["a"]
    beside = resample({"b": probs[::-1], "a": probs}, gold, n_resamples=20)["a"]
    for name in METRICS:
        assert (alone[name].draws == beside[name].draws).all()


def test_the_bootstrap_p_value_and_the_interval_say_the_same() -> None:
    for seed in range(40):
        rng = np.random.default_rng(seed)
        draws = rng.normal(rng.normal(), 1, size=999)
        found = Resampled(float(draws.mean()), draws)
        narrow, wide = (found.interval(1 - found.p_value() + step) for step in (-0.004, 0.004))
        assert not narrow.low <= 0 <= narrow.high or found.p_value() > 0.99
        assert wide.low <= 0 <= wide.high


def test_the_bootstrap_p_value_by_hand() -> None:
    assert Resampled(1.0, np.ones(999)).p_value() == pytest.approx(2 / 1000)
    assert Resampled(-1.0, np.array([-1.0, -1, -1, 1])).p_value() == pytest.approx(2 * 2 / 5)
    # Rounding is neither above nor below.
    assert Resampled(0.0, np.array([1e-17, 1e-17, 1e-17])).p_value() == 1


def test_equal_classifiers_are_seldom_told_apart() -> None:
    """Two classifiers that err independently and alike: at 5 %, about one pair in twenty differs."""
    rng = np.random.default_rng(0)
    gold, told_apart = np.arange(120) % 4, {"macro_f1": 0, "log_loss": 0}
    for _ in range(150):
        a, b = (rng.dirichlet(np.ones(4), size=120) + 0.6 * np.eye(4)[gold] for _ in range(2))
        found = difference(a / a.sum(1, keepdims=True), b / b.sum(1, keepdims=True), gold, n_resamples=300)
        for name in told_apart:
            told_apart[name] += found[name].p_value() < 0.05
    assert all(1 <= n <= 18 for n in told_apart.values()), told_apart


def test_holm_is_never_below_the_plain_value_and_keeps_the_order() -> None:
    plain = {"a": 0.01, "b": 0.02, "c": 0.5, "d": 0.9}
    assert holm(plain) == pytest.approx({"a": 0.04, "b": 0.06, "c": 1.0, "d": 1.0})
    assert holm({}) == {}


def test_wilson_interval() -> None:
    # Wilson 1927, as in Newcombe 1998, table I: 15 of 148.
    low, high = wilson(15 / 148, 148)[1:]
    assert (low, high) == pytest.approx((0.0624, 0.1605), abs=1e-4)
    assert wilson(1.0, 5) == Interval(1.0, pytest.approx(0.5655, abs=1e-3), 1.0)


def test_groups_are_drawn_whole_for_every_metric() -> None:
    probs, gold = draw(2, 40)
    copied, groups = np.repeat(probs, 6, axis=0), np.repeat(np.arange(40), 6).astype(str).tolist()
    for name, together in bootstrap_intervals(copied, np.repeat(gold, 6), groups, n_resamples=400).items():
        apart = bootstrap_intervals(copied, np.repeat(gold, 6), n_resamples=400)[name]
        assert together.high - together.low > 1.6 * (apart.high - apart.low), name


# --- costs ---


def test_of_prices_0_and_1_the_test_of_costs_is_the_paired_test() -> None:
    draw = np.random.default_rng(2)
    for groups in (None, [str(i // 4) for i in range(80)]):
        gold = draw.integers(0, 2, 80)
        a, b = (np.eye(2)[np.where(draw.random(80) < p, gold, 1 - gold)] for p in (0.9, 0.7))
        wrong = [(one.argmax(axis=1) != gold).astype(float) for one in (a, b)]
        assert paired_cost_test(wrong[0] - wrong[1], groups) == pytest.approx(paired_test(a, b, gold, groups).p_value)


@pytest.mark.parametrize("unit", [1.0, 0.25, np.pi, 1e-9, 1e9])
def test_costs_are_flipped_in_all_ways(unit: float) -> None:
    """Against every way of turning signs, whatever the unit of the prices."""
    net = unit * np.array([20.0, 1, 1, -1, 3, 0, 7, -2])
    signs = np.array(list(np.ndindex(*[2] * len(net)))) * 2 - 1
    exact = float((abs(signs @ net) >= abs(net.sum()) * (1 - 1e-9)).mean())
    assert paired_cost_test(net) == pytest.approx(exact)
    assert paired_cost_test(0 * net) == 1


@pytest.mark.parametrize("price", [1.0, 50.0, 100.0, 0.0003, np.e])
@pytest.mark.parametrize(("n_only_a", "n_only_b"), [(750, 650), (1550, 1400)])
def test_on_many_rows_a_price_for_all_mistakes_alike_is_the_test_of_accuracy(
    price: float, n_only_a: int, n_only_b: int
) -> None:
    net = price * np.repeat([1.0, -1.0, 0.0], [n_only_a, n_only_b, 100])
    assert paired_cost_test(net) == pytest.approx(mcnemar(n_only_a, n_only_b))


@pytest.mark.parametrize("cheap", [0.35, 0.35 * np.sqrt(2)])
def test_on_many_rows_the_test_of_costs_is_near_the_normal_one_at_any_scale(cheap: float) -> None:
    """3,000 rows, in hundredths and in no step at all: more steps than are counted."""
    net = np.zeros(3000)
    net[:900] = np.repeat([2.99, -2.99, cheap, -cheap], [270, 225, 200, 205])
    z = net.sum() / np.sqrt((net**2).sum())
    normal = 2 * NormalDist().cdf(-abs(z))
    assert 0.02 < normal < 0.1
    found = [paired_cost_test(scale * net) for scale in (1.0, 1 / 3, 12345.678)]
    assert found[0] == pytest.approx(normal, abs=0.01)
    assert found == pytest.approx([found[0]] * 3)
    # A difference that no chance makes is not lost in rounding.
    assert paired_cost_test(abs(net)) <= 1e-4


def test_signs_are_drawn_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    net = np.random.default_rng(5).normal(0.1, 1, 50)
    whole = paired_cost_test(net)
    monkeypatch.setattr(intervals, "_BLOCK_NUMBERS", 120_000)
    assert 0 < whole < 1
    assert paired_cost_test(net) == pytest.approx(whole, abs=0.02)


@given(st.lists(st.sampled_from([0.0, 0.1, 0.35, 1.7, 2.99, -0.1, -0.35, -1.7, -2.99]), min_size=1, max_size=9))
def test_prices_in_hundredths_are_counted_and_not_drawn(net: list[float]) -> None:
    signs = np.array(list(product([1, -1], repeat=len(net))))
    exact = float((abs(signs @ np.array(net)) >= abs(sum(net)) - 1e-9).mean())
    assert paired_cost_test(np.array(net)) == pytest.approx(exact)


def test_costs_that_are_multiples_of_nothing_are_tested_by_drawn_signs() -> None:
    draw = np.random.default_rng(1)
    net = draw.normal(0.3, 1.0, 400) * 12345.678
    chance = np.abs(draw.choice([-1.0, 1.0], size=(20_000, 400)) @ net) >= abs(net.sum())
    found = paired_cost_test(net)
    assert found == pytest.approx(chance.mean(), abs=0.003)


# --- gains ---


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(-3, 3), min_size=1, max_size=9))
def test_few_groups_are_turned_in_all_ways(net: list[int]) -> None:
    """Against every way of turning signs, one by one; as many as say no more than they can."""
    sums = [
        sum(sign * one for sign, one in zip(signs, net, strict=True)) for signs in product((-1, 1), repeat=len(net))
    ]
    exact = sum(one >= sum(net) for one in sums) / len(sums)
    assert gain_test(np.array(net) / 10) == pytest.approx(exact)
    rows = np.repeat(np.array(net) / 20, 2)
    assert gain_test(rows, [str(i // 2) for i in range(len(rows))]) == pytest.approx(exact)
    assert gain_test(np.ones(len(net))) == 2.0 ** -len(net)


def test_skewed_gains_of_mean_zero_are_taken_too_often_and_symmetric_ones_are_not() -> None:
    """A gain of 1 in nine rows of ten and a loss of 9 in the tenth: p is low wherever that row is missing."""
    chance, n_groups, n_samples = np.random.default_rng(0), 12, 300
    skewed = np.where(chance.random((n_samples, n_groups)) < 0.9, 1.0, -9.0)
    symmetric = chance.choice((-9.0, -1.0, 1.0, 9.0), p=(0.05, 0.45, 0.45, 0.05), size=(n_samples, n_groups))
    rates = {}
    for name, samples in {"skewed": skewed, "symmetric": symmetric}.items():
        p_values = [gain_test(one) for one in samples]
        rates[name] = wilson(sum(p <= 0.05 for p in p_values) / n_samples, n_samples)
        print(
            f"{name}: no gain, and p <= 0.05 in {rates[name].value:.1%} [{rates[name].low:.1%}, {rates[name].high:.1%}]"
        )
    # All of twelve rows are among the nine of ten that gain.
    assert rates["skewed"].low < 0.9**12 < rates["skewed"].high
    assert rates["skewed"].low > 0.2
    assert rates["symmetric"].low < 0.05


def test_signs_of_many_groups_are_drawn_in_blocks_and_come_out_as_drawn_at_once(monkeypatch: Any) -> None:
    gains = np.random.default_rng(3).normal(0.1, 1.0, 33)
    signs = np.random.default_rng(5).choice((-1.0, 1.0), size=(999, 33))
    at_once = (1 + (signs @ gains >= gains.sum() - 1e-12).sum()) / 1000
    drawn = []

    class Draws(np.random.Generator):
        def choice(self, *given: Any, size: Any, **named: Any) -> Any:
            drawn.append(size[0] * size[1])
            return super().choice(*given, size=size, **named)

    monkeypatch.setattr(intervals, "_BLOCK_NUMBERS", 33 * 100 + 7)
    monkeypatch.setattr(np.random, "default_rng", lambda seed: Draws(np.random.PCG64(seed)))
    assert gain_test(gains, n_draws=999, seed=5) == at_once
    assert sum(drawn) == 999 * 33
    assert max(drawn) <= 3300


def test_means_of_several_numbers_are_of_the_same_resamples() -> None:
    values = np.random.default_rng(0).normal(size=(30, 2))
    groups = [str(i // 3) for i in range(30)]
    both = resampled_means(values, groups, n_resamples=50)
    assert both.shape == (50, 2)
    assert both[:, 0] == pytest.approx(resampled_means(values[:, 0], groups, n_resamples=50))
    whole = resampled_means(np.repeat([[1.0, 2.0]], 30, axis=0), groups, n_resamples=9)
    assert whole == pytest.approx(np.tile([1.0, 2.0], (9, 1)))
    # Groups of three equal numbers are ten numbers.
    alike = np.repeat(values[:10, 0], 3)
    assert resampled_means(alike, groups).std() == pytest.approx(alike.std() / np.sqrt(10), rel=0.1)
