"""The probability from which on a label is said, where any of some labels may be: fitted for one of the F1 scores.

A calibrated probability of a half is right for the share of right answers. F1 counts no label that is rightly not said,
so for it a rare label is best said well below a half (Lipton, Elkan and Naryanaswamy 2014, "Optimal thresholding of
classifiers to maximize F1 measure": at half of the F1 that is reached). Macro-F1 takes each label by itself and has a
threshold a label; micro-F1 and the F1 of rows have one for all labels, which few rows can carry. What is fitted on is
calib; ``cross_fitted`` says what that is worth on rows that it was not fitted on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, get_args

import numpy as np

from labelwright.statistics.calibration import group_folds
from labelwright.statistics.label_sets import SET_METRICS, Bools, LabelSets
from labelwright.statistics.metrics import Floats

Maximised = Literal["micro_f1", "macro_f1", "sample_f1"]
MAXIMISED: tuple[Maximised, ...] = get_args(Maximised)
HALF = 0.5
# With fewer cells that have a label, or fewer that have not, a threshold is chance: it stays a half.
LEAST_CELLS = 5
# What lies beyond would never say a label, or always.
LOWEST, HIGHEST = 0.001, 0.999
# Of the F1 of rows, which has to be counted anew at each, so many thresholds are tried.
_MOST_TRIED = 200
_SAME = 1e-12


def fit_thresholds(sets: LabelSets, maximise: Maximised) -> Floats:
    """The probability of each label from which on it is said, (n_labels,), in [0.001, 0.999]; 0.5 where rows are few.

    Of thresholds that are equally good, the one nearest to a half.

    Parameters
    ----------
    sets : LabelSets
        What they say is not read. Their probabilities should not have been fitted on these rows.
    maximise : {"micro_f1", "macro_f1", "sample_f1"}
    """
    n_labels = sets.gold.shape[1]
    cells = sets.known & sets.answered
    if maximise == "macro_f1":
        each = [(sets.probs[own, k], sets.gold[own, k]) for k, own in enumerate(cells.T)]
        return np.array([_best_of_f1(*one) if _are_enough(one[1]) else HALF for one in each])
    if not _are_enough(sets.gold[cells]):
        return np.full(n_labels, HALF)
    if maximise == "micro_f1":
        return np.full(n_labels, _best_of_f1(sets.probs[cells], sets.gold[cells]))
    tried = _between(sets.probs[cells])
    if len(tried) > _MOST_TRIED:
        tried = np.unique([*np.quantile(tried, np.linspace(0, 1, _MOST_TRIED)), HALF])
    metric = SET_METRICS[maximise]
    values = np.array([metric(said_from(sets, np.full(n_labels, one))) for one in tried])
    return np.full(n_labels, _nearest_to_half(tried, values))


def said_from(sets: LabelSets, thresholds: Floats) -> LabelSets:
    """The same rows, given each label of which the probability reaches its threshold, (n_labels,)."""
    return replace(sets, said=sets.answered & (sets.probs >= thresholds))


def cross_fitted(
    sets: LabelSets, maximise: Maximised, groups: Sequence[str], n_folds: int, seed: int
) -> tuple[float, float]:
    """The metric at a half, and at thresholds that were fitted without the row's group.

    Raises
    ------
    DataError
        Fewer than two groups.
    """
    folds = group_folds(np.zeros(len(sets.gold), dtype=np.int64), groups, n_folds, seed)
    said = np.zeros_like(sets.said)
    for fold in np.unique(folds):
        inside = folds == fold
        thresholds = fit_thresholds(_rows(sets, ~inside), maximise)
        said[inside] = said_from(_rows(sets, inside), thresholds).said
    metric = SET_METRICS[maximise]
    before = said_from(sets, np.full(sets.gold.shape[1], HALF))
    return float(metric(before)), float(metric(replace(sets, said=said)))


def _best_of_f1(probs: Floats, gold: Bools) -> float:
    """The threshold of highest F1 over cells, each (n_cells,)."""
    order = np.argsort(probs)
    tried = _between(probs)
    n_below = np.searchsorted(probs[order], tried, side="left")
    true_below = np.concatenate([[0], np.cumsum(gold[order])])[n_below]
    n_gold = gold.sum()
    return _nearest_to_half(tried, 2 * (n_gold - true_below) / (len(probs) - n_below + n_gold))


def _between(probs: Floats) -> Floats:
    """Thresholds between probabilities, so that rounding decides nothing; one below all of them; and a half."""
    known = np.unique(probs)
    found = np.concatenate([[known[0] / 2], (known[1:] + known[:-1]) / 2, [HALF]])
    return np.unique(np.clip(found, LOWEST, HIGHEST))


def _nearest_to_half(tried: Floats, values: Floats) -> float:
    best = tried[values >= values.max() - _SAME]
    return float(best[np.argmin(abs(best - HALF))])


def _are_enough(gold: Bools) -> bool:
    return min(int(gold.sum()), int((~gold).sum())) >= LEAST_CELLS


def _rows(sets: LabelSets, which: Bools) -> LabelSets:
    return LabelSets(sets.gold[which], sets.said[which], sets.probs[which], sets.known[which], sets.answered[which])
