"""Exponents: of what cases take beyond their start, from one to the next, and what the next one would take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

# A start and a power are three numbers.
FEWEST = 4
# The start is most of the small cases: two at least must take so many times what the smallest does.
CLEAR = 5.0
# Between two cases more than this exponent is not linear any more.
STEEP = 1.2
# Shares of the smallest case from which the start is sought.
_STARTS = (0.0, 0.5, 0.9)


@dataclass(frozen=True)
class Fit:
    """y = start + factor * x^exponent, and the steps from case to case.

    Attributes
    ----------
    start, factor, exponent : float, optional
        None where there are fewer than ``FEWEST`` cases, or fewer than two ``CLEAR`` of the smallest. Without
        intervals: what a few cases are off by is not chance alone.
    last : float
        The exponent from the last case but one to the last, the start not taken off.
    steep_from : float, optional
        The first measured x behind which growth is steeper than ``STEEP``; None where it is nowhere.
    """

    start: float | None
    factor: float | None
    exponent: float | None
    last: float
    steep_from: float | None


def fitted(xs: Sequence[float], ys: Sequence[float]) -> Fit | None:
    """Least squares of relative errors, log y; None of fewer than two cases.

    Parameters
    ----------
    xs, ys : sequence of float, above 0
        In rising order of x.

    Examples
    --------
    >>> found = fitted([1, 1000, 10_000, 100_000], [2.001, 3.0, 12.0, 102.0])
    >>> round(found.start, 2), round(found.exponent, 2), round(found.last, 2)
    (2.0, 1.0, 0.93)
    """
    if len(xs) < 2:
        return None
    x, y = np.asarray(xs, dtype=float), np.asarray(ys, dtype=float)
    is_told = len(x) >= FEWEST and np.count_nonzero(y >= CLEAR * y[0]) >= 2
    local = np.diff(np.log(y)) / np.diff(np.log(x))
    # Steep to the end: a single case that a busy machine took long for is none.
    flat = np.flatnonzero(local <= STEEP)
    first = int(flat[-1]) + 1 if len(flat) else 0
    steep = float(xs[first]) if first < len(local) else None
    start, factor, exponent = _power(x, y) if is_told else (None, None, None)
    return Fit(start, factor, exponent, float(local[-1]), steep)


def expected(xs: Sequence[float], ys: Sequence[float], x: float) -> float | None:
    """What y would be at a larger x: by the exponent between the last two cases, none below 0, and as x of one alone.

    Parameters
    ----------
    xs, ys : sequence of float, above 0
        In rising order of x; None is expected of no case.

    Examples
    --------
    >>> expected([10], [2.0], 30), expected([10, 20], [2.0, 8.0], 40), expected([10, 20], [2.0, 1.0], 40)
    (6.0, 32.0, 1.0)
    """
    if not xs:
        return None
    exponent = 1.0 if len(xs) == 1 else max(0.0, math.log(ys[-1] / ys[-2]) / math.log(xs[-1] / xs[-2]))
    return ys[-1] * (x / xs[-1]) ** exponent


def _power(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float]:
    """Start, factor and exponent. The start is none below 0, and no more than the smallest case."""

    def off(at: np.ndarray) -> np.ndarray:
        share, at_last, exponent = at
        return np.log(share * y[0] + np.exp(at_last) * (x / x[-1]) ** exponent) - np.log(y)

    bounds = [0, -np.inf, 0], [1, np.inf, np.inf]
    tried = [least_squares(off, [share, np.log(y[-1]), 1.0], bounds=bounds, xtol=1e-12, ftol=1e-12, gtol=1e-12)
             for share in _STARTS]  # fmt: skip
    share, at_last, exponent = min(tried, key=lambda one: one.cost).x
    return float(share * y[0]), float(np.exp(at_last) / x[-1] ** exponent), float(exponent)
