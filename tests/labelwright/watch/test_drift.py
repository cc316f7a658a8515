"""Windows of unchanged rows are an alarm as seldom as is said; what changes is told, by name."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from labelwright.bundle.reference import EDGES, LABELS
from labelwright.watch.drift import SPANS, Drift, sentence

NAMES = ("pool", "fence", "hvac", "roof")
SHARES = np.array([0.5, 0.3, 0.15, 0.05, 0.0])
CONFIDENCE = np.ones(12) / 12


def drawn(draw: np.random.Generator, n: int, shares=SHARES, confidence=CONFIDENCE) -> dict:
    return {LABELS: draw.multinomial(n, shares), "confidence": draw.multinomial(n, confidence)}


def test_the_rate_of_false_alarms_holds_with_a_dev_of_few_rows():
    """900 windows, each fifteen after a dev of 60 rows of its own; a test that took dev for the truth would fail."""
    draw, rate, alarms = np.random.default_rng(0), 0.1, 0
    for _ in range(60):
        drift = Drift(drawn(draw, 60), NAMES, rate)
        alarms += sum(drift.window(drawn(draw, 200)).is_alarm for _ in range(15))
    assert alarms <= stats.binom(900, rate).ppf(0.999)
    # And it is no test that never says anything.
    assert alarms > 900 * rate / 20


def test_a_shift_is_told_with_the_labels_that_moved():
    draw = np.random.default_rng(1)
    drift = Drift(drawn(draw, 1000), NAMES)
    assert not any(drift.window(drawn(draw, 500)).is_alarm for _ in range(3))
    told = drift.window(drawn(draw, 500, np.array([0.3, 0.3, 0.35, 0.05, 0.0])))
    assert {change.label for change in told.changes if change.n_windows == 1} == {"pool", "hvac"}
    rose = next(change for change in told.changes if change.label == "hvac")
    assert rose.before == pytest.approx(0.15, abs=0.03)
    assert rose.now == pytest.approx(0.35, abs=0.06)
    assert rose.p <= drift.false_alarms
    assert sentence(rose).startswith("label 'hvac' rose from 1")


def test_what_no_window_shows_alone_the_last_sixteen_show():
    draw = np.random.default_rng(2)
    drift = Drift(drawn(draw, 2000), NAMES)
    for _ in range(32):
        drift.window(drawn(draw, 200))
    told = [drift.window(drawn(draw, 200, np.array([0.5, 0.275, 0.15, 0.075, 0.0]))) for _ in range(16)]
    assert told[-1].is_alarm
    assert not told[0].is_alarm
    assert {(change.label, change.n_windows) for change in told[-1].changes} >= {("roof", 16)}


def test_windows_that_are_told_do_not_become_what_is_usual():
    draw = np.random.default_rng(3)
    drift = Drift(drawn(draw, 1000), NAMES)
    moved = np.array([0.2, 0.3, 0.45, 0.05, 0.0])
    assert all(drift.window(drawn(draw, 300, moved)).is_alarm for _ in range(60))


def test_unchanged_windows_make_up_for_few_dev_rows():
    """Forty dev rows can tell little; what came before the shift can."""
    draw = np.random.default_rng(4)
    moved = np.array([0.35, 0.3, 0.3, 0.05, 0.0])
    new, seasoned = (Drift(drawn(np.random.default_rng(5), 40), NAMES) for _ in range(2))
    for _ in range(SPANS[-1] + 4):
        seasoned.window(drawn(draw, 400))
    window = drawn(draw, 400, moved)
    assert not new.window(window).is_alarm
    assert seasoned.window(window).is_alarm


def test_a_falling_confidence_and_rows_without_answers_are_told():
    draw = np.random.default_rng(6)
    drift = Drift(drawn(draw, 1000), NAMES)
    low = np.array([4.0] * 6 + [1.0] * 6) / 30
    said = [
        sentence(one) for one in drift.window(drawn(draw, 500, np.array([0.45, 0.27, 0.14, 0.04, 0.1]), low)).changes
    ]
    assert any(one.startswith("rows without an answer rose from 0.0% to") for one in said)
    # Of all edges the clearest one alone is told.
    assert sum(one.startswith("rows with a confidence below 0.") for one in said) == 1


def test_what_one_of_both_does_not_have_is_not_asked_about():
    draw = np.random.default_rng(7)
    drift = Drift({LABELS: drawn(draw, 500)[LABELS]}, NAMES)
    told = drift.window({"confidence": np.array([500] + [0] * len(EDGES["confidence"]))})
    assert (told.p, told.is_alarm) == (1.0, False)


def test_memory_does_not_grow_with_windows():
    draw = np.random.default_rng(8)
    drift = Drift(drawn(draw, 500), NAMES)
    for _ in range(50):
        drift.window(drawn(draw, 50))
    assert len(drift._last) == SPANS[-1]
    assert int(drift._before[LABELS].sum()) == 500 + 50 * (50 - SPANS[-1])
