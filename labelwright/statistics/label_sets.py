"""How good sets of labels are, where rows may have any of some: F1, Jaccard, hamming loss, exact match, ranking.

Every metric takes ``LabelSets`` and row ``weights`` of shape (..., n_rows), and answers with shape (...), as those of
``labelwright.statistics.metrics`` do. It measures rows, where that file measures the answers to their points. Checked
against scikit-learn in the tests, with ``zero_division`` as below.

What is 0/0 counts so: a label that no row has and none is given is left out of means over labels (``np.nan`` in
scikit-learn's words), and a label without a positive row out of the mean average precision, which is 0 where no label
has one. A row that has no label and is given none is wholly right (1).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwright.statistics.intervals import N_RESAMPLES, Interval, Resampled, resampled
from labelwright.statistics.metrics import Floats
from labelwright.statistics.proportions import share_interval

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class LabelSets:
    """What is right and what is said of rows, each of shape (n_rows, n_labels).

    Attributes
    ----------
    gold, said : bool ndarray
        Whether the row has the label, and is given it.
    probs : float64 ndarray
        Of the label, for what ranks rows.
    known : bool ndarray
        Whether it is known that the row has the label or has it not; only such cells count. A row has one at least.
    answered : bool ndarray
        Whether anything was answered. What was not is not said, and is wrong.
    """

    gold: Bools
    said: Bools
    probs: Floats
    known: Bools
    answered: Bools

    @classmethod
    def of(cls, gold: Any, said: Any, probs: Any = None) -> LabelSets:
        """Sets of rows of which everything is known and answered."""
        gold, said = np.asarray(gold, dtype=bool), np.asarray(said, dtype=bool)
        every = np.ones_like(gold)
        return cls(gold, said, np.asarray(said if probs is None else probs, dtype=np.float64), every, every)

    @property
    def wrong(self) -> Bools:
        """Known cells that are wrong, (n_rows, n_labels)."""
        return self.known & ((self.gold != self.said) | ~self.answered)

    @property
    def exact(self) -> Bools:
        """Which rows have no wrong cell, (n_rows,)."""
        return np.asarray(~self.wrong.any(axis=1))

    def counts(self) -> tuple[Floats, Floats, Floats]:
        """True positives, cells that are said, and cells that are right, each (n_rows, n_labels) of 1 and 0."""
        said, gold = self.said & self.known & self.answered, self.gold & self.known
        return (said & gold).astype(np.float64), said.astype(np.float64), gold.astype(np.float64)


def micro_f1(sets: LabelSets, weights: Floats) -> Any:
    """F1 over all cells together, in [0, 1]; 0 where nothing is right and nothing said."""
    true, said, gold = (weights @ one.sum(axis=1) for one in sets.counts())
    return _f1(true, said, gold)


def macro_f1(sets: LabelSets, weights: Floats) -> Any:
    """Mean of the labels' F1 scores, in [0, 1]; labels that are neither right nor said anywhere do not count."""
    true, said, gold = (weights @ one for one in sets.counts())
    return _f1(true, said, gold).sum(axis=-1) / np.maximum((said + gold > 0).sum(axis=-1), 1)


def sample_f1(sets: LabelSets, weights: Floats) -> Any:
    """Mean of the rows' F1 scores, in [0, 1]; 1 for a row that has no label and is given none."""
    true, said, gold = (one.sum(axis=1) for one in sets.counts())
    return _mean(np.where(said + gold > 0, _f1(true, said, gold), 1.0), weights)


def jaccard(sets: LabelSets, weights: Floats) -> Any:
    """Mean over rows of |right and said| / |right or said|, in [0, 1]; 1 for a row without either."""
    true, said, gold = (one.sum(axis=1) for one in sets.counts())
    union = said + gold - true
    return _mean(np.where(union > 0, true / np.maximum(union, 1), 1.0), weights)


def hamming_loss(sets: LabelSets, weights: Floats) -> Any:
    """Share of known cells that are wrong, in [0, 1]; lower is better."""
    n_known = sets.known.sum(axis=1).astype(np.float64)
    return (weights @ sets.wrong.sum(axis=1).astype(np.float64)) / (weights @ n_known)


def exact_match(sets: LabelSets, weights: Floats) -> Any:
    """Share of rows of which every known cell is right, in [0, 1]. Elsewhere: subset accuracy."""
    return _mean(sets.exact.astype(np.float64), weights)


def mean_average_precision(sets: LabelSets, weights: Floats) -> Any:
    """Mean over labels of the average precision, in [0, 1]: sum over thresholds of (R_n - R_(n-1)) P_n.

    As scikit-learn's ``average_precision_score`` has it, macro: not interpolated, rows of equal probability together.
    """
    total, n_labels = np.zeros(weights.shape[:-1]), np.zeros(weights.shape[:-1])
    for label in range(sets.gold.shape[1]):
        rows = np.flatnonzero(sets.known[:, label])
        order = rows[np.argsort(-sets.probs[rows, label], kind="stable")]
        if not sets.gold[order, label].any():
            continue
        ends = np.append(np.flatnonzero(np.diff(sets.probs[order, label])), len(order) - 1)
        drawn = weights[..., order]
        n_said = np.cumsum(drawn, axis=-1)[..., ends]
        true = np.cumsum(drawn * sets.gold[order, label], axis=-1)[..., ends]
        n_gold = true[..., -1]
        gained = np.diff(true, axis=-1, prepend=0.0)
        average = (gained * true / np.maximum(n_said, 1)).sum(axis=-1) / np.maximum(n_gold, 1)
        total, n_labels = total + average, n_labels + (n_gold > 0)
    return total / np.maximum(n_labels, 1)


@dataclass(frozen=True)
class SetMetric:
    """A metric of sets of labels, a share, and what heads its column.

    Attributes
    ----------
    measure : function of LabelSets and weights
    title : str
    higher_is_better : bool
    """

    measure: Callable[[LabelSets, Floats], Any]
    title: str
    higher_is_better: bool = True

    def __call__(self, sets: LabelSets, weights: Floats | None = None) -> Any:
        """The metric, (...) for weights (..., n_rows)."""
        return self.measure(sets, np.ones(len(sets.gold)) if weights is None else weights)


SET_METRICS: Mapping[str, SetMetric] = {
    "micro_f1": SetMetric(micro_f1, "micro-F1 %"),
    "macro_f1": SetMetric(macro_f1, "macro-F1 of labels %"),
    "sample_f1": SetMetric(sample_f1, "F1 of rows %"),
    "jaccard": SetMetric(jaccard, "Jaccard %"),
    "hamming_loss": SetMetric(hamming_loss, "hamming loss %", higher_is_better=False),
    "exact_match": SetMetric(exact_match, "exact match %"),
    "mean_average_precision": SetMetric(mean_average_precision, "mean average precision %"),
}


def resampled_sets(
    classifiers: Mapping[str, LabelSets],
    groups: Sequence[str] | None = None,
    *,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> dict[str, dict[str, Resampled]]:
    """Every metric of every classifier on the same bootstrap resamples of the rows, groups drawn whole.

    Parameters
    ----------
    classifiers : mapping of name to LabelSets
        All of the same rows.
    groups : sequence of n_rows, optional
        The group of each row.
    """
    measures: dict[tuple[str, str], Callable[[Floats], Any]] = {
        (name, key): lambda weights, sets=sets, metric=metric: metric(sets, weights)  # type: ignore[misc]
        for name, sets in classifiers.items()
        for key, metric in SET_METRICS.items()
    }
    n_rows = len(next(iter(classifiers.values())).gold)
    found = resampled(measures, n_rows, groups, n_resamples=n_resamples, seed=seed)
    return {name: {key: found[name, key] for key in SET_METRICS} for name in classifiers}


def set_intervals(
    sets: LabelSets, found: Mapping[str, Resampled], groups: Sequence[str] | None = None
) -> dict[str, Interval]:
    """95 % intervals of one classifier's metrics: exact match's of a share of rows, the others' of the resamples.

    Where no resample shows another value than the one there is, all rows being right, say, the interval reaches as far
    as that of exact match, of the loss as far as that of rows that are not.
    """
    share = share_interval(sets.exact, groups)
    missed = Interval(1 - share.value, 1 - share.high, 1 - share.low)
    intervals = {}
    for name, one in found.items():
        interval, reach = one.interval(), share if SET_METRICS[name].higher_is_better else missed
        if np.ptp(one.draws) == 0 and one.value == reach.value:
            interval = reach
        intervals[name] = share if name == "exact_match" else interval
    return intervals


def per_label(sets: LabelSets, names: Sequence[str]) -> list[dict[str, Any]]:
    """One dictionary a label: label, n_rows that have it, n_predicted that are given it, precision, recall, f1.

    A precision, recall or F1 that is 0/0 is given as 0.
    """
    return [
        {
            "label": name,
            "n_rows": int(gold),
            "n_predicted": int(said),
            "precision": true / said if said else 0.0,
            "recall": true / gold if gold else 0.0,
            "f1": 2 * true / (said + gold) if said + gold else 0.0,
        }
        for name, true, said, gold in zip(names, *(one.sum(axis=0).tolist() for one in sets.counts()), strict=True)
    ]


def _f1(true: Any, said: Any, gold: Any) -> Any:
    return 2 * true / np.where(said + gold > 0, said + gold, 1)


def _mean(values: Floats, weights: Floats) -> Any:
    return (weights @ values) / weights.sum(axis=-1)
