"""What a decision was worth on labelled rows: how many it answered, how many of those were wrong, what it all cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from labelwright.bundle.types import Bundle
from labelwright.decisions.decision import Decision
from labelwright.statistics.intervals import Interval, mean_interval
from labelwright.statistics.metrics import Floats, Ints, answers
from labelwright.statistics.proportions import share_interval


def decided_metrics(
    bundle: Bundle, probs: Floats, gold: Ints, groups: Sequence[str] | None = None, outside: Any = None
) -> dict[str, Interval]:
    """Of a bundle's decision, as far as it decides anything: ``answered_and_wrong``, ``costs``, ``sets``.

    Parameters
    ----------
    outside : bool ndarray of shape (n_rows,), optional
        What ``Bundle.outside`` says of the rows.
    """
    decision, lowest = bundle.decision, bundle.set_thresholds
    found = answered_and_wrong(decision, probs, gold, groups, outside) if decision.may_abstain else {}
    found |= costs(decision, probs, gold, groups, outside) if decision.prices is not None else {}
    return found | (sets(decision, probs, gold, lowest, groups) if lowest is not None else {})


def answered_and_wrong(
    decision: Decision, probs: Floats, gold: Ints, groups: Sequence[str] | None = None, outside: Any = None
) -> dict[str, Interval]:
    """``answered``, the share of rows that get a label, and ``wrong``, that of mistakes among them (if there are some).

    Parameters
    ----------
    probs : ndarray of shape (n_rows, n_labels)
    gold : int ndarray of shape (n_rows,)
    groups : sequence of n_rows, optional
        The group of each row.
    """
    said = decision.decide(probs, outside).said
    answered = said >= 0
    found = {"answered": share_interval(answered, groups)}
    if answered.any():
        of_answered = None if groups is None else [groups[i] for i in np.flatnonzero(answered).tolist()]
        found["wrong"] = share_interval((said != gold)[answered], of_answered)
    return found


def costs(
    decision: Decision,
    probs: Floats,
    gold: Ints,
    groups: Sequence[str] | None = None,
    outside: Any = None,
) -> dict[str, Interval]:
    """Mean cost of a row: ``cost`` as it was, ``expected_cost`` as the probabilities have it, and what argmax cost.

    ``cost_of_argmax`` is that of the likeliest labels, always answered, and ``cost_saved`` the paired difference.
    """
    decided = decision.decide(probs, outside)
    # A promise abstains for another reason than its price: what it leaves to a person costs what one costs.
    realised = decision.realised(gold, decided.said)
    of_argmax = decision.realised(gold, answers(probs))
    each = {
        "cost": realised,
        "expected_cost": decision.expected(probs, decided.said),
        "cost_of_argmax": of_argmax,
        "cost_saved": of_argmax - realised,
    }
    return {name: mean_interval(values, groups) for name, values in each.items()}


def sets(
    decision: Decision, probs: Floats, gold: Ints, lowest: Floats, groups: Sequence[str] | None = None
) -> dict[str, Interval]:
    """``in_set``, how often the right label is in the set of labels, and ``set_size``, how many labels it has.

    Parameters
    ----------
    lowest : ndarray of shape (n_labels,)
        ``Bundle.set_thresholds``.
    """
    is_in = decision.sets(probs, lowest)
    return {
        "in_set": share_interval(is_in[np.arange(len(gold)), gold], groups),
        "set_size": mean_interval(is_in.sum(axis=1).astype(np.float64), groups),
    }
