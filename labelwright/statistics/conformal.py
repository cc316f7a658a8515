"""Sets of labels that hold the right one as often as promised: split conformal prediction. numpy only.

A set holds every label whose probability is at least a threshold, taken so that of n exchangeable rows and one new one
the new one's gold label falls below it with a probability of at most 1 - level (Vovk, Gammerman and Shafer 2005;
Sadinle, Lei and Wasserman 2019, "Least ambiguous set-valued classifiers"). A label with enough rows has a threshold of
its own, which makes the promise hold among rows of that label as well (Mondrian, or class-conditional); the others
share one.
"""

from __future__ import annotations

import numpy as np

from labelwright.statistics.metrics import Floats, Ints

# (n + 1) (1 - level) is a whole number in words, and a little less in floats.
_ROUNDING = 1e-9


def set_thresholds(at_gold: Floats, gold: Ints, n_labels: int, level: float) -> Floats:
    """The probability from which on each label belongs to a set, (n_labels,); 0 where too few rows say anything.

    Parameters
    ----------
    at_gold, gold : ndarray of shape (n_rows,)
        The probability of the right label, and its position, of rows that no part of the classifier was fitted on.
    level : float in (0, 1)
        How often the right label is to be in the set.

    Examples
    --------
    >>> set_thresholds(np.array([0.9, 0.8, 0.7, 0.2]), np.zeros(4, dtype=int), 2, 0.8)
    array([0.2, 0. ])
    """
    n_rows = np.bincount(gold, minlength=n_labels)
    own = _place(n_rows, level) >= 1
    thresholds = np.full(n_labels, _lowest(at_gold[~own[gold]], level))
    for label in np.flatnonzero(own):
        thresholds[label] = _lowest(at_gold[gold == label], level)
    return thresholds


def _lowest(at_gold: Floats, level: float) -> float:
    place = int(_place(np.array(len(at_gold)), level))
    return float(np.sort(at_gold)[place - 1]) if place else 0.0


def _place(n_rows: Ints, level: float) -> Ints:
    """Which of so many rows, the least probable first, the threshold is; 0 for none of them."""
    return np.floor((n_rows + 1) * (1 - level) + _ROUNDING).astype(np.int64)
