"""Metrics of levels in order: how far an answer is from the right one, where near is better than far.

A level counts as a number (``labelwright.data.asked.levels``). Two answers are measured: the level that is said, and
the mean level, which the probabilities have as a whole. A row without an answer counts as the level that is farthest
from the right one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from labelwright.statistics.metrics import Answers, Floats, Ints, Metric, answers, answers_of


@dataclass(frozen=True)
class Levels(Answers):
    """What the metrics of this file need, besides what all answers have; each of shape (n_rows,).

    Attributes
    ----------
    place : float64 ndarray
        The position of the level that is said.
    value, mean, right : float64 ndarray
        What that counts as, the mean level, and what the right one counts as.
    """

    place: Floats
    value: Floats
    mean: Floats
    right: Floats


def levels_of(probs: Floats, gold: Ints, values: Sequence[float], said: Ints | None = None) -> Levels:
    """What the metrics need of probabilities over levels.

    Parameters
    ----------
    probs : ndarray of shape (n_rows, n_levels)
        Each row sums to 1, or is 0 throughout where there is no answer.
    gold : int ndarray of shape (n_rows,)
    values : sequence of n_levels float
        Rising.
    said : int ndarray of shape (n_rows,), optional
        The levels that are said, where a decision takes others than the likeliest ones; -1 for no answer.
    """
    worth = np.asarray(values, dtype=np.float64)
    said = answers(probs) if said is None else said
    farthest = np.abs(worth[None] - worth[gold][:, None]).argmax(axis=1)
    place = np.where(said < 0, farthest, said)
    mean = np.where((probs > 0).any(axis=1), probs @ worth, worth[farthest])
    read = answers_of(probs, gold)
    known = (said, read.confidence, read.at_gold, read.square, read.n_labels)
    return Levels(*known, place.astype(np.float64), worth[place], mean, worth[gold])


def absolute_error(levels: Levels, gold: Ints, weights: Floats | None = None) -> Any:
    """Mean of |level that is said - right level|, at least 0."""
    return _mean(abs(levels.value - levels.right), weights)


def absolute_error_of_mean(levels: Levels, gold: Ints, weights: Floats | None = None) -> Any:
    """Mean of |mean level - right level|, at least 0."""
    return _mean(abs(levels.mean - levels.right), weights)


def quadratic_kappa(levels: Levels, gold: Ints, weights: Floats | None = None) -> Any:
    """Cohen's weighted kappa with squared distances of positions, at most 1; 0: as two raters by chance (Cohen 1968).

    1 - E(g - s)^2 / (E over independent g and s of the same), in which the second is Var g + Var s + (mean g - mean
    s)^2. Where all rows have the same level and are answered with it, that is 0 / 0, and counts as 1.
    """
    right, said = gold.astype(np.float64), levels.place
    apart = _mean((right - said) ** 2, weights)
    means = [_mean(one, weights) for one in (right, said)]
    spreads = [_mean(one**2, weights) - mean**2 for one, mean in zip((right, said), means, strict=True)]
    by_chance = spreads[0] + spreads[1] + (means[0] - means[1]) ** 2
    return np.where(by_chance > _ROUNDING, 1 - apart / np.where(by_chance > _ROUNDING, by_chance, 1.0), 1.0)


def spearman(levels: Levels, gold: Ints, weights: Floats | None = None) -> Any:
    """Spearman's rank correlation of mean level and right level, in [-1, 1]; 0 where either is the same throughout.

    Equal values share their mean rank (Kendall 1948). A row of weight k counts as k rows.
    """
    weights = np.ones(len(gold)) if weights is None else np.asarray(weights, dtype=np.float64)
    ranks = [_ranks(one, weights) for one in (levels.mean, levels.right)]
    total = weights.sum(axis=-1, keepdims=True)
    first, second = (one - (weights * one).sum(axis=-1, keepdims=True) / total for one in ranks)
    spread = (weights * first**2).sum(axis=-1) * (weights * second**2).sum(axis=-1)
    # Ranks are halves of whole numbers: what is smaller is rounding.
    varies = spread > _ROUNDING
    return np.where(varies, (weights * first * second).sum(axis=-1) / np.sqrt(np.where(varies, spread, 1.0)), 0.0)


_ROUNDING = 1e-9
# Names, titles and which way is better, as ``labelwright.statistics.metrics.METRICS`` has those of every task.
ORDERED: Mapping[str, Metric] = {
    "mean_absolute_error": Metric(absolute_error, "mean absolute error", of_free_text=True),
    "mean_absolute_error_of_mean": Metric(absolute_error_of_mean, "of the mean level"),
    "quadratic_kappa": Metric(quadratic_kappa, "quadratic kappa", higher_is_better=True, of_free_text=True),
    "spearman": Metric(spearman, "Spearman", higher_is_better=True),
}


def _mean(values: Floats, weights: Floats | None) -> Any:
    return values.mean() if weights is None else (weights @ values) / weights.sum(axis=-1)


def _ranks(values: Floats, weights: Floats) -> Floats:
    """The rank of each row, (..., n_rows): rows below it, and half of those that are equal, itself among them."""
    order = np.argsort(values, kind="stable")
    ranked = values[order]
    starts = np.flatnonzero(np.append(True, ranked[1:] != ranked[:-1]))
    sums = np.add.reduceat(weights[..., order], starts, axis=-1)
    of_tie = np.cumsum(sums, axis=-1) - sums + (sums + 1) / 2
    sizes = np.diff(np.append(starts, len(values)))
    ranks = np.empty_like(weights)
    ranks[..., order] = np.repeat(of_tie, sizes, axis=-1)
    return ranks
