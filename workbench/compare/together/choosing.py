"""From members' probabilities to a plan, its price and what is told of it. Numbers alone: no files, no recipe.

So what can change a number is what this file imports, and that is what makes a kept result stale.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from labelwright.decisions.decision import LIKELIEST, Decision
from labelwright.engines.together.plan import Found, Level, Plan
from labelwright.statistics.metrics import Floats, Ints, answers, log_loss
from workbench.compare.candidate import Asking, Together
from workbench.compare.together.cascade import choose_cascade
from workbench.compare.together.ensemble import choose_ensemble
from workbench.compare.together.prices import Prices

# A member's calibrated probabilities by side (dev, calib, test), each (n_rows, n_labels).
Answered = Mapping[str, Floats]
# What an ensemble is called among a cascade's levels.
_MIXED = "ensemble"


@dataclass(frozen=True)
class Chosen:
    """What was decided, without the test rows.

    Attributes
    ----------
    names : tuple of str
        The members that are asked, in the plan's order.
    last : str
        Of a cascade what its last level is; empty for an ensemble.
    curve : tuple of (float, float)
        As in ``workbench.compare.candidate.Together``.
    """

    names: tuple[str, ...]
    plan: Plan
    last: str = ""
    curve: tuple[tuple[float, float], ...] = ()

    def answers(self, members: Mapping[str, Answered], side: str) -> Found:
        """What the plan makes of the members' answers on a side."""
        n_rows, n_labels = members[self.names[0]][side].shape
        return self.plan.answer(lambda member, rows: members[self.names[member]][side][rows], n_rows, n_labels)

    def mean_ms(self, found: Found, prices: Prices) -> float:
        """Milliseconds a row on average over rows, by where each was answered."""
        spent, asked = 0.0, list[str]()
        for number, level in enumerate(self.plan.levels):
            asked += [self.names[member] for member in level.members]
            spent += float((found.levels == number).mean()) * prices(asked)
        return spent


def mixed(
    members: Mapping[str, Answered],
    gold: Mapping[str, Ints],
    groups: Sequence[str],
    most_members: int,
    n_bags: int,
    seed: int,
) -> Chosen:
    """The ensemble that dev prefers; parameters as in ``choose_ensemble``."""
    dev = {name: one["dev"] for name, one in members.items()}
    return Chosen(*choose_ensemble(dev, gold["dev"], groups, most_members, n_bags, seed))


def in_turn(
    members: Mapping[str, Answered],
    gold: Mapping[str, Ints],
    groups: Sequence[str],
    prices: Prices,
    most_levels: int,
    ensemble: Chosen | None,
    decision: Decision = LIKELIEST,
) -> Chosen:
    """The cascade that loses nothing on calib; its last level is what dev likes best, the ensemble where it is that.

    Parameters
    ----------
    groups : sequence of str
        Of the calib rows. The rest is as in ``choose_cascade``.

    Where nothing cheaper may answer any row, it is that last level alone.
    """
    losses = {name: float(log_loss(one["dev"], gold["dev"])) for name, one in members.items()}
    order = sorted(losses, key=losses.__getitem__)
    last = order[0]
    calib = {name: one["calib"] for name, one in members.items()}
    weights: dict[str, dict[str, float]] = {name: {name: 1.0} for name in members}
    if ensemble is not None and len(ensemble.names) > 1:
        on_dev = np.exp(ensemble.answers(members, "dev").log_probs)
        if float(log_loss(on_dev, gold["dev"])) < losses[last]:
            last, calib[_MIXED] = _MIXED, np.exp(ensemble.answers(members, "calib").log_probs)
            weights[_MIXED] = dict(zip(ensemble.names, ensemble.plan.levels[0].weights, strict=True))

    def price(names: Sequence[str]) -> float:
        return prices([member for name in names for member in weights[name]])

    chain, frontier = choose_cascade(calib, gold["calib"], groups, price, last, order, most_levels, decision)
    asked, thresholds = ((last,), ()) if chain is None else (chain.names, chain.thresholds)
    names = tuple(dict.fromkeys(member for name in asked for member in weights[name]))
    levels = [
        Level(tuple(weights[name].get(member, 0.0) for member in names), threshold)
        for name, threshold in zip(asked, (*thresholds, 0.0), strict=True)
    ]
    plan = Plan(tuple(levels), ensemble.plan.mean) if ensemble else Plan(tuple(levels))
    return Chosen(names, plan, last, tuple((one.ms, one.accuracy) for one in frontier))


def told(chosen: Chosen, levels: Ints, probs: Floats, gold: Ints, encoders: Mapping[str, str]) -> Together:
    """How the candidate is made, and what each level did with the test rows; ``encoders`` as in ``Prices``."""
    right, last = answers(probs) == gold, len(chosen.plan.levels) - 1
    made = []
    for number, level in enumerate(chosen.plan.levels):
        here, total = levels == number, sum(level.weights)
        weights = {chosen.names[member]: level.weights[member] / total for member in level.members}
        accuracy = float(right[here].mean()) if here.any() else None
        made.append(Asking(weights, None if number == last else level.threshold, float(here.mean()), accuracy))
    read_by = {name: encoders[name] for name in chosen.names}
    return Together(tuple(made), chosen.plan.mean, chosen.last, chosen.curve, read_by)
