"""The rounds of a search, how a trial ends, and which one wins: no comparison, no processes.

Its code makes what was found stale.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from workbench.compare.searched.found import By, Trial
from workbench.compare.searched.study import Study, is_given_up

# Of train rows: what a trial learns before it learns all, and where it may be given up. Three eighths of a training in
# all; with a half as well, whoever is not given up would cost nearly twice what it does without.
SHARES = (0.125, 0.25)
# What trials before had reached, a line each: on the way, share by share, and last at their end.
Earlier = Sequence[Sequence[float | None]]


def all_tried(
    study: Study,
    n_trials: int,
    at_once: int,
    by: By,
    tried: Callable[[list[dict[str, Any]], Sequence[Trial]], list[Trial]],
) -> tuple[Trial, ...]:
    """Ask for settings round by round, have them tried, and tell what they reached.

    Parameters
    ----------
    at_once : int
        Trials of a round; the last one may have fewer.
    tried : callable
        From a round's settings, and all trials of the rounds before, to its trials, in their order. Those of a round
        know nothing of each other: what becomes of one does not hang on which ends first.
    """
    trials: list[Trial] = []
    while len(trials) < n_trials:
        found = tried(study.ask(min(at_once, n_trials - len(trials))), trials)
        study.tell(found, by)
        trials += found
    return tuple(trials)


def earlier_of(trials: Iterable[Trial], by: By) -> Earlier:
    """What trials that ran to their end had reached, for those that come after."""
    return [[*trial.way, loss] for trial in trials if (loss := trial.loss(by)) is not None]


def shares_of(earlier: Earlier | None) -> tuple[float, ...]:
    """The shares of train that a trial learns, one after another; all at once where it is not to be given up."""
    return (1.0,) if earlier is None else (*SHARES, 1.0)


def outcome(steps: Iterable[Trial], by: By, earlier: Earlier | None) -> Trial | None:
    """How a trial ends: at the share where it is given up, or having learnt all; None where the steps end before.

    Parameters
    ----------
    steps : iterable of Trial
        What it reaches at each share, in their order. None is asked for that is not needed.
    """
    way: list[float | None] = []
    seconds = 0.0
    for step in steps:
        seconds += step.seconds
        if not step.is_given_up:
            return replace(step, seconds=seconds, way=tuple(way))
        way.append(step.reached(by))
        # A share that cannot be learnt says nothing of what all rows can teach.
        if way[-1] is not None and is_given_up(way, earlier or ()):
            return replace(step, seconds=seconds, way=tuple(way))
    return None


def best_of(trials: Sequence[Trial], by: By) -> int | None:
    """The first trial of the least loss; None where all failed."""
    losses = {number: loss for number, trial in enumerate(trials) if (loss := trial.loss(by)) is not None}
    return min(losses, key=losses.__getitem__) if losses else None
