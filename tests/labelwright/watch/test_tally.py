"""A server's counting: the same as a file's, whatever came together in a request."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwright.bundle.reference import LABELS
from labelwright.decisions.decision import Decision
from labelwright.watch.answers import Answer
from labelwright.watch.drift import Drift
from labelwright.watch.sketch import Sketch
from labelwright.watch.tally import Tally

NAMES = ("pool", "fence", "hvac")
DRAW = np.random.default_rng(0)
DEV = {LABELS: np.array([50, 30, 20, 0]), "confidence": np.array([0, 0, 0, 10, 20, 20, 20, 10, 10, 5, 5, 0])}
PROBS = DRAW.dirichlet([2, 1, 1], 1000)
PROBS[::50] = 0.0


@settings(max_examples=25)
@given(st.lists(st.integers(0, 90), min_size=1, max_size=15))
def test_requests_of_any_size_make_the_same_windows(sizes):
    tally, start = Tally(NAMES, DEV, window=40), 0
    for size in sizes:
        tally.add(list(PROBS[start : start + size]))
        start += size
    tally.settle()
    start = min(start, len(PROBS))
    drift, sketch, alarms, p = Drift(DEV, NAMES), Sketch(NAMES, b""), 0, None
    for begin in range(0, start - 39, 40):
        rows = [
            Answer(0, NAMES[int(one.argmax())], float(one.max())) if one.any() else Answer(0, None)
            for one in PROBS[begin : begin + 40]
        ]
        told = drift.window(sketch.counts(rows))
        alarms, p = alarms + told.is_alarm, told.p
    assert (tally.n_windows, tally.n_alarms, tally.p) == (start // 40, alarms, p)
    assert tally.labels.sum() == start
    assert tally.labels[-1] == (~PROBS[:start].any(axis=1)).sum()
    assert tally.confidence_sum == pytest.approx(PROBS[:start].max(axis=1).sum())


def test_other_answers_than_devs_are_an_alarm():
    tally = Tally(NAMES, DEV, window=100)
    tally.add([np.array([0.02, 0.02, 0.96])] * 250)
    tally.settle()
    assert (tally.n_windows, tally.n_alarms) == (2, 2)
    assert tally.p is not None
    assert tally.p < 1e-9


def test_without_a_reference_it_counts_and_tells_nothing():
    tally = Tally(NAMES, None, window=10)
    tally.add([np.array([0.2, 0.7, 0.1])] * 25)
    tally.settle()
    assert tally.labels.tolist() == [0, 25, 0, 0]
    assert (tally.is_watched, tally.p, tally.n_alarms) == (False, None, 0)


def test_answers_that_are_not_told_count_by_what_they_would_have_been():
    tally = Tally(NAMES, decision=Decision.of(None, NAMES, 0.6))
    tally.add([np.array([0.2, 0.7, 0.1]), np.array([0.5, 0.3, 0.2]), np.zeros(3)])
    tally.settle()
    assert tally.labels.tolist() == [1, 1, 0, 1]
    assert tally.n_abstained == 1
    assert tally.confidence_sum == pytest.approx(1.2)


def test_letters_of_rows_with_choices_are_one():
    tally = Tally(("any choice",))
    tally.add([np.array([0.1, 0.9, 0.0]), np.zeros(3)])
    tally.settle()
    assert tally.labels.tolist() == [1, 1]
