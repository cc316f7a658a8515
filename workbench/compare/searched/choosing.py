"""The rounds of a search, and which trial wins: no comparison, no processes. Its code makes what was found stale."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from workbench.compare.searched.found import By, Trial
from workbench.compare.searched.study import Study


def all_tried(
    study: Study, n_trials: int, at_once: int, by: By, tried: Callable[[list[dict[str, Any]]], list[Trial]]
) -> tuple[Trial, ...]:
    """Ask for settings round by round, have them tried, and tell what they reached.

    Parameters
    ----------
    at_once : int
        Trials of a round; the last one may have fewer.
    tried : callable
        From a round's settings to its trials, in their order.
    """
    trials: list[Trial] = []
    while len(trials) < n_trials:
        found = tried(study.ask(min(at_once, n_trials - len(trials))))
        study.tell([trial.loss(by) for trial in found])
        trials += found
    return tuple(trials)


def best_of(trials: Sequence[Trial], by: By) -> int | None:
    """The first trial of the least loss; None where all failed."""
    losses = {number: loss for number, trial in enumerate(trials) if (loss := trial.loss(by)) is not None}
    return min(losses, key=losses.__getitem__) if losses else None
