"""Thresholds of labels: the best there are on the rows they are fitted on, a half where rows say nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwright.statistics.label_sets import SET_METRICS, LabelSets
from labelwright.statistics.label_thresholds import (
    HALF,
    HIGHEST,
    LEAST_CELLS,
    LOWEST,
    MAXIMISED,
    cross_fitted,
    fit_thresholds,
    said_from,
)


def drawn(seed: int, n_rows: int = 120, share: float = 0.15) -> LabelSets:
    """Calibrated probabilities of labels that are rare."""
    rng = np.random.default_rng(seed)
    probs = rng.beta(share * 2, (1 - share) * 2, (n_rows, 4))
    return LabelSets.of(rng.random((n_rows, 4)) < probs, probs >= HALF, probs)


@given(st.integers(0, 10**6), st.sampled_from(MAXIMISED))
@settings(max_examples=25, deadline=None)
def test_no_threshold_of_a_fine_grid_is_better_on_the_rows_themselves(seed, maximise):
    sets, metric = drawn(seed, 60), SET_METRICS[maximise]
    reached = float(metric(said_from(sets, fit_thresholds(sets, maximise))))
    grid = np.linspace(LOWEST, HIGHEST, 40)
    if maximise == "macro_f1":
        enough = [min(gold.sum(), (~gold).sum()) >= LEAST_CELLS for gold in sets.gold.T]
        one = LabelSets.of(sets.gold[:, enough], sets.said[:, enough], sets.probs[:, enough])
        each = [
            [float(metric(LabelSets.of(gold[:, None], (probs >= t)[:, None]))) for t in grid]
            for gold, probs in zip(one.gold.T, one.probs.T, strict=True)
        ]
        of_enough = fit_thresholds(sets, maximise)[enough]
        own = [
            float(metric(LabelSets.of(gold[:, None], (probs >= t)[:, None])))
            for gold, probs, t in zip(one.gold.T, one.probs.T, of_enough, strict=True)
        ]
        assert all(mine >= max(theirs) - 1e-9 for mine, theirs in zip(own, each, strict=True))
    else:
        best = max(float(metric(said_from(sets, np.full(4, t)))) for t in grid)
        # Of the F1 of rows not every threshold is tried.
        assert reached >= best - (0.0 if maximise == "micro_f1" else 0.02) - 1e-9


def test_rare_labels_are_said_below_a_half_and_that_gains_on_other_rows():
    fitted, fresh = drawn(1, 1500), drawn(2, 4000)
    for maximise in MAXIMISED:
        thresholds = fit_thresholds(fitted, maximise)
        assert (thresholds < HALF).all()
        metric = SET_METRICS[maximise]
        # Many rows have no label, and are wholly right where none is said: the F1 of rows gains little.
        least = 0.0 if maximise == "sample_f1" else 0.03
        assert float(metric(said_from(fresh, thresholds))) > float(metric(fresh)) + least


def test_too_few_rows_with_a_label_leave_it_a_half():
    sets = drawn(3)
    gold = sets.gold.copy()
    gold[:, 2] = False
    gold[: LEAST_CELLS - 1, 2] = True
    gold[:, 3] = True
    few = LabelSets.of(gold, sets.said, sets.probs)
    thresholds = fit_thresholds(few, "macro_f1")
    assert thresholds[2] == thresholds[3] == HALF != thresholds[0]
    assert fit_thresholds(LabelSets.of(np.zeros((9, 2)), np.zeros((9, 2)), np.ones((9, 2))), "micro_f1").tolist() == [
        HALF,
        HALF,
    ]


def test_of_equally_good_thresholds_the_one_nearest_to_a_half_is_taken():
    gold = np.array([[True]] * 10 + [[False]] * 10)
    sets = LabelSets.of(gold, gold, np.where(gold, 0.9, 0.1))
    assert [fit_thresholds(sets, one).tolist() for one in MAXIMISED] == [[HALF]] * 3


def test_cells_that_are_not_known_or_not_answered_teach_nothing():
    sets = drawn(4, 300)
    known = np.ones_like(sets.gold)
    known[:150] = False
    half = LabelSets(sets.gold, sets.said, sets.probs, known, np.ones_like(known))
    alone = LabelSets.of(sets.gold[150:], sets.said[150:], sets.probs[150:])
    for maximise in ("micro_f1", "macro_f1"):
        assert fit_thresholds(half, maximise).tolist() == fit_thresholds(alone, maximise).tolist()


def test_what_is_gained_is_told_of_rows_that_were_not_fitted_on():
    """Of labels that come by chance, the rows fitted on show a gain, and the others none to speak of."""
    rng = np.random.default_rng(5)
    gold, probs = rng.random((60, 6)) < 0.3, rng.random((60, 6))
    sets = LabelSets.of(gold, probs >= HALF, probs)
    groups = [str(i) for i in range(60)]
    before, after = cross_fitted(sets, "macro_f1", groups, 5, 0)
    metric = SET_METRICS["macro_f1"]
    in_sample = float(metric(said_from(sets, fit_thresholds(sets, "macro_f1"))))
    assert before == pytest.approx(float(metric(sets)))
    assert in_sample > after


def test_groups_are_on_one_side_of_every_fold():
    """Copies of a row tell its threshold away where they are parted."""
    rng = np.random.default_rng(6)
    gold, probs = rng.random((12, 1)) < 0.5, rng.random((12, 1))
    tiled = LabelSets.of(np.tile(gold, (6, 1)), np.zeros((72, 1)), np.tile(probs, (6, 1)))
    whole = cross_fitted(tiled, "micro_f1", [str(i % 12) for i in range(72)], 12, 0)[1]
    parted = cross_fitted(tiled, "micro_f1", [str(i) for i in range(72)], 6, 0)[1]
    assert whole <= parted
