"""How the candidates differ from the best one. One rule for the interval that is shown, the p-value and the word.

Several candidates are held against one, so each interval is taken at the level 1 - 0.05 / m for m of them (Bonferroni):
all hold together with 95 %, and the cheapest of those that are as good may be picked. A candidate is told apart where
its test, corrected over the candidates (Holm 1979), says so. The two are made to agree: an end that leaves out 0 though
the test does not tell the candidate apart, or holds 0 though it does, is put on 0 (as in Strassburger and Bretz 2008,
"Compatible simultaneous lower confidence bounds for the Holm procedure").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from labelwright.statistics.intervals import LEVEL, Interval, Resampled, holm, paired_test
from labelwright.statistics.metrics import Answers, Ints
from labelwright.statistics.proportions import difference_interval
from workbench.compare.board import Difference, Standing

# A candidate is told apart from the best one where its Holm-corrected p-value is below this.
TOLD_APART = 1 - LEVEL
# What is tested against the best candidate.
TESTED = ("accuracy", "macro_f1", "log_loss")

Samples = Mapping[str, Mapping[str, Resampled]]


def against_best(
    best: str, answers: Mapping[str, Answers], samples: Samples, gold: Ints, groups: Sequence[str] | None
) -> dict[str, dict[str, Difference]]:
    """Every other candidate's metrics minus those of the best.

    Parameters
    ----------
    answers : mapping of candidate to Answers
    samples : mapping of candidate to mapping of metric to Resampled
        All on the same resamples. A metric that one of two candidates lacks is not compared.

    Returns
    -------
    dict of candidate to dict of metric to Difference
    """
    others = [name for name in answers if name != best]
    found: dict[str, dict[str, Difference]] = {name: {} for name in others}
    for metric in TESTED:
        having = [name for name in others if metric in samples[name] and metric in samples[best]]
        plain = {name: _plain(metric, name, best, answers, samples, gold, groups, len(others)) for name in having}
        corrected = holm({name: p for name, (_, p) in plain.items()})
        for name, (interval, p) in plain.items():
            found[name][metric] = Difference(agreeing(interval, corrected[name]), p, corrected[name])
    return found


def between(
    a: str,
    b: str,
    n_tests: int,
    answers: Mapping[str, Answers],
    samples: Samples,
    gold: Ints,
    groups: Sequence[str] | None,
) -> Difference:
    """Accuracy of one candidate minus that of another, as one of ``n_tests`` comparisons (Bonferroni)."""
    interval, p = _plain("accuracy", a, b, answers, samples, gold, groups, n_tests)
    corrected = min(1.0, n_tests * p)
    return Difference(agreeing(interval, corrected), p, corrected)


def standing(difference: Difference, margin: float) -> Standing:
    """What the difference of accuracies to the best candidate shows.

    "as good": worse by ``margin`` at most, the whole interval over; the lower end decides (non-inferiority).
    "worse": told apart, and by more than the margin for all that is known. Else "not told apart": the rows are too few
    to tell, which says nothing for the candidate.
    """
    if difference.value.low > -margin:
        return "as good"
    return "worse" if difference.p_holm < TOLD_APART and difference.value.value < 0 else "not told apart"


def agreeing(interval: Interval, p_corrected: float) -> Interval:
    """The interval with its end on 0 where it would contradict the corrected p-value."""
    value, low, high = interval
    if p_corrected >= TOLD_APART:
        return Interval(value, min(low, 0.0), max(high, 0.0))
    return Interval(value, max(low, 0.0), high) if value > 0 else Interval(value, low, min(high, 0.0))


def _plain(
    metric: str,
    a: str,
    b: str,
    answers: Mapping[str, Answers],
    samples: Samples,
    gold: Ints,
    groups: Any,
    n_tests: int,
) -> tuple[Interval, float]:
    """The interval at the level of one of so many tests, and the p-value before any correction."""
    level = 1 - TOLD_APART / max(1, n_tests)
    right = {name: (answers[name].answer == gold).astype(np.int64) for name in (a, b)}
    of_accuracy = difference_interval(right[a] - right[b], groups, level)
    if metric == "accuracy":
        return of_accuracy, paired_test(answers[a], answers[b], gold, groups).p_value
    resampled = samples[a][metric].minus(samples[b][metric])
    interval = resampled.interval(level)
    if metric == "macro_f1" and np.ptp(resampled.draws) == 0:
        # Where all answers are the same, no resample knows of a difference; accuracy's interval does.
        interval = of_accuracy
    return interval, resampled.p_value()
