"""How sure a number is: intervals of every metric, and paired tests of two classifiers. numpy only.

Accuracy is a share of rows and has the interval of one (``labelwright.statistics.proportions``); the other metrics are
bootstrapped. Where rows come in groups (paraphrases, one customer), rows of a group are not independent: groups are
resampled and exchanged as a whole, otherwise intervals come out too narrow and tests too sure.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np

from labelwright.statistics.metrics import METRICS, Answers, Floats, Ints, Metric, answers_of, checked
from labelwright.statistics.proportions import LEVEL, Interval, group_index, share_interval, wilson

__all__ = [
    "LEVEL",
    "Interval",
    "PairedTest",
    "Resampled",
    "bootstrap_intervals",
    "gain_test",
    "holm",
    "mcnemar",
    "mean_interval",
    "metric_intervals",
    "paired_cost_test",
    "paired_test",
    "resample",
    "resampled",
    "resampled_means",
    "sign_flip",
    "wilson",
]

Key = TypeVar("Key", bound=Hashable)

N_RESAMPLES = 2000
# Resampling counts are made in blocks of this many numbers (32 MB), so that memory does not grow with the rows.
_BLOCK_NUMBERS = 4_000_000
# Up to so many groups all signs are gone through: 2^13 are no more than are drawn for others.
_ALL_SIGNS = 13
# Differences below this are rounding.
_SAME = 1e-12
# All sums of prices are counted where they are multiples of one step, and so many of it at most; else signs are drawn.
_MOST_STEPS = 20_000
_N_SIGNS = 9999


@dataclass(frozen=True)
class Resampled:
    """A metric of one classifier, or of one minus another, on the rows as they are and on every resample of them.

    Attributes
    ----------
    draws : ndarray of shape (n_resamples,)
    """

    value: float
    draws: Floats

    def interval(self, level: float = LEVEL) -> Interval:
        """Percentile interval (Efron 1979) that holds the share ``level``.

        Widened where needed to hold the value itself: resampling repeats rows, which ECE takes for miscalibration, so
        that its percentiles may lie above its value.
        """
        low, high = np.quantile(self.draws, [(1 - level) / 2, (1 + level) / 2]).tolist()
        return Interval(self.value, min(low, self.value), max(high, self.value))

    def minus(self, other: Resampled) -> Resampled:
        """The paired difference: both must come from one call of ``resample``, so that they saw the same rows."""
        return Resampled(self.value - other.value, self.draws - other.draws)

    def p_value(self) -> float:
        """Two-sided, of the hypothesis that the value is 0: the percentile interval turned round.

        Twice the smaller share of resamples on one side of 0, those that are 0 counted on both, and one more than there
        are so that it is never 0 (Davison and Hinkley 1997, sections 4.2.3 and 5.4; Efron and Tibshirani 1993, 15.4 on
        the interval and the test being one). At least 2 / (n_resamples + 1).

        >>> Resampled(0.2, np.array([0.1, 0.2, 0.3])).p_value()
        0.5
        """
        zero = abs(self.draws) < _SAME
        n_below, n_above = (self.draws < 0) | zero, (self.draws > 0) | zero
        return min(1.0, 2 * (1 + min(int(n_below.sum()), int(n_above.sum()))) / (len(self.draws) + 1))


def resample(
    classifiers: Mapping[str, Floats | Answers],
    gold: Ints,
    groups: Sequence[str] | None = None,
    *,
    metrics: Mapping[str, Metric] = METRICS,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> dict[str, dict[str, Resampled]]:
    """Every metric of every classifier on the same bootstrap resamples of the rows.

    Over groups this is the cluster bootstrap (Davison and Hinkley 1997, 3.8). Two calls with the same gold, groups,
    n_resamples and seed draw the same rows.

    Parameters
    ----------
    classifiers : mapping of name to ndarray of shape (n_rows, n_labels)
        Or to the ``labelwright.statistics.metrics.Answers`` read off it, once checked.
    gold : int ndarray of shape (n_rows,)
    groups : sequence of n_rows, optional
        The group of each row; groups are drawn instead of rows.
    metrics : mapping of name to function (probs, gold, weights) -> values
        As in ``labelwright.statistics.metrics``; all of ``METRICS`` by default.

    Returns
    -------
    dict of classifier to dict of metric to Resampled

    Raises
    ------
    DataError
        As ``labelwright.statistics.metrics.evaluate``; or groups of another length than gold.
    """
    usable = {name: _answers(probs, gold) for name, probs in classifiers.items()}
    gold = np.asarray(gold, dtype=np.int64)
    measures: dict[tuple[str, str], Callable[[Floats], Any]] = {
        (name, key): partial(metric, answers, gold)
        for name, answers in usable.items()
        for key, metric in metrics.items()
    }
    found = resampled(measures, len(gold), groups, n_resamples=n_resamples, seed=seed)
    return {name: {key: found[name, key] for key in metrics} for name in usable}


def resampled(
    measures: Mapping[Key, Callable[[Floats], Any]],
    n_rows: int,
    groups: Sequence[str] | None = None,
    *,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> dict[Key, Resampled]:
    """Any number that row weights, (..., n_rows), make values (...) of, all on the same resamples of ``resample``.

    Parameters
    ----------
    measures : mapping of a name to function (weights) -> values
    groups : sequence of n_rows, optional
        Drawn whole.
    """
    draws: dict[Key, list[Floats]] = {name: [] for name in measures}
    for weights in _resamples(group_index(groups, n_rows), n_resamples, seed):
        for name, measure in measures.items():
            draws[name].append(measure(weights))
    ones = np.ones(n_rows)
    return {name: Resampled(float(measure(ones)), np.concatenate(draws[name])) for name, measure in measures.items()}


def bootstrap_intervals(
    probs: Floats | Answers,
    gold: Ints,
    groups: Sequence[str] | None = None,
    *,
    metrics: Mapping[str, Metric] = METRICS,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
    level: float = LEVEL,
) -> dict[str, Interval]:
    """Intervals of one classifier's metrics: accuracy's of a share, the others' of ``resample``."""
    settings: dict[str, Any] = {"metrics": metrics, "n_resamples": n_resamples, "seed": seed}
    answers = _answers(probs, gold)
    found = resample({"": answers}, gold, groups, **settings)[""]
    return metric_intervals(found, answers.answer == np.asarray(gold), groups, level)


def mean_interval(
    values: Floats,
    groups: Sequence[str] | None = None,
    *,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
    level: float = LEVEL,
) -> Interval:
    """Interval of the mean of any number a row has, (n_rows,): the bootstrap of ``resample``, whole groups drawn."""
    draws = resampled_means(values, groups, n_resamples=n_resamples, seed=seed)
    return Resampled(float(values.mean()), draws).interval(level)


def resampled_means(
    values: Floats, groups: Sequence[str] | None = None, *, n_resamples: int = N_RESAMPLES, seed: int = 0
) -> Floats:
    """The means of numbers that rows have, on every resample: for what is made of several of them.

    Parameters
    ----------
    values : ndarray of shape (n_rows,) or (n_rows, n_values)

    Returns
    -------
    ndarray of shape (n_resamples,) or (n_resamples, n_values)
    """
    weights = _resamples(group_index(groups, len(values)), n_resamples, seed)
    sums = ((one @ values, one.sum(axis=1)) for one in weights)
    return np.concatenate([total / (n if values.ndim == 1 else n[:, None]) for total, n in sums])


def metric_intervals(
    found: Mapping[str, Resampled], right: Any, groups: Sequence[str] | None = None, level: float = LEVEL
) -> dict[str, Interval]:
    """Intervals of one classifier's resampled metrics, accuracy's being that of a share of rows.

    Where all rows are right, or none is, no resample shows another macro-F1 than the one there is. Its interval then
    reaches as far as that of accuracy.

    Parameters
    ----------
    found : mapping of metric to Resampled
    right : bool ndarray of shape (n_rows,)
        Whether the classifier has a row right.
    """
    intervals = {name: one.interval(level) for name, one in found.items()}
    share = share_interval(right, groups, level)
    if "accuracy" in intervals:
        intervals["accuracy"] = share
    if "macro_f1" in intervals and share.value in (0.0, 1.0):
        value, low, high = intervals["macro_f1"]
        intervals["macro_f1"] = Interval(value, min(low, share.low), max(high, share.high))
    return intervals


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
    """

    n_only_a: int
    n_only_b: int
    p_value: float


def paired_test(
    probs_a: Floats | Answers, probs_b: Floats | Answers, gold: Ints, groups: Sequence[str] | None = None
) -> PairedTest:
    """Is one of two classifiers more often right than the other on these rows?

    Without groups the p-value is the exact McNemar test. With groups it is the exact sign-flip test over groups: under
    the hypothesis, exchanging the two classifiers in any group changes nothing. For groups of one row the two are the
    same number.

    Parameters
    ----------
    probs_a, probs_b : ndarray of shape (n_rows, n_labels)
        Or the answers read off them. One may have more columns than the other, for answers that are no label.
    gold : int ndarray of shape (n_rows,)
    groups : sequence of n_rows, optional
    """
    right_a, right_b = (_answers(probs, gold).answer == np.asarray(gold) for probs in (probs_a, probs_b))
    n_only_a, n_only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    if groups is None:
        return PairedTest(n_only_a, n_only_b, mcnemar(n_only_a, n_only_b))
    net = np.bincount(group_index(groups, len(gold)), weights=right_a.astype(float) - right_b)
    return PairedTest(n_only_a, n_only_b, sign_flip(net.astype(np.int64)))


def paired_cost_test(net: Floats, groups: Sequence[str] | None = None) -> float:
    """Two-sided p-value of the hypothesis that two classifiers cost the same on rows like these.

    The sign-flip test of ``paired_test`` over groups, of costs in the place of right and wrong; for prices of 0 and 1
    it is the same number, and the unit of the prices does not matter. Exact where all sums are multiples of one step,
    20,000 of it together at most. Else signs are drawn, and the observed ones count as a draw, so that the level holds
    for any number of draws (Phipson and Smyth 2010); no value is then below 0.0001.

    Parameters
    ----------
    net : ndarray of shape (n_rows,)
        The row's cost under the first minus that under the second.
    groups : sequence of n_rows, optional

    Examples
    --------
    >>> paired_cost_test(np.array([0.5, 0.5, 0.5, 0.5, 0.5]))
    0.0625
    """
    sums: Floats = np.bincount(group_index(groups, len(net)), weights=net).astype(np.float64)
    total = float(abs(sums).sum())
    if total < _SAME * max(1.0, float(abs(net).max())):
        return 1.0
    steps = _steps(sums / total)
    return _drawn_flips(sums / total) if steps is None else sign_flip(steps)


def _steps(sums: Floats) -> Ints | None:
    """Sums whose sizes add up to 1 as whole numbers of the largest step that they are multiples of; None if too many.

    Euclid's algorithm on all of them at once: what the smallest leaves of the others is a multiple of that step too.
    """
    least = 1 / _MOST_STEPS
    same = 1e-6 * least  # what is left by adding up decimals, not by a finer step
    sizes = np.unique(abs(sums))
    sizes = sizes[sizes > same]
    step = float(sizes[0])
    while step >= least - same:
        left = abs(sizes - step * np.rint(sizes / step))
        if left.max() <= same:
            return np.rint(sums / step).astype(np.int64)
        step = float(left[left > same].min())
    return None


def _drawn_flips(sums: Floats) -> float:
    """The p-value of ``sign_flip`` by drawn signs. Of sums that are alike it only matters how many are positive."""
    sizes, which = np.unique(np.round(abs(sums), 12), return_inverse=True)
    counts = np.bincount(which)
    observed = abs(float(np.bincount(which, weights=np.sign(sums)) @ sizes))
    alike = counts > 1
    rng, n_reached = np.random.default_rng(0), 1
    block = max(1, _BLOCK_NUMBERS // len(sizes))
    for start in range(0, _N_SIGNS, block):
        n = min(block, _N_SIGNS - start)
        # Of one sum a bit is drawn, which is many times faster than a binomial number.
        net = (2.0 * rng.integers(2, size=(n, int((~alike).sum())), dtype=np.uint8) - 1) @ sizes[~alike]
        net += (2 * rng.binomial(counts[alike], 0.5, size=(n, int(alike.sum()))) - counts[alike]) @ sizes[alike]
        n_reached += int((abs(net) >= observed - _SAME).sum())
    return n_reached / (_N_SIGNS + 1)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Step-down correction for many tests (Holm 1979): the k-th smallest of m is multiplied by m - k + 1, order kept.

    >>> holm({"a": 0.01, "b": 0.04, "c": 0.03})
    {'a': 0.03, 'c': 0.06, 'b': 0.06}
    """
    corrected: dict[str, float] = {}
    largest = 0.0
    for k, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        largest = max(largest, min(1.0, p_values[name] * (len(p_values) - k)))
        corrected[name] = largest
    return corrected


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


def gain_test(gains: Floats, groups: Sequence[str] | None = None, *, n_draws: int = 9999, seed: int = 0) -> float:
    """One-sided sign-flip p-value of no gain, for any number a row has: are the sums of groups more often positive?

    Under the hypothesis each group's sum is as likely the other way round (Fisher 1935). All signs of up to 13 groups
    are gone through, so that the value is exact and never below 2^-n_groups; of more groups signs are drawn, and the
    observed ones count as a draw, so that the level holds for any number of draws (Phipson and Smyth 2010).

    That hypothesis is stronger than a mean of zero: gains are to be symmetric around it. Where one row in ten loses
    nine times what the others gain, the mean is zero, and yet p is below 0.05 in 28 of 100 samples of twelve groups:
    those that the rare loss is missing from (``tests/labelwright/statistics/test_intervals.py``).

    Parameters
    ----------
    gains : ndarray of shape (n_rows,)
        Of one classifier over another, row by row.
    groups : sequence of n_rows, optional
    n_draws : int
        Of signs, where the groups are too many for all of them.

    >>> gain_test(np.ones(3)), gain_test(np.array([1.0, -1.0]))
    (0.125, 0.75)
    """
    net = np.bincount(group_index(groups, len(gains)), weights=gains)
    reached = net.sum() - _SAME
    if len(net) <= _ALL_SIGNS:
        signs = 1.0 - 2.0 * (np.arange(2 ** len(net))[:, None] >> np.arange(len(net)) & 1)
        return float((signs @ net >= reached).mean())
    rng, block = np.random.default_rng(seed), max(1, _BLOCK_NUMBERS // len(net))
    sizes = (min(block, n_draws - start) for start in range(0, n_draws, block))
    n_reached = sum(int((rng.choice((-1.0, 1.0), size=(n, len(net))) @ net >= reached).sum()) for n in sizes)
    return (1 + n_reached) / (n_draws + 1)


def _answers(probs: Floats | Answers, gold: Ints) -> Answers:
    """The answers of probabilities that have been checked."""
    return probs if isinstance(probs, Answers) else answers_of(*checked(probs, gold))


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
