"""Error rates that can be promised from a finite number of rows. Exact, numpy only.

The question is how many of the *answered* rows are wrong, where a row is answered from some confidence on. For a
threshold that was fixed beforehand, and given that n of the rows reach it, the wrong ones among them are binomial with
n and the true rate; so the hypothesis "the rate is above alpha" has the exact p-value P(Bin(n, alpha) <= wrong). To
find the threshold that answers most, many are tested, and the more are tested the likelier one of them passes by
chance. Learn then Test (Angelopoulos, Bates, Candès, Jordan and Lei 2021, "Learn then Test: calibrating predictive
algorithms to achieve risk control", 3.2) tests them in an order fixed beforehand and stops at the first that does not
pass: then any of those that passed is right with the wanted confidence, at no price for their number.

What must be fixed beforehand, thresholds and order, is taken from rows that no test looks at: those that the
calibration was fitted on (their "split fixed sequence testing"). The order begins at the threshold that is likeliest to
pass by what those rows show, and goes on to lower ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from labelwright.statistics.metrics import Floats, Ints

# Thresholds to test: a hundredth of the rows apart.
N_THRESHOLDS = 100
_BISECTIONS = 40
# A factor of rows beyond which "more rows would do" helps nobody.
_MOST_TIMES = 1000


@dataclass(frozen=True)
class Counts:
    """Rows answered, and wrong among them, from each of ``thresholds`` on.

    Attributes
    ----------
    thresholds : tuple of float
        From high to low; the last is 0, at which every row is answered.
    first : tuple of (answered, wrong)
        Among the rows that thresholds and order are taken from.
    tested : tuple of (answered, wrong)
        Among those that the promise is tested on.
    """

    thresholds: tuple[float, ...]
    first: tuple[tuple[int, int], ...]
    tested: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, first: tuple[Floats, Ints], tested: tuple[Floats, Ints], n_thresholds: int = N_THRESHOLDS) -> Counts:
        """Count rows; each side is (confidence, is wrong), both of shape (n_rows,). Negative confidence: not answered.

        The thresholds are quantiles of the first side's confidences alone.
        """
        seen = first[0][first[0] >= 0]
        quantiles = np.quantile(seen, np.arange(1, n_thresholds) / n_thresholds) if len(seen) else np.zeros(0)
        thresholds = np.unique(np.append(0.0, quantiles))[::-1]
        return cls(tuple(thresholds.tolist()), _counted(*first, thresholds), _counted(*tested, thresholds))

    def threshold(self, rate: float, confidence: float) -> float:
        """The lowest threshold from which on at most ``rate`` of the answered are wrong, with this confidence.

        Over repeated draws of the tested rows, the true rate is above ``rate`` in at most 1 - confidence of them.
        Infinity where nothing can be promised.
        """
        start = max(range(len(self.thresholds)), key=lambda i: _chance_to_pass(*self.first[i], rate, confidence))
        found = math.inf
        for i in range(start, len(self.thresholds)):
            answered, wrong = self.tested[i]
            if log_binomial_tail(wrong, answered, rate) > math.log1p(-confidence):
                break
            found = self.thresholds[i]
        return found

    def times_needed(self, rate: float, confidence: float) -> float:
        """How many times as many rows would do, if they were wrong as often at each threshold; infinity: never.

        Guessed from all rows, each rate as if one more row had been wrong of two more (Laplace), so that a few rows
        without a mistake are not taken for certain. It is no promise itself.
        """
        best = math.inf
        for (n_first, w_first), (n_tested, w_tested) in zip(self.first, self.tested, strict=True):
            share = (w_first + w_tested + 1) / (n_first + n_tested + 2)
            if n_tested == 0 or share >= rate:
                continue
            low, high = 0.0, float(_MOST_TIMES)
            if not _passes(share, high * n_tested, rate, confidence):
                continue
            for _ in range(_BISECTIONS):
                middle = (low + high) / 2
                passes = _passes(share, middle * n_tested, rate, confidence)
                low, high = (low, middle) if passes else (middle, high)
            best = min(best, high)
        return best


def binomial_tail(wrong: int, n: int, rate: float) -> float:
    """P(Bin(n, rate) <= wrong), the exact p-value of the hypothesis that the true rate is ``rate`` or more.

    >>> round(binomial_tail(0, 59, 0.05), 4), binomial_tail(0, 0, 0.05)
    (0.0485, 1.0)
    """
    return math.exp(log_binomial_tail(wrong, n, rate))


def log_binomial_tail(wrong: int, n: int, rate: float) -> float:
    """Its natural logarithm, which tells those apart that are 0 as numbers."""
    if wrong >= n or rate <= 0:
        return 0.0
    if rate >= 1:
        return -math.inf
    k, factorial = np.arange(wrong + 1), _log_factorials(2 ** n.bit_length())
    terms = factorial[n] - factorial[k] - factorial[n - k] + k * math.log(rate) + (n - k) * math.log1p(-rate)
    most = float(terms.max())
    return min(0.0, most + math.log(float(np.exp(terms - most).sum())))


def risk_bound(wrong: int, n: int, confidence: float = 0.95) -> float:
    """The rate that the true one is below, with this confidence, from ``wrong`` of ``n`` rows (Clopper, Pearson 1934).

    >>> round(risk_bound(0, 59), 3), risk_bound(3, 3)
    (0.05, 1.0)
    """
    if wrong >= n:
        return 1.0
    low, high = wrong / n, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if binomial_tail(wrong, n, middle) > 1 - confidence else (low, middle)
    return high


def least_rows(rate: float, confidence: float) -> int:
    """Answered rows below which nothing can be promised, even if none of them is wrong.

    >>> least_rows(0.05, 0.95), least_rows(0.1, 0.9)
    (59, 22)
    """
    return math.ceil(math.log1p(-confidence) / math.log1p(-rate) - 1e-9)


# One a power of two: as many as a bundle's counts can need.
@lru_cache(maxsize=32)
def _log_factorials(most: int) -> Floats:
    return np.append(0.0, np.cumsum(np.log(np.arange(1, most + 1))))


def _chance_to_pass(n: int, wrong: int, rate: float, confidence: float) -> float:
    """How likely as many rows again would pass the test, their true rate being guessed from these (Laplace)."""
    if wrong >= rate * n:
        return 0.0
    k, factorial = np.arange(int(rate * n) + 1), _log_factorials(2 ** n.bit_length())
    terms = factorial[n] - factorial[k] - factorial[n - k] + k * math.log(rate) + (n - k) * math.log1p(-rate)
    most_wrong = int((np.logaddexp.accumulate(terms) <= math.log1p(-confidence)).sum()) - 1
    return binomial_tail(most_wrong, n, (wrong + 1) / (n + 2)) if most_wrong >= 0 else 0.0


def _passes(share: float, n: float, rate: float, confidence: float) -> bool:
    rows = math.floor(n)
    return log_binomial_tail(math.ceil(share * rows - 1e-9), rows, rate) <= math.log1p(-confidence)


def _counted(confidence: Floats, wrong: Ints, thresholds: Floats) -> tuple[tuple[int, int], ...]:
    at_least = confidence[:, None] >= thresholds
    answered, false = at_least.sum(axis=0), (at_least & wrong.astype(bool)[:, None]).sum(axis=0)
    return tuple(zip(answered.tolist(), false.tolist(), strict=True))
