"""Sets that hold the right label as often as promised, of all rows and of a label's own."""

from __future__ import annotations

import numpy as np
from scipy.stats import binomtest

from labelwright.statistics.conformal import set_thresholds


def test_by_hand():
    at_gold = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
    gold = np.zeros(9, dtype=np.int64)
    # (9 + 1) * 0.1 = 1: the least probable one. At 0.95 none may be missed.
    assert set_thresholds(at_gold, gold, 2, 0.9)[0] == 0.1
    assert set_thresholds(at_gold, gold, 2, 0.8)[0] == 0.2
    assert set_thresholds(at_gold, gold, 2, 0.95).tolist() == [0.0, 0.0]


def test_a_label_with_enough_rows_has_its_own_and_the_others_share_one():
    gold = np.repeat([0, 1, 2], [9, 5, 5])
    at_gold = np.concatenate([np.full(9, 0.9), np.linspace(0.1, 0.5, 5), np.linspace(0.15, 0.55, 5)])
    found = set_thresholds(at_gold, gold, 3, 0.9)
    assert found[0] == 0.9
    assert found[1] == found[2] == 0.1


def test_the_right_label_is_in_the_set_as_often_as_promised():
    chance, level, n_labels = np.random.default_rng(0), 0.8, 4
    # Labels that are hard to different degrees: one threshold for all would break the promise of the hardest.
    sharpness = np.array([0.3, 1.0, 2.0, 4.0])
    held = np.zeros((400, n_labels), dtype=bool)
    for number in range(len(held)):
        gold = chance.integers(n_labels, size=200)
        at_gold = chance.beta(1 + sharpness[gold], 1)
        lowest = set_thresholds(at_gold, gold, n_labels, level)
        held[number] = chance.beta(1 + sharpness, 1) >= lowest
    for label in range(n_labels):
        n_held = int(held[:, label].sum())
        assert binomtest(n_held, len(held), level, alternative="less").pvalue > 0.01
    assert held.mean() < 0.86
