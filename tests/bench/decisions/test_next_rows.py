"""The simulation over made-up vectors: both ways begin alike, and the numbers are what they say."""

from __future__ import annotations

import numpy as np
import pytest

from bench.decisions.next_rows import Setting, fitted, mean_interval, rows_saved, simulate, table

SETTING = Setting("", n_rows=400, n_measured=150, n_asked=10, n_rounds=3)


@pytest.fixture(scope="module")
def curves():
    """Two labels that share a border, of which most rows are far from it: what is near it teaches most."""
    rng = np.random.default_rng(0)
    gold = rng.integers(0, 2, 400)
    across = np.where(rng.random(400) < 0.8, rng.uniform(2, 4, 400), rng.uniform(0, 0.5, 400)) * (2 * gold - 1)
    vectors = np.stack([across, 3 * rng.normal(size=400)], axis=1).astype(np.float32)
    return simulate(SETTING, vectors, gold, 4, fitted)


def test_both_ways_begin_with_the_same_rows_and_end_with_as_many(curves):
    assert (curves["chosen"].accuracy[:, 0] == curves["random"].accuracy[:, 0]).all()
    assert curves["chosen"].accuracy.shape == (4, 4)
    assert curves["chosen"].n_first.tolist() == [10] * 4
    assert np.isnan(curves["random"].on_chosen).all()


def test_what_is_chosen_is_harder_than_the_pool_and_what_is_drawn_is_not(curves):
    chosen = curves["chosen"]
    assert chosen.on_chosen.mean() < chosen.accuracy[:, :-1].mean() - 0.1
    assert curves["random"].on_random.mean() == pytest.approx(curves["random"].accuracy[:, :-1].mean(), abs=0.08)
    assert chosen.accuracy[:, -1].mean() >= curves["random"].accuracy[:, -1].mean()


def test_a_mean_has_students_interval():
    mean, low, high = mean_interval(np.array([1.0, 2.0, 3.0]))
    assert (mean, round(high - 2, 3), round(2 - low, 3)) == (2.0, 2.484, 2.484)


def test_the_table_has_a_line_a_round(curves):
    lines = table("toy", SETTING, curves).splitlines()
    assert [line.split(" | ")[0] for line in lines if line.startswith("| ")][1:] == ["| 10", "| 20", "| 30", "| 40"]
    assert lines[-1] == rows_saved(SETTING, curves)
