"""How sure a number is: bootstrap intervals of every metric, and paired tests of two classifiers. numpy only.

Where rows come in groups (paraphrases, one customer), rows of a group are not independent: groups are resampled and
exchanged as a whole, otherwise intervals come out too narrow and tests too sure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from labelwright.errors import DataError
from labelwright.metrics import METRICS, Floats, Ints, Metric, checked

LEVEL = 0.95
N_RESAMPLES = 2000
# Resampling counts are made in blocks of this many numbers (32 MB), so that memory does not grow with the rows.
_BLOCK_NUMBERS = 4_000_000


class Interval(NamedTuple):
    """A metric's value on the rows as they are, and the two ends of its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class PairedTest:
    """Two classifiers on the same rows.

    Attributes
    ----------
    n_only_a, n_only_b : int
        Rows that only the first, only the second has right.
    p_value : float
        Two-sided, of the hypothesis that both are equally often right: exact McNemar over rows, or its generalisation
        to groups where groups were given.
    difference : Interval
        Accuracy of the first minus accuracy of the second.
    """

    n_only_a: int
    n_only_b: int
    p_value: float
    difference: Interval


def bootstrap_intervals(
    probs: Floats,
    gold: Ints,
    groups: Sequence[str] | None = None,
    *,
    metrics: Mapping[str, Metric] = METRICS,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
    level: float = LEVEL,
) -> dict[str, Interval]:
    """Percentile bootstrap intervals (Efron 1979); over groups, the cluster bootstrap (Davison and Hinkley 1997, 3.8).

    Parameters
    ----------
    probs : ndarray of shape (n_rows, n_labels)
    gold : int ndarray of shape (n_rows,)
    groups : sequence of n_rows, optional
        The group of each row; groups are drawn instead of rows.
    metrics : mapping of name to function (probs, gold, weights) -> values
        As in ``labelwright.metrics``; all of ``METRICS`` by default.
    n_resamples, seed, level
        How many resamples, from which seed, and the share of them inside the interval.

    Returns
    -------
    dict of name to Interval
        Widened where needed to hold the value itself: resampling repeats rows, which ECE takes for miscalibration, so
        that its percentiles may lie above its value.

    Raises
    ------
    DataError
        As ``labelwright.metrics.evaluate``; or groups of another length than gold.
    """
    probs, gold = checked(probs, gold)
    draws: dict[str, list[Floats]] = {name: [] for name in metrics}
    for weights in _resamples(_group_index(groups, len(gold)), n_resamples, seed):
        for name, metric in metrics.items():
            draws[name].append(metric(probs, gold, weights))
    return {
        name: _interval(float(metric(probs, gold, np.ones(len(gold)))), np.concatenate(draws[name]), level)
        for name, metric in metrics.items()
    }


def bootstrap_differences(
    probs_a: Floats,
    probs_b: Floats,
    gold: Ints,
    groups: Sequence[str] | None = None,
    *,
    metrics: Mapping[str, Metric] = METRICS,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
    level: float = LEVEL,
) -> dict[str, Interval]:
    """Paired percentile bootstrap intervals of metric(a) - metric(b): both see the same resamples.

    Parameters, result and errors as in ``bootstrap_intervals``.
    """
    probs_a, gold = checked(probs_a, gold)
    probs_b, _ = checked(probs_b, gold)

    def difference(metric: Metric) -> Metric:
        return lambda probs, gold, weights: metric(probs, gold, weights) - metric(probs_b, gold, weights)

    paired = {name: difference(metric) for name, metric in metrics.items()}
    return bootstrap_intervals(probs_a, gold, groups, metrics=paired, n_resamples=n_resamples, seed=seed, level=level)


def paired_test(
    probs_a: Floats,
    probs_b: Floats,
    gold: Ints,
    groups: Sequence[str] | None = None,
    *,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> PairedTest:
    """Is one of two classifiers more often right than the other on these rows?

    Without groups the p-value is the exact McNemar test. With groups it is the exact sign-flip test over groups: under
    the hypothesis, exchanging the two classifiers in any group changes nothing. For groups of one row the two are the
    same number.

    Parameters
    ----------
    probs_a, probs_b : ndarray of shape (n_rows, n_labels)
    gold : int ndarray of shape (n_rows,)
    groups : sequence of n_rows, optional
    """
    probs_a, gold = checked(probs_a, gold)
    probs_b, _ = checked(probs_b, gold)
    right_a, right_b = probs_a.argmax(axis=1) == gold, probs_b.argmax(axis=1) == gold
    n_only_a, n_only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    if groups is None:
        p_value = mcnemar(n_only_a, n_only_b)
    else:
        net = np.bincount(_group_index(groups, len(gold)), weights=right_a.astype(float) - right_b)
        p_value = sign_flip(net.astype(np.int64))
    accuracy_only = {"accuracy": METRICS["accuracy"]}
    difference = bootstrap_differences(
        probs_a, probs_b, gold, groups, metrics=accuracy_only, n_resamples=n_resamples, seed=seed
    )["accuracy"]
    return PairedTest(n_only_a, n_only_b, p_value, difference)


def mcnemar(n_only_a: int, n_only_b: int) -> float:
    """Exact two-sided McNemar p-value: of the rows on which two classifiers disagree, half are expected on each side.

    Twice the lower tail of Binomial(n_only_a + n_only_b, 1/2), at most 1 (Edwards 1948; exact form as in
    Dietterich 1998). Integer arithmetic, so it is right for any counts.

    >>> mcnemar(0, 5)
    0.0625
    """
    n = n_only_a + n_only_b
    tail, term = 0, 1
    for i in range(min(n_only_a, n_only_b) + 1):
        tail += term
        term = term * (n - i) // (i + 1)
    return 1.0 if 2 * tail >= 2**n else (2 * tail) / 2**n


def sign_flip(net: Ints) -> float:
    """Exact two-sided sign-flip p-value: P(|sum of +-net| >= |sum of net|), all signs equally likely (Fisher 1935).

    Parameters
    ----------
    net : int ndarray of shape (n_groups,)
        Rows a group that only the first classifier has right, minus rows that only the second has right.
    """
    sizes = abs(net[net != 0])
    reach = int(sizes.sum())
    chance = np.zeros(2 * reach + 1)
    chance[reach] = 1.0
    for size in sizes.tolist():
        # No overlap to fear at the ends: before this group, no sum lies beyond reach - size.
        chance = 0.5 * (np.roll(chance, size) + np.roll(chance, -size))
    observed = abs(int(net.sum()))
    sums = abs(np.arange(-reach, reach + 1))
    return min(1.0, float(chance[sums >= observed].sum()))


def _group_index(groups: Sequence[str] | None, n_rows: int) -> Ints:
    """Positions 0 .. n_groups - 1 of each row's group; every row its own group where none are given."""
    if groups is None:
        return np.arange(n_rows)
    if len(groups) != n_rows:
        raise DataError(f"{len(groups)} groups for {n_rows} rows: expected one a row")
    return np.unique(np.asarray(groups), return_inverse=True)[1].astype(np.int64)


def _resamples(index: Ints, n_resamples: int, seed: int) -> Iterator[Floats]:
    """Row weights of shape (block, n_rows): how often each row's group was drawn."""
    rng = np.random.default_rng(seed)
    n_groups = int(index.max()) + 1
    block = max(1, _BLOCK_NUMBERS // len(index))
    for start in range(0, n_resamples, block):
        size = min(block, n_resamples - start)
        drawn = rng.integers(n_groups, size=(size, n_groups)) + n_groups * np.arange(size)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=size * n_groups).reshape(size, n_groups)
        yield counts[:, index].astype(np.float64)


def _interval(value: float, draws: Floats, level: float) -> Interval:
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2]).tolist()
    return Interval(value, min(low, value), max(high, value))
