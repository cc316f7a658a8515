"""What several candidates together gain over the best single one: on the test rows, and over other splits."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import NormalDist, mean, variance

from labelwright.statistics.intervals import LEVEL, Interval
from workbench.compare.board import By, Difference, Entry, Gain
from workbench.compare.candidate import Candidate, is_second_name
from workbench.compare.verdict import rank, sure_of

# The approximation of Student's quantile is good to two digits from here on.
_FEWEST_SPLITS = 6


def gain_of(
    entries: Sequence[Entry],
    candidates: Mapping[str, Candidate],
    margin: float,
    compare: Callable[[str, str], Difference],
    n_test: int,
    seed: int,
) -> Gain | None:
    """The best candidate made of others against the best of the others; None where either is missing.

    Each is the best on test of its side, so choosing flatters both.

    Parameters
    ----------
    entries : sequence of Entry
        With numbers.
    candidates : mapping of name to Candidate
        Theirs, for the trainings on the splits.
    margin : float
        As in ``workbench.compare.verdict.judge``, and ``compare`` likewise.
    n_test : int
        Test rows.
    seed : int
        What dealt the candidates' own splits.
    """
    several = [one for one in entries if not is_second_name(one.together)]
    sides = [[one for one in several if (one.kind == "together") == of] for of in (True, False)]
    # A student is one alone, and knows what several together taught it.
    usable = [[one for one in side if one.kind not in ("free", "distilled", "synthetic")] for side in sides]
    if not all(usable):
        return None
    whole, single = (min(side, key=lambda one: rank(one.test, one.priced)) for side in usable)
    found = compare(whole.name, single.name)
    differences = _on_splits(
        candidates[whole.name], candidates[single.name], "cost" if whole.priced else "accuracy", seed
    )
    n_train = candidates[whole.name].n_train
    over = over_splits(differences, n_test / n_train) if n_train and len(differences) >= _FEWEST_SPLITS else None
    return Gain(whole.name, single.name, found.value, sure_of(found, margin), over, len(differences) if over else 0)


def over_splits(differences: Sequence[float], n_test_over_n_train: float) -> Interval:
    """Mean of differences on splits of the same rows, with its 95 % interval.

    The splits share rows, so the differences are less independent than they look: the variance of the mean is that of
    Nadeau and Bengio 2003, "Inference for the Generalization Error", (1 / n + n_test / n_train) s^2, and the quantile
    Student's.

    >>> over_splits([0.01, 0.03, 0.02, 0.02, 0.04, 0.0, 0.02, 0.02, 0.03, 0.01], 0.3).value
    0.02
    """
    n, middle = len(differences), mean(differences)
    half = student((1 + LEVEL) / 2, n - 1) * math.sqrt((1 / n + n_test_over_n_train) * variance(differences))
    return Interval(middle, middle - half, middle + half)


def student(p: float, n_free: int) -> float:
    """Student's quantile, to two digits behind the point from 5 degrees of freedom on (Abramowitz and Stegun, 26.7.5).

    >>> round(student(0.975, 19), 2), round(student(0.975, 5), 2)
    (2.09, 2.57)
    """
    z = NormalDist().inv_cdf(p)
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return sum(term / n_free**power for power, term in enumerate(terms))


def _on_splits(a: Candidate, b: Candidate, by: By, seed: int) -> list[float]:
    """How much better a is than b on every split that both were trained on, their own first, all without a scope."""
    sign, found = -1 if by == "cost" else 1, []
    for one in (a, b):
        of_splits = {seed: one.scores} | {
            each.split_seed: each.scores for each in one.repeats if each.split_seed != seed
        }
        found.append({split: sign * scores[by] for split, scores in of_splits.items() if by in scores})
    return [found[0][split] - found[1][split] for split in found[0] if split in found[1]]
