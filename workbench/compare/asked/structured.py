"""Labels with a structure on the leaderboard: every candidate's numbers, and how they differ from the best one's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from labelwright.data.task import Example, Task, group_keys
from labelwright.decisions.structured import structured
from labelwright.statistics.intervals import Resampled, holm, metric_intervals, resample
from workbench.compare.board import Difference, Leaderboard, Structured
from workbench.compare.candidate import Candidate
from workbench.compare.differences import TOLD_APART, agreeing


def with_structured(
    board: Leaderboard, candidates: Sequence[Candidate], test: Sequence[Example], task: Task, resamples: int, seed: int
) -> Leaderboard:
    """The leaderboard with what is measured of questions whose labels have a structure; as it is where none have.

    Differences are paired, on the same resamples, at a level at which those of all candidates hold together with 95 %
    (Bonferroni); p-values are corrected over the candidates (Holm 1979), and interval and test say the same.

    Parameters
    ----------
    candidates, test
        Those that the leaderboard was built of.
    resamples, seed : int
        Of the bootstrap.
    """
    gold = np.array([task.index(str(row.label)) for row in test], dtype=np.int64)
    groups = None if all(row.group is None for row in test) else group_keys(test)
    measured = {entry.name for entry in board.candidates if not entry.failed}
    found = {one.name: structured(task, one.decision, one.probs, gold) for one in candidates if one.name in measured}
    best, entries = board.verdict.best, {name: dict[str, Structured]() for name in found}
    for place, asked in enumerate(found[best]):
        answers = {name: several[place] for name, several in found.items()}
        own_groups = asked.groups(groups)
        samples = resample(
            {name: one.answers for name, one in answers.items()},
            asked.gold,
            own_groups,
            metrics=asked.metrics,
            n_resamples=resamples,
            seed=seed,
        )
        to_best = _differences(samples, best)
        for name, one in answers.items():
            intervals = metric_intervals(samples[name], one.answers.answer == one.gold, own_groups)
            entries[name][asked.question] = Structured(asked.kind, len(asked.gold), intervals, to_best.get(name, {}))
    return replace(
        board, candidates=tuple(replace(one, structured=entries.get(one.name, {})) for one in board.candidates)
    )


def _differences(samples: Mapping[str, Mapping[str, Resampled]], best: str) -> dict[str, dict[str, Difference]]:
    others = [name for name in samples if name != best]
    level = 1 - TOLD_APART / max(1, len(others))
    found: dict[str, dict[str, Difference]] = {name: {} for name in others}
    for metric in samples[best]:
        minus = {name: samples[name][metric].minus(samples[best][metric]) for name in others}
        corrected = holm({name: one.p_value() for name, one in minus.items()})
        for name, one in minus.items():
            interval = agreeing(one.interval(level), corrected[name])
            found[name][metric] = Difference(interval, one.p_value(), corrected[name])
    return found
