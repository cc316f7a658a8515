"""The gain over the best single candidate: paired on test, and over splits with an interval that is wide enough."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from labelwright.statistics.intervals import Interval
from workbench.compare.board import Difference, Entry
from workbench.compare.candidate import Candidate, Repeat
from workbench.compare.together.gain import gain_of, over_splits, student

FOUND = Difference(Interval(0.03, 0.01, 0.05), 0.001, 0.01)


def entry(name: str, kind: str, accuracy: float, others: list[float]) -> tuple[Entry, Candidate]:
    repeats = [Repeat(5 + number, 5, {"accuracy": one}) for number, one in enumerate(others, start=1)]
    repeats.append(Repeat(5, 6, {"accuracy": 0.0}))  # another seed on its own split says nothing of splits
    test = {"accuracy": Interval(accuracy, 0.0, 1.0), "log_loss": Interval(1.0, 0.0, 2.0)}
    candidate = Candidate(name, kind, scores={"accuracy": accuracy}, repeats=tuple(repeats), n_train=100)  # type: ignore[arg-type]
    return Entry(name, kind, test=test, standing="best"), candidate  # type: ignore[arg-type]


def gain(entries: list[tuple[Entry, Candidate]]):
    candidates = {one.name: candidate for one, candidate in entries}
    return gain_of([one for one, _ in entries], candidates, 0.02, lambda a, b: FOUND, 30, 5)


def test_the_best_of_each_side_are_held_against_each_other():
    others = [0.85] * 6
    whole = entry("ensemble", "together", 0.86, [one + 0.03 for one in others])
    rest = [entry("a", "baseline", 0.8, others), entry("b", "llm", 0.82, others), entry("free", "free", 0.99, others)]
    found = gain([*rest, whole, entry("cascade", "together", 0.84, others)])
    assert (found.together, found.single, found.value, found.sure) == ("ensemble", "b", FOUND.value, "told apart")
    assert found.n_splits == 7
    assert found.over_splits.value == pytest.approx((0.04 + 6 * 0.03) / 7)


def test_few_splits_and_one_side_alone_say_nothing():
    assert gain([entry("a", "baseline", 0.8, []), entry("b", "llm", 0.82, [])]) is None
    found = gain([entry("a", "baseline", 0.8, [0.8] * 4), entry("ensemble", "together", 0.82, [0.8] * 4)])
    assert (found.over_splits, found.n_splits) == (None, 0)


def test_a_scope_that_other_splits_do_without_has_no_part_in_what_their_own_cost():
    """On test both turn rows away and cost 0.5; each training by itself costs 0.3 less, its own as all the others."""
    made = []
    for name, kind, cost in (("ensemble", "together", 0.2), ("a", "baseline", 0.5)):
        of_test, candidate = entry(name, kind, 0.8, [])
        repeats = tuple(Repeat(5 + number, 5, {"cost": cost}) for number in range(1, 7))
        priced = {"cost": Interval(0.5, 0.4, 0.6)}
        made.append((replace(of_test, priced=priced), replace(candidate, scores={"cost": cost}, repeats=repeats)))
    found = gain(made)
    assert found.n_splits == 7
    assert tuple(found.over_splits) == pytest.approx((0.3, 0.3, 0.3))


def test_splits_that_share_rows_are_not_as_many_as_they_look():
    differences = [0.01, 0.03, 0.02, 0.0, 0.04, 0.02, 0.01, 0.03]
    apart, shared = over_splits(differences, 0.0), over_splits(differences, 0.35)
    plain = 2.365 * np.std(differences, ddof=1) / np.sqrt(8)
    assert apart.high - apart.value == pytest.approx(plain, rel=1e-3)
    assert shared.high - shared.value == pytest.approx(plain * np.sqrt(1 + 8 * 0.35), rel=1e-3)


@pytest.mark.parametrize(("n_free", "expected"), [(5, 2.5706), (9, 2.2622), (19, 2.0930), (99, 1.9842)])
def test_students_quantile(n_free, expected):
    assert student(0.975, n_free) == pytest.approx(expected, abs=3e-3)
