"""How the candidates differ from the best one. One rule for the interval that is shown, the p-value and the word.

Several candidates are held against one, so each interval is taken at the level 1 - 0.05 / m for m of them (Bonferroni):
all hold together with 95 %, and the cheapest of those that are as good may be picked. A candidate is told apart where
its test, corrected over the candidates (Holm 1979), says so. The two are made to agree: an end that leaves out 0 though
the test does not tell the candidate apart, or holds 0 though it does, is put on 0 (as in Strassburger and Bretz 2008,
"Compatible simultaneous lower confidence bounds for the Holm procedure").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from labelwright.statistics.intervals import LEVEL, Interval, Resampled, holm, paired_cost_test, paired_test
from labelwright.statistics.metrics import Answers, Floats, Ints
from labelwright.statistics.proportions import difference_interval, priced_difference_interval, rows_needed
from workbench.compare.board import Difference, Standing

# A candidate is told apart from the best one where its Holm-corrected p-value is below this.
TOLD_APART = 1 - LEVEL
# What is tested against the best candidate; where there are prices, before all of it what a row costs.
TESTED = ("accuracy", "macro_f1", "log_loss")

Samples = Mapping[str, Mapping[str, Resampled]]


@dataclass(frozen=True)
class Spent:
    """What every test row cost.

    Attributes
    ----------
    rows : mapping of candidate to ndarray of shape (n_test,)
    span : float
        How far two of these can lie apart on one row.
    """

    rows: Mapping[str, Floats]
    span: float


def against_best(
    best: str,
    answers: Mapping[str, Answers],
    samples: Samples,
    gold: Ints,
    groups: Sequence[str] | None,
    spent: Spent | None = None,
) -> dict[str, dict[str, Difference]]:
    """Every other candidate's metrics minus those of the best.

    Parameters
    ----------
    answers : mapping of candidate to Answers
    samples : mapping of candidate to mapping of metric to Resampled
        All on the same resamples. A metric that one of two candidates lacks is not compared.
    spent : Spent, optional
        Where there are prices.

    Returns
    -------
    dict of candidate to dict of metric to Difference
    """
    others = [name for name in answers if name != best]
    found: dict[str, dict[str, Difference]] = {name: {} for name in others}
    for metric in TESTED if spent is None else ("cost", *TESTED):
        having = [
            name for name in others if metric == "cost" or {metric} <= samples[name].keys() & samples[best].keys()
        ]
        plain = {
            name: _plain(metric, name, best, answers, samples, gold, groups, len(others), spent) for name in having
        }
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
    spent: Spent | None = None,
) -> Difference:
    """Accuracy of one candidate minus that of another, as one of ``n_tests`` comparisons (Bonferroni).

    With ``spent`` it is what the other's rows cost minus what the first one's do: how much better the first is, too.
    """
    first, second, metric = (a, b, "accuracy") if spent is None else (b, a, "cost")
    interval, p = _plain(metric, first, second, answers, samples, gold, groups, n_tests, spent)
    corrected = min(1.0, n_tests * p)
    return Difference(agreeing(interval, corrected), p, corrected)


def rows_to_tell(
    name: str, best: str, n_tests: int, margin: float, groups: Sequence[str] | None, spent: Spent
) -> float:
    """About how many test rows bring a candidate's interval of cost inside the margin, if it is as good as the best.

    Parameters
    ----------
    n_tests : int
        How many candidates are held against the best one.
    """
    net = spent.rows[name] - spent.rows[best]
    return rows_needed(net, spent.span, margin, groups, 1 - TOLD_APART / max(1, n_tests))


def standing(difference: Difference, margin: float) -> Standing:
    """What the lead over the best candidate, which is below 0 where a candidate is worse, shows.

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
    spent: Spent | None,
) -> tuple[Interval, float]:
    """The interval at the level of one of so many tests, and the p-value before any correction."""
    level = 1 - TOLD_APART / max(1, n_tests)
    if metric == "cost":
        assert spent is not None
        net = spent.rows[a] - spent.rows[b]
        return priced_difference_interval(net, spent.span, groups, level), paired_cost_test(net, groups)
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
