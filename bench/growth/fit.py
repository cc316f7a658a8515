"""Exponents: y = a x^b through measured cases, how sure b is, and from where on growth is more than linear."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from labelwright.statistics.proportions import LEVEL, Interval

# The fixed cost of a start is most of a small case, so exponents are fitted over the upper cases alone.
UPPER = 4
# Between two cases more than this exponent is not linear any more.
STEEP = 1.2


@dataclass(frozen=True)
class Fit:
    """y = factor * x^exponent over the upper cases.

    Attributes
    ----------
    exponent : Interval
        From t-quantiles of the residuals' scatter; without ends, (-inf, inf), where there are two cases.
    factor : float
    steep_from : float, optional
        The first measured x behind which growth is steeper than ``STEEP``; None where it is nowhere.
    """

    exponent: Interval
    factor: float
    steep_from: float | None


def fitted(xs: Sequence[float], ys: Sequence[float], level: float = LEVEL) -> Fit | None:
    """Least squares on logarithms (Draper and Smith 1998, 1.4 for the slope's interval); None of fewer than two cases.

    Parameters
    ----------
    xs, ys : sequence of float, above 0
        In rising order of x.

    Examples
    --------
    >>> fitted([1, 10, 100], [3.0, 30.0, 300.0]).exponent.value
    1.0
    """
    if len(xs) < 2:
        return None
    every = np.log(np.asarray(xs, dtype=float)), np.log(np.asarray(ys, dtype=float))
    x, y = (one[-UPPER:] for one in every)
    spread = float(((x - x.mean()) ** 2).sum())
    slope = float((x - x.mean()) @ (y - y.mean())) / spread
    start = float(y.mean() - slope * x.mean())
    reach = float("inf")
    if len(x) > 2:
        scatter = float(((y - start - slope * x) ** 2).sum()) / (len(x) - 2)
        reach = float(stats.t.ppf((1 + level) / 2, len(x) - 2)) * float(np.sqrt(scatter / spread))
    local = np.diff(every[1]) / np.diff(every[0])
    # Steep to the end: a single case that a busy machine took long for is none.
    flat = np.flatnonzero(local <= STEEP)
    first = int(flat[-1]) + 1 if len(flat) else 0
    steep = float(xs[first]) if first < len(local) else None
    return Fit(Interval(round(slope, 12), slope - reach, slope + reach), float(np.exp(start)), steep)
