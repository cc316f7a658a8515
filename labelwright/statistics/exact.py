"""Exact tests of counts, and of counts that are looked at again and again. numpy only.

Nothing here is an approximation for large samples: the alarms that rest on these tests are rare by design, one in a
thousand windows, and far out in the tails the usual approximations are off by factors. Two kinds: at a number of rows
fixed in advance (Fisher, Clopper and Pearson, the sign test), and at every row at once (``confidence_sequence``), for
who looks each day and stops when he likes what he sees.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from labelwright.statistics.metrics import Floats
from labelwright.statistics.proportions import LEVEL, Interval
from labelwright.statistics.risk import binomial_tail, risk_bound

# From here on Stirling's series is exact to 1e-13.
_SMALL = 16
_LOG_FACTORIALS = np.array([math.lgamma(n + 1) for n in range(_SMALL)])
# A tail is summed until what is left of it is this part of the sum.
_REST = 1e-12
_BLOCK = 32
_HALVINGS = 60


def fisher(yes: Any, n: Any, yes_before: Any, n_before: Any) -> Floats:
    """Fisher's exact test of two shares, two-sided: twice the smaller tail, at most 1. Valid at every number of rows.

    Given how many of all rows say yes, the number among the ``n`` rows is hypergeometric where both samples are of one
    population (Fisher 1934).

    Parameters
    ----------
    yes, yes_before : int arrays of one shape
        Rows that say yes in one sample and in the other.
    n, n_before : int or arrays
        Rows of the samples.

    Examples
    --------
    >>> fisher([8], 10, [1], 6).round(4).tolist()
    [0.049]
    """
    yes, n, yes_before, n_before = np.broadcast_arrays(
        *(np.asarray(one, np.int64) for one in (yes, n, yes_before, n_before))
    )
    total, all_yes = n + n_before, yes + yes_before
    # The tail away from the mean is the smaller one; a low number of yeses is a high number of noes.
    is_high = yes * total >= n * all_yes
    count = np.where(is_high, yes, n - yes)
    successes = np.where(is_high, all_yes, total - all_yes)
    return np.minimum(1.0, 2 * _upper_tail(count, n, successes, total))


def sign_test(first: int, second: int) -> float:
    """Two-sided exact p-value that of ``first + second`` fair coins as uneven a split would come: McNemar's exact test.

    >>> round(sign_test(1, 7), 4), sign_test(0, 0)
    (0.0703, 1.0)
    """
    return min(1.0, 2 * binomial_tail(min(first, second), first + second, 0.5))


def clopper_pearson(yes: int, n: int, level: float = LEVEL) -> Interval:
    """Exact interval of a share (Clopper and Pearson 1934): it holds it in at least ``level`` of all samples.

    >>> [round(one, 3) for one in clopper_pearson(8, 10)]
    [0.8, 0.444, 0.975]
    """
    each = (1 + level) / 2
    return Interval(yes / n, 1 - risk_bound(n - yes, n, each), risk_bound(yes, n, each))


def confidence_sequence(yes: int, n: int, level: float = LEVEL) -> Interval:
    """Interval of a share that may be looked at after every row: with probability ``level`` it *always* holds it.

    The shares p that a bet against them has not refuted: the bet's stake after n rows is the likelihood averaged over
    all shares alike, over that of p, a martingale under p, which reaches 1 / (1 - level) at any time with probability
    1 - level at most (Ville 1939; Robbins 1970). So an interval that leaves a share out, whenever that happens, has
    told it apart. It asks only that each row says yes with the same probability, whatever the rows before it said.

    >>> [round(one, 3) for one in confidence_sequence(80, 100)]
    [0.8, 0.652, 0.907]
    """
    if not n:
        return Interval(math.nan, 0.0, 1.0)

    def excess(p: float) -> float:
        return _stake(yes, n, p) + math.log(1 - level)

    low = 0.0 if yes == 0 else _crossing(lambda p: -excess(p), 0.0, yes / n)
    high = 1.0 if yes == n else _crossing(excess, yes / n, 1.0)
    return Interval(yes / n, low, high)


def is_told_apart(yes: int, n: int, share: float, level: float = LEVEL) -> bool:
    """Whether ``confidence_sequence`` leaves a share out; in no time, for who asks after every row."""
    return _stake(yes, n, share) + math.log(1 - level) > 0


def _stake(yes: int, n: int, p: float) -> float:
    """Logarithm of the stake of the bet against a share."""
    if (p <= 0 and yes) or (p >= 1 and yes < n):
        return math.inf
    mixture = math.lgamma(yes + 1) + math.lgamma(n - yes + 1) - math.lgamma(n + 2)
    return mixture - (yes * math.log(p) if yes else 0.0) - ((n - yes) * math.log1p(-p) if yes < n else 0.0)


def _crossing(rising: Callable[[float], float], low: float, high: float) -> float:
    """Where a rising function passes 0."""
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if rising(middle) < 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _upper_tail(count: Any, n: Any, successes: Any, total: Any) -> Floats:
    """P(X >= count) of hypergeometric X: yeses among ``n`` of ``total`` rows, ``successes`` of which say yes."""
    failures = total - successes
    first = np.exp(_log_choose(successes, count) + _log_choose(failures, n - count) - _log_choose(total, n))
    tail, term, k = first.copy(), first[..., None], count[..., None].astype(np.float64)
    n, successes, failures = n[..., None], successes[..., None], failures[..., None]
    while (term[..., -1] > _REST * tail).any():
        # Each term is the one before it times a ratio, which is 0 behind the last possible number.
        at = k + np.arange(_BLOCK)
        ratios = np.maximum(successes - at, 0) * np.maximum(n - at, 0) / ((at + 1) * (failures - n + at + 1))
        term = term[..., -1:] * np.cumprod(ratios, axis=-1)
        tail += term.sum(axis=-1)
        k = k + _BLOCK
    return np.asarray(tail)


def _log_choose(n: Any, k: Any) -> Any:
    return _log_factorial(n) - _log_factorial(k) - _log_factorial(n - k)


def _log_factorial(n: Any) -> Any:
    """ln n! by Stirling's series (Abramowitz and Stegun 6.1.41), and by a table where n is small."""
    x = np.maximum(n, _SMALL).astype(np.float64)
    series = x * np.log(x) - x + 0.5 * np.log(2 * np.pi * x) + 1 / (12 * x) - 1 / (360 * x**3) + 1 / (1260 * x**5)
    return np.where(n < _SMALL, _LOG_FACTORIALS[np.clip(n, 0, _SMALL - 1)], series)
