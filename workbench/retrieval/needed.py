"""How accurate labels must be: the right labels of queries, some of them replaced, and what searches are then worth.

With a share 1 - a of the labels wrong, a query is worth on average a times what it is worth with its right label and
1 - a times what it is with a wrong one. So the mean over queries is a straight line in a, and where it crosses plain
search is estimated from all accuracies that were tried at once, by least squares. The accuracies that cannot be told
from the crossing are those at which the interval of the difference, over resamples of groups of queries, holds 0 (a
test turned round, as Fieller 1954 does for a quotient of means).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from labelwright.statistics.intervals import LEVEL, Interval, Resampled, resampled_means
from labelwright.statistics.metrics import Floats, Ints
from workbench.retrieval.report.result import BY_CHANCE, CONFUSED, Curve

ACCURACIES = tuple(round(step / 10, 1) for step in range(11))
N_DRAWS = 5
# Accuracies that are held against plain search: a tenth of a point apart.
_FINE = np.linspace(0, 1, 1001)

# From a label for each query to what each is then worth, (n_queries,).
Worth = Callable[[Ints], Floats]


@dataclass(frozen=True)
class Wrong:
    """Wrong labels, drawn several times.

    Attributes
    ----------
    kind : str
        ``BY_CHANCE`` or ``CONFUSED``.
    labels : int ndarray of shape (n_draws, n_queries)
        Never the right one.
    order : ndarray of shape (n_draws, n_queries)
        In [0, 1): at accuracy a the labels of those queries are right whose number is below a. The same queries stay
        right as accuracy grows, so that a curve is as smooth as it can be.
    """

    kind: str
    labels: Ints
    order: Floats


def wrong_labels(gold: Ints, probs: Floats, seed: int, n_draws: int = N_DRAWS) -> list[Wrong]:
    """Wrong labels of queries, by chance and as a bundle mixes labels up.

    Parameters
    ----------
    gold : int ndarray of shape (n_queries,)
    probs : ndarray of shape (n_queries, n_labels)
        What the bundle says.
    """
    n_labels = probs.shape[1]
    even = (1 - np.eye(n_labels)) / (n_labels - 1)
    tables = {BY_CHANCE: even, CONFUSED: confusion(gold, probs)}
    return [_drawn(kind, gold, table, seed, n_draws) for kind, table in tables.items()]


def confusion(gold: Ints, probs: Floats) -> Floats:
    """What a bundle says instead of each right label, (n_labels, n_labels): rows sum to 1, the diagonal is 0.

    The mean of its probabilities over the queries of a label, which says more of rare mistakes than counts do, and one
    query more that is spread evenly over the other labels.
    """
    n_labels = probs.shape[1]
    mass = np.zeros((n_labels, n_labels))
    np.add.at(mass, gold, probs)
    others = 1 - np.eye(n_labels)
    # Of wrong labels a sure bundle says little; as much is added as it says of them on one query of that label.
    n_of = np.maximum(np.bincount(gold, minlength=n_labels), 1)[:, None]
    said = mass * others
    added = said.sum(axis=1, keepdims=True) / n_of
    table: Floats = said + np.where(added > 0, added, 1.0) * others / (n_labels - 1)
    return table / table.sum(axis=1, keepdims=True)


def _drawn(kind: str, gold: Ints, table: Floats, seed: int, n_draws: int) -> Wrong:
    rng = np.random.default_rng(seed)
    upto = np.cumsum(table, axis=1)[gold]
    # Behind the last label that can be drawn there may be rounding.
    upto /= upto[:, -1:]
    labels = np.stack([(upto <= rng.random(len(gold))[:, None]).sum(axis=1) for _ in range(n_draws)])
    return Wrong(kind, labels.astype(np.int64), rng.random((n_draws, len(gold))))


def curve_of(
    search: str, way: str, wrong: Wrong, gold: Ints, plain: Floats, worth: Worth, groups: Sequence[str]
) -> Curve:
    """What a search is worth over the accuracy of its labels.

    Parameters
    ----------
    plain : ndarray of shape (n_queries,)
        What each query is worth without a label.
    worth : callable
        From labels, (n_queries,), to what each query is worth with them.
    """
    with_right = worth(gold)
    with_wrong = np.stack([worth(labels) for labels in wrong.labels])
    values = np.stack(
        [np.where(wrong.order < a, with_right, with_wrong).mean(axis=0) for a in ACCURACIES], axis=1
    )  # (n_queries, n_accuracies)
    means = zip(values.mean(axis=0).tolist(), resampled_means(values, groups).T, strict=True)
    ndcg = tuple(Resampled(*one).interval() for one in means)
    return Curve(search, way, wrong.kind, ACCURACIES, ndcg, crossing(values - plain[:, None], groups))


def crossing(differences: Floats, groups: Sequence[str], level: float = LEVEL) -> Interval | None:
    """The accuracy from which on differences, (n_queries, n_accuracies), are above 0; None where they never are.

    Returns
    -------
    Interval or None
        0 where they are at any accuracy. The ends are those of the accuracies that are not told apart from it.
    """
    design = np.column_stack([np.ones(len(ACCURACIES)), ACCURACIES])
    lines = differences @ np.linalg.pinv(design).T  # (n_queries, 2): what is lost with wrong labels, and the slope
    start, slope = lines.mean(axis=0)
    if start + slope <= 0:
        return None
    value = 0.0 if start >= 0 else float(-start / slope)
    draws = resampled_means(lines, groups)
    ends = np.quantile(draws[:, :1] + draws[:, 1:] * _FINE, [(1 - level) / 2, (1 + level) / 2], axis=0)
    unsure = _FINE[(ends[0] <= 0) & (ends[1] >= 0)]
    low, high = (float(unsure.min()), float(unsure.max())) if len(unsure) else (value, value)
    return Interval(value, min(low, value), max(high, value))
