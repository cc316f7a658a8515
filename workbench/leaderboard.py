"""From scored rungs to a leaderboard: metrics with intervals, paired tests against the best rung, spread over seeds.

Statistics only: nothing is scored here and nothing is written. All rungs are put on the same bootstrap resamples, in
one pass, so that differences are paired. The types are ``workbench.board``'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from labelwright.errors import DataError
from labelwright.intervals import Interval, Resampled, holm, paired_test, resample
from labelwright.metrics import METRICS, Ints
from labelwright.task import Example
from workbench.board import (
    QUALITY,
    QUALITY_OF_FREE,
    Difference,
    Leaderboard,
    Line,
    Spread,
    Suspect,
    Verdict,
)
from workbench.frontier import frontier
from workbench.noise import suspects
from workbench.rungs import Repeat, Rung
from workbench.verdict import judge, rank, within_noise

__all__ = ["QUALITY", "Difference", "Leaderboard", "Line", "Spread", "Suspect", "Verdict", "build"]

# What is tested against the best rung, and what is told of other seeds.
TESTED = ("accuracy", "macro_f1", "log_loss")
# How many rungs at most must doubt a label: with more, one that is often wrong would acquit too many rows.
_DOUBTERS = 3

Samples = dict[str, dict[str, Resampled]]


def build(
    rungs: Sequence[Rung], test: Sequence[Example], names: Sequence[str], resamples: int, seed: int
) -> Leaderboard:
    """Put numbers and words to every rung.

    The best rung is that of highest test accuracy, of equal ones that of lower log loss. Free text is best only where
    nothing else was scored: it has no probabilities and cannot be shipped.

    Parameters
    ----------
    rungs : sequence of Rung
        In the order of the ladder; at least one that did not fail. Their names differ.
    test : sequence of n_test Example
        The rows behind ``Rung.probs``. Groups are drawn whole where the rows have them.
    names : sequence of str
        The labels, in the order of the columns.
    resamples : int
        Bootstrap resamples.
    seed : int
        The run's: that of the resamples, and the one by which the rungs' own splits were dealt.

    Raises
    ------
    DataError
        No rung was scored; or probabilities that do not fit rows and labels.
    """
    scored = [rung for rung in rungs if not rung.failed]
    if not scored:
        reasons = "; ".join(f"{rung.name}: {rung.failed}" for rung in rungs)
        raise DataError(f"none of {len(rungs)} rungs could be scored, so there is nothing to compare ({reasons})")
    gold = np.array([names.index(str(row.label)) for row in test], dtype=np.int64)
    groups = _groups(test)
    settings: dict[str, Any] = {"n_resamples": resamples, "seed": seed}
    samples = _resampled({rung.name: rung for rung in scored}, "probs", gold, groups, names, settings)
    closed = {rung.name: rung for rung in scored if rung.kind != "free" and rung.raw.size}
    raw = _resampled(closed, "raw", gold, groups, names, settings)
    quality, before = _intervals(samples), _intervals(raw)
    best = min([rung for rung in scored if rung.kind != "free"] or scored, key=lambda rung: rank(quality[rung.name]))

    lines = []
    tested = _against(best, scored, samples, gold, groups)
    for rung in rungs:
        line = Line(rung, quality.get(rung.name, {}), before.get(rung.name, {}))
        if not rung.failed:
            line = Line(rung, line.test, line.raw, spread=_spread(rung, line.test, seed), **tested.get(rung.name, {}))
        lines.append(line)

    def compare(a: Rung, b: Rung) -> tuple[Interval, float]:
        difference = samples[a.name]["accuracy"].minus(samples[b.name]["accuracy"])
        return difference.interval(), paired_test(a.probs, b.probs, gold, groups).p_value

    numbered = [line for line in lines if line.test]
    (first,) = (line for line in numbered if line.rung is best)
    verdict = judge(numbered, first, len(test), compare)
    doubters = {line.rung.name: line.rung.probs for line in _doubters(numbered, first)}
    found = suspects("test", test, doubters, names) if len(doubters) > 1 else ()
    return Leaderboard(tuple(lines), verdict, gold, found, frontier(lines))


def _groups(test: Sequence[Example]) -> list[str] | None:
    """The rows' groups, a row without one being a group of its own; None where no row has one."""
    if all(row.group is None for row in test):
        return None
    return [row.group if row.group is not None else f"\0{row.id}" for row in test]


def _resampled(
    rungs: Mapping[str, Rung], which: str, gold: Ints, groups: Any, names: Sequence[str], settings: Mapping[str, Any]
) -> Samples:
    """Every metric of every rung; of free text those that need no probabilities, its last column being no label."""
    free = {name: getattr(rung, which) for name, rung in rungs.items() if rung.kind == "free"}
    closed = {name: getattr(rung, which) for name, rung in rungs.items() if rung.kind != "free"}
    for name, probs in {**closed, **free}.items():
        columns = len(names) + (name in free)
        if probs.shape != (len(gold), columns):
            raise DataError(
                f"{name}: probabilities of shape {probs.shape} for {len(gold)} test rows and {len(names)} labels: "
                f"expected {(len(gold), columns)}"
            )
    metrics = {name: METRICS[name] for name in QUALITY}
    of_free = {name: METRICS[name] for name in QUALITY_OF_FREE}
    of_free["macro_f1"] = partial(METRICS["macro_f1"], n_labels=len(names))
    return {
        **(resample(closed, gold, groups, metrics=metrics, **settings) if closed else {}),
        **(resample(free, gold, groups, metrics=of_free, **settings) if free else {}),
    }


def _intervals(samples: Samples) -> dict[str, dict[str, Interval]]:
    return {rung: {name: one.interval() for name, one in metrics.items()} for rung, metrics in samples.items()}


def _against(best: Rung, scored: Sequence[Rung], samples: Samples, gold: Ints, groups: Any) -> dict[str, Any]:
    """Of every rung but the best: n_only_this, n_only_best and against_best, corrected over the rungs."""
    others = [rung for rung in scored if rung is not best]
    exact = {rung.name: paired_test(rung.probs, best.probs, gold, groups) for rung in others}
    p_values: dict[str, dict[str, float]] = {name: {} for name in TESTED}
    differences: dict[str, dict[str, Resampled]] = {rung.name: {} for rung in others}
    for name in TESTED:
        for rung in others:
            if name in samples[rung.name] and name in samples[best.name]:
                difference = samples[rung.name][name].minus(samples[best.name][name])
                differences[rung.name][name] = difference
                p_values[name][rung.name] = exact[rung.name].p_value if name == "accuracy" else difference.p_value()
    corrected = {name: holm(values) for name, values in p_values.items()}
    return {
        rung: {
            "n_only_this": exact[rung].n_only_a,
            "n_only_best": exact[rung].n_only_b,
            "against_best": {
                name: Difference(one.interval(), p_values[name][rung], corrected[name][rung])
                for name, one in found.items()
            },
        }
        for rung, found in differences.items()
    }


def _spread(rung: Rung, test: Mapping[str, Interval], seed: int) -> dict[str, Spread]:
    """Mean and deviation over the rung and its repeats: those on its own split, and those on other splits."""
    own = {name: test[name].value for name in TESTED if name in test}
    sides: dict[str, list[Repeat]] = {
        "split fixed": [one for one in rung.repeats if one.split_seed == seed],
        "split varied": [one for one in rung.repeats if one.split_seed != seed],
    }
    spread = {}
    for side, repeats in sides.items():
        scores = [own, *(repeat.scores for repeat in repeats)]
        if len(scores) < 2:
            continue
        told = {name: [one[name] for one in scores] for name in own if all(name in one for one in scores)}
        spread[side] = Spread(
            n=len(scores),
            mean={name: float(np.mean(values)) for name, values in told.items()},
            sd={name: float(np.std(values, ddof=1)) for name, values in told.items()},
        )
    return spread


def _doubters(lines: Sequence[Line], best: Line) -> list[Line]:
    """Whose word counts on a label: the best rung and the best within noise of it, one a family.

    Where no other family is within noise, the best rung of another family is heard, so that two must agree.
    """
    near = {line.rung.name for line in within_noise(lines)}
    heard: dict[str, Line] = {}
    usable = [line for line in lines if line.rung.kind != "free"]
    for line in sorted(usable, key=lambda line: (line is not best, line.rung.name not in near, *rank(line.test))):
        counts = line is best or line.rung.name in near or len(heard) < 2
        if counts and len(heard) < _DOUBTERS:
            heard.setdefault(_family(line.rung), line)
    return list(heard.values())


def _family(rung: Rung) -> str:
    """Rungs that share a base err alike: "minilm" of minilm-logreg, and one for all language models."""
    return rung.name.split("-")[0] if rung.kind == "baseline" else rung.kind
