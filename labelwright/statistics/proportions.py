"""Intervals of shares of rows, and of the difference of two classifiers' shares on the same rows. numpy only.

The bootstrap gives a share of 0 or 1 no width, and too little near them; these do not: they are score intervals, which
hold their level down to a handful of rows. Rows that come in groups (paraphrases, one customer) count for fewer rows
than there are: as many as independent rows would say as much (``effective_rows``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np

from labelwright.errors import DataError
from labelwright.statistics.metrics import Floats, Ints

LEVEL = 0.95


class Interval(NamedTuple):
    """A metric's value on the rows as they are, and the two ends of its interval."""

    value: float
    low: float
    high: float


def wilson(share: float, n: float, level: float = LEVEL) -> Interval:
    """Interval of a share of ``n`` independent rows (Wilson 1927): it has a width at 0 and 1 as well.

    >>> [round(one, 3) for one in wilson(0.5, 10)]
    [0.5, 0.237, 0.763]
    >>> round(wilson(1.0, 10).low, 3)
    0.722
    """
    low, high = _wilson_ends(np.float64(share), np.float64(n), _z(level))
    return Interval(share, min(share, float(low)), max(share, float(high)))


def share_interval(holds: Any, groups: Sequence[str] | None = None, level: float = LEVEL) -> Interval:
    """Interval of the share of rows for which something holds.

    Wilson's, of as many rows as ``effective_rows`` finds; for rows without groups that is Wilson's of the rows.

    Parameters
    ----------
    holds : bool ndarray of shape (n_rows,)
    groups : sequence of n_rows, optional
        The group of each row.

    Raises
    ------
    DataError
        No rows, or groups of another length.
    """
    return _interval(holds, groups, level, share_ends)


def difference_interval(net: Any, groups: Sequence[str] | None = None, level: float = LEVEL) -> Interval:
    """Interval of the difference of two classifiers' accuracies on the same rows.

    Bonett and Price's (2012) for paired proportions: a row more is added to either side, so that it has a width where
    no row tells the two apart. Recommended for few rows by Fagerland, Lydersen and Laake 2014. Over groups it is taken
    of as many rows as ``effective_rows`` finds.

    Parameters
    ----------
    net : int ndarray of shape (n_rows,)
        1 where only the first has the row right, -1 where only the second has, else 0.
    groups : sequence of n_rows, optional

    Raises
    ------
    DataError
        No rows, or groups of another length.
    """
    return _interval(net, groups, level, difference_ends)


def priced_difference_interval(
    net: Any, span: float, groups: Sequence[str] | None = None, level: float = LEVEL
) -> Interval:
    """Interval of what a row costs more under one classifier than under another, on average over the same rows.

    Bonett and Price's for prices: a row more on either side that costs as much more as any can. Of differences of 0
    and 1 and a span of 1 it is ``difference_interval``. A mistake that is dear and rare may well be missing in the
    rows, and drawing from them (a bootstrap) cannot show it: its intervals then leave out the truth far too often.

    Parameters
    ----------
    net : ndarray of shape (n_rows,)
        The row's cost under the first minus that under the second.
    span : float
        How far the two can lie apart at most, above 0, in the unit of ``net``.
    groups : sequence of n_rows, optional

    Raises
    ------
    DataError
        No rows, or groups of another length.
    """

    def ends(values: Floats, index: Ints, level: float) -> tuple[Any, Any]:
        n_rows = effective_rows(values, index, level)
        middle = n_rows * values.mean(axis=-1) / (n_rows + 2)
        square = (n_rows * (values**2).mean(axis=-1) + 2) / (n_rows + 2)
        half = _z(level) * np.sqrt((square - middle**2) / (n_rows + 2))
        return np.maximum(middle - half, -1.0), np.minimum(middle + half, 1.0)

    return Interval(*(span * one for one in _interval(_some(net) / span, groups, level, ends)))


def rows_needed(
    net: Any, span: float, margin: float, groups: Sequence[str] | None = None, level: float = LEVEL
) -> float:
    """How many rows like these bring the interval of a difference inside a margin, where there is no difference.

    ``priced_difference_interval`` around 0, solved for the number of rows. Of rows that hardly differ most of its width
    is that of the row more on either side, which shrinks with the rows and not with their root.

    Parameters
    ----------
    net, span, groups
        As there.
    margin : float
        Above 0, in the unit of ``net``.
    """
    values = _some(net) / span
    effective = float(effective_rows(values, group_index(groups, len(values)), level))
    # With N = n + 2: (margin / z span)^2 N^2 = square N + 2 (1 - square).
    wanted, square = (margin / (_z(level) * span)) ** 2, float((values**2).mean())
    n_rows = (square + np.sqrt(square**2 + 8 * wanted * (1 - square))) / (2 * wanted) - 2
    return max(1.0, float(n_rows)) * len(values) / effective


def _interval(
    values: Any, groups: Sequence[str] | None, level: float, ends: Callable[..., tuple[Any, Any]]
) -> Interval:
    """The mean of the values between the ends that are found for it, which are moved to hold it."""
    values = _some(values)
    low, high = ends(values, group_index(groups, len(values)), level)
    value = float(values.mean())
    return Interval(value, min(value, float(low)), max(value, float(high)))


def share_ends(values: Floats, index: Ints, level: float = LEVEL) -> tuple[Any, Any]:
    """The two ends of ``share_interval``, each of shape (...), for 0s and 1s of shape (..., n_rows)."""
    n_rows = effective_rows(values, index, level)
    return _wilson_ends(values.mean(axis=-1), n_rows, _z(level))


def difference_ends(net: Floats, index: Ints, level: float = LEVEL) -> tuple[Any, Any]:
    """The two ends of ``difference_interval``, each of shape (...), for 1s, 0s and -1s of shape (..., n_rows)."""
    n_rows = effective_rows(net, index, level)
    first = (n_rows * (net > 0).mean(axis=-1) + 1) / (n_rows + 2)
    second = (n_rows * (net < 0).mean(axis=-1) + 1) / (n_rows + 2)
    middle = first - second
    half = _z(level) * np.sqrt((first + second - middle**2) / (n_rows + 2))
    return np.maximum(middle - half, -1.0), np.minimum(middle + half, 1.0)


def effective_rows(values: Floats, index: Ints, level: float = LEVEL) -> Any:
    """How many independent rows would say as much about the mean of ``values`` as these rows in groups; shape (...).

    The rows divided by the design effect (Kish 1965), which compares the variance of the mean between groups with that
    of independent rows, and by (t_groups / t_rows)^2 for how well that is known (Korn and Graubard 1998, "Confidence
    intervals for proportions with small expected number of positive counts estimated from survey data"). The design
    effect is at least 1. It is learnt from the groups in which a row differs from the common answer; where there are
    none it cannot be learnt, and the worst is taken, groups that are right or wrong as a whole. In between, that worst
    case counts as one such group more. For groups of one row each this is the number of rows.

    Parameters
    ----------
    values : ndarray of shape (..., n_rows)
    index : int ndarray of shape (n_rows,)
        The row's group, counted from 0.
    """
    n_rows, sizes = len(index), np.bincount(index)
    n_groups = len(sizes)
    if n_groups == n_rows:
        return np.full(values.shape[:-1], float(n_rows))
    worst = float((sizes.astype(np.float64) ** 2).sum()) / n_rows
    if n_groups == 1:
        return np.full(values.shape[:-1], n_rows / worst)
    order = np.argsort(index, kind="stable")
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    away = (values - values.mean(axis=-1, keepdims=True))[..., order]
    between = (np.add.reduceat(away, starts, axis=-1) ** 2).sum(axis=-1) * n_groups / (n_groups - 1)
    within = (away**2).sum(axis=-1) * n_rows / (n_rows - 1)
    learnt = np.where(within > 0, between / np.where(within > 0, within, 1.0), worst)
    uncommon = values != np.round(values.mean(axis=-1, keepdims=True))
    n_telling = np.maximum.reduceat(uncommon[..., order], starts, axis=-1).sum(axis=-1)
    effect = np.maximum(1.0, (n_telling * learnt + worst) / (n_telling + 1))
    known = _t(n_rows - 1, level) / _t(n_groups - 1, level)
    return n_rows / effect * known**2


def group_index(groups: Sequence[str] | None, n_rows: int) -> Ints:
    """Positions 0 .. n_groups - 1 of each row's group; every row its own group where none are given.

    Raises
    ------
    DataError
        Groups of another length.
    """
    if groups is None:
        return np.arange(n_rows)
    if len(groups) != n_rows:
        raise DataError(f"{len(groups)} groups for {n_rows} rows: expected one a row")
    return np.unique(np.asarray(groups), return_inverse=True)[1].astype(np.int64)


def _some(values: Any) -> Floats:
    found = np.asarray(values, dtype=np.float64)
    if found.ndim != 1 or len(found) == 0:
        raise DataError(f"an interval over rows of shape {found.shape}: expected (n_rows,) with at least one row")
    return found


def _wilson_ends(share: Any, n: Any, z: float) -> tuple[Any, Any]:
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return np.maximum(middle - half, 0.0), np.minimum(middle + half, 1.0)


def _z(level: float) -> float:
    """The normal quantile whose two tails leave the share ``level``."""
    return NormalDist().inv_cdf((1 + level) / 2)


def _t(df: int, level: float) -> float:
    """Student's quantile likewise, from the normal one (Abramowitz and Stegun 26.7.5; within 1 % from 2 df on)."""
    z = _z(level)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + math.fsum(term / df**power for power, term in enumerate(terms, start=1))
