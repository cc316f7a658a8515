"""Who is asked first, and when it is sure enough: thresholds that lose nothing on calib at the least time a row.

The last level is what answers best, by log loss on dev. Before it stand one or more cheaper members. Of all chains of
them and all thresholds, the one is taken that needs the fewest milliseconds a row on calib, on average, and that there
is not less often right than the last level alone (with prices: costs no more, as the task decides), and of lower log
loss by one standard error of the difference: hundreds are tried on few rows, and without that the luckiest would be
taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np

from labelwright.decisions.decision import LIKELIEST, Decision
from labelwright.statistics.metrics import Floats, Ints

# So many thresholds of each member are tried, and so many of the cheaper members, the best at their price.
_MOST_THRESHOLDS = 24
_MOST_CHEAPER = 5
# What is not cheaper by more than this factor is not asked first.
_CHEAPER = 1.25
_SMALLEST = float(np.finfo(np.float64).eps)
# What a row costs, in milliseconds, that was asked of all of these; parts that they share count once.
Price = Callable[[Sequence[str]], float]


@dataclass(frozen=True)
class Chain:
    """Members in the order in which they are asked, with what that comes to.

    Attributes
    ----------
    names : tuple of str
    thresholds : tuple of float
        One for each member but the last.
    accuracy, log_loss : float
        On the rows that it was tried on.
    ms : float
        Milliseconds a row on them, on average.
    """

    names: tuple[str, ...]
    thresholds: tuple[float, ...]
    accuracy: float
    log_loss: float
    ms: float


def choose_cascade(
    probs: Mapping[str, Floats],
    gold: Ints,
    groups: Sequence[str],
    price: Price,
    last: str,
    order: Sequence[str],
    most_levels: int,
    decision: Decision = LIKELIEST,
) -> tuple[Chain | None, list[Chain]]:
    """The cheapest chain that loses nothing, and all that no other beats in both accuracy and time.

    Parameters
    ----------
    probs : mapping of member to ndarray of shape (n_calib, n_labels)
        Calibrated, on calib rows.
    gold : int ndarray of shape (n_calib,)
    groups : sequence of str
        Rows that are not independent of each other.
    price : callable
    last : str
        Who answers what the others leave.
    order : sequence of str
        The members, the best on dev first.
    most_levels : int
    decision : Decision
        The task's, which says what answers cost where there are prices.

    Returns
    -------
    chain : Chain or None
        None where nothing cheaper may answer any row.
    frontier : list of Chain
        From fast to slow; those of one member are among them.
    """
    cheaper = _cheaper(price, last, order)
    n_first = range(1, min(most_levels - 1, len(cheaper)) + 1)
    chains = [(*firsts, last) for n in n_first for firsts in combinations(cheaper, n)]
    thresholds = {name: _thresholds(probs[name].max(axis=1)) for name in cheaper}
    tried = [
        _tried(names, cut, probs, gold, price)
        for names in chains
        for cut in product(*(thresholds[name] for name in names[:-1]))
    ]
    alone = [_tried((name,), (), probs, gold, price) for name in (*cheaper, last)]
    whole = alone[-1]
    of_whole, of_group = _losses(probs[last], gold), np.unique(np.asarray(groups), return_inverse=True)[1]

    def paid(found: Floats) -> float:
        return float(decision.realised(gold, decision.decide(found).said).mean())

    of_whole_paid = paid(probs[last])

    def is_worse(one: Chain) -> bool:
        if decision.prices is None:
            return one.accuracy < whole.accuracy
        return paid(answered(one, probs)) > of_whole_paid + _SMALLEST * float(abs(decision.prices).max())

    def loses_nothing(one: Chain) -> bool:
        if one.log_loss > whole.log_loss or one.ms >= whole.ms or is_worse(one):
            return False
        more = _losses(answered(one, probs), gold) - of_whole
        return float(more.mean()) + standard_error(more, of_group) <= 0

    cheapest_first = sorted(tried, key=lambda one: (one.ms, one.log_loss))
    return next(filter(loses_nothing, cheapest_first), None), _frontier([*tried, *alone])


def answered(chain: Chain, probs: Mapping[str, Floats]) -> Floats:
    """What a chain answers, (n_rows, n_labels)."""
    found = probs[chain.names[-1]].copy()
    for name, threshold in reversed(list(zip(chain.names[:-1], chain.thresholds, strict=True))):
        sure = probs[name].max(axis=1) >= threshold
        found[sure] = probs[name][sure]
    return found


def _cheaper(price: Price, last: str, order: Sequence[str]) -> list[str]:
    """Who may be asked before the last one, from cheap to dear: of those no dearer one is worse than a cheaper one."""
    ms = {name: price([name]) for name in (*order, last)}
    kept: list[str] = []
    for name in order:
        if ms[name] * _CHEAPER < ms[last] and all(ms[name] * _CHEAPER < ms[one] for one in kept):
            kept.append(name)
    return kept[-_MOST_CHEAPER:][::-1]


def _thresholds(confidence: Floats) -> list[float]:
    """Between confidences, so that rounding decides nothing; evenly over the rows, denser where most are sure."""
    known = np.unique(confidence)
    between = (known[1:] + known[:-1]) / 2
    if len(between) > _MOST_THRESHOLDS:
        between = between[np.unique(np.linspace(0, len(between) - 1, _MOST_THRESHOLDS).round().astype(int))]
    return between.tolist()


def _tried(
    names: tuple[str, ...],
    thresholds: tuple[float, ...],
    probs: Mapping[str, Floats],
    gold: Ints,
    price: Price,
) -> Chain:
    left = np.arange(len(gold))
    n_right, loss, spent, paid = 0, 0.0, 0.0, 0.0
    for number, (name, threshold) in enumerate(zip(names, (*thresholds, 0.0), strict=True), start=1):
        before, paid = paid, price(names[:number])
        spent += len(left) * (paid - before)
        mine = probs[name][left]
        sure = mine.max(axis=1) >= threshold
        said, rows = mine[sure], left[sure]
        n_right += int((said.argmax(axis=1) == gold[rows]).sum())
        loss += float(_losses(said, gold[rows]).sum())
        left = left[~sure]
    n_rows = len(gold)
    return Chain(names, thresholds, n_right / n_rows, loss / n_rows, spent / n_rows)


def _losses(probs: Floats, gold: Ints) -> Floats:
    """Every row's log loss, (n_rows,)."""
    return np.asarray(-np.log(np.maximum(probs[np.arange(len(gold)), gold], _SMALLEST)))


def standard_error(values: Floats, of_group: Ints) -> float:
    """Of the mean of some values, (n_rows,), where whole groups of rows, by number (n_rows,), go together."""
    sums = np.bincount(of_group, weights=values - values.mean())
    return float(np.sqrt((sums**2).sum()) / len(values))


def _frontier(chains: Sequence[Chain]) -> list[Chain]:
    kept: list[Chain] = []
    for one in sorted(chains, key=lambda one: (one.ms, -one.accuracy)):
        if not kept or one.accuracy > kept[-1].accuracy:
            kept.append(one)
    return kept
