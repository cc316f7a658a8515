"""Which members an ensemble has, and with which weights: greedily on dev, with replacement (Caruana et al. 2004).

"Ensemble Selection from Libraries of Models": begin with the best few, sorted; then add, again and again, whichever
member lowers the loss most, one that is in already too; a member's weight is how often it was taken. On few dev rows
that overfits, so it is done on many resamples of them, whole groups drawn; the weights are averaged, and taken half way
to equal ones. The loss is log loss: a hundred rows are too coarse for accuracy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from labelwright.engines.together.plan import MEANS, Level, Mean, Plan, average
from labelwright.statistics.metrics import Floats, Ints, log_loss

_MOST_PICKS = 24
# A member of less weight says little and costs as much as any other.
_LEAST_WEIGHT = 0.05
# A lower loss by less than this is not worth another pick.
_WORTH = 1e-5


def choose_ensemble(
    probs: Mapping[str, Floats],
    gold: Ints,
    groups: Sequence[str],
    most_members: int,
    n_bags: int,
    seed: int,
    means: Sequence[Mean] = MEANS,
) -> tuple[tuple[str, ...], Plan]:
    """The members that are asked, and the plan of one level over them; one alone where no mean is better than it.

    Parameters
    ----------
    probs : mapping of member to ndarray of shape (n_dev, n_labels)
        Calibrated, on dev rows.
    gold : int ndarray of shape (n_dev,)
    groups : sequence of str
        Rows that are drawn together.
    n_bags : int
        Resamples of the rows.
    means : sequence of Mean
        Those that are tried; the one of lower loss on dev is taken.
    """
    chance = np.random.default_rng(seed)
    _, of_group = np.unique(np.asarray(groups), return_inverse=True)
    n_groups = int(of_group.max()) + 1
    drawn = [np.bincount(chance.integers(0, n_groups, n_groups), minlength=n_groups)[of_group] for _ in range(n_bags)]
    best: tuple[float, tuple[str, ...], Plan] | None = None
    for mean in means:
        shares = np.mean([_picked(list(probs.values()), gold, rows.astype(float), mean) for rows in drawn], axis=0)
        weights = _kept(shares, most_members)
        names = tuple(name for name, weight in zip(probs, weights, strict=True) if weight > 0)
        level = Level(tuple(float(weight) for weight in weights if weight > 0))
        loss = float(log_loss(np.exp(average([probs[name] for name in names], level.weights, mean)), gold))
        if best is None or loss < best[0]:
            best = loss, names, Plan((level,), mean)
    assert best is not None
    # Weights half way to equal, of the few that are kept, are not those that were picked: one alone may be better.
    single = min(probs, key=lambda name: float(log_loss(probs[name], gold)))
    if best[0] >= float(log_loss(probs[single], gold)):
        return (single,), Plan((Level((1.0,)),), best[2].mean)
    return best[1:]


def _picked(probs: Sequence[Floats], gold: Ints, weights: Floats, mean: Mean) -> Floats:
    """How often each member is taken, as shares; on rows that count ``weights`` times."""
    rows = np.flatnonzero(weights)
    probs, gold, weights = [one[rows] for one in probs], gold[rows], weights[rows]

    def loss(counts: Floats) -> float:
        taken = np.flatnonzero(counts)
        found = average([probs[member] for member in taken], counts[taken].tolist(), mean)
        return float(log_loss(np.exp(found), gold, weights))

    n_members = len(probs)
    alone = [loss(np.eye(n_members)[member]) for member in range(n_members)]
    order = np.argsort(alone, kind="stable")
    firsts = [np.bincount(order[:n], minlength=n_members).astype(float) for n in range(1, n_members + 1)]
    lowest, counts = min(((loss(one), one) for one in firsts), key=lambda pair: pair[0])
    while counts.sum() < _MOST_PICKS:
        tried = [counts + one for one in np.eye(n_members)]
        losses = [loss(one) for one in tried]
        if min(losses) > lowest - _WORTH:
            break
        lowest, counts = min(losses), tried[int(np.argmin(losses))]
    return np.asarray(counts / counts.sum())


def _kept(shares: Floats, most_members: int) -> Floats:
    """Weights of those that weigh something, ``most_members`` at most, half way to equal; they add up to 1."""
    kept = np.where(shares >= min(_LEAST_WEIGHT, float(shares.max())), shares, 0.0)
    kept[np.argsort(-kept, kind="stable")[most_members:]] = 0.0
    return np.asarray((kept / kept.sum() + (kept > 0) / (kept > 0).sum()) / 2)
