"""Levels on the leaderboard: every candidate's numbers, and paired differences to the best one's."""

from __future__ import annotations

import pytest
from level_candidates import CANDIDATES, GOLD, PLAIN, TASK, board_of

from labelwright.decisions.structured import structured_metrics


def test_every_candidate_has_its_numbers_with_intervals():
    board = board_of(TASK)
    for one in CANDIDATES[:2]:
        found = board.entry(one.name).structured[""]
        expected = structured_metrics(TASK, one.decision, one.probs, GOLD)
        assert (found.kind, found.n_rows) == ("levels", 120)
        assert {name: value.value for name, value in found.metrics.items()} == pytest.approx(
            {name: value.value for name, value in expected.items()}
        )
        assert all(value.low <= value.value <= value.high for value in found.metrics.values())
    assert board.entry("free").structured[""].metrics["mean_absolute_error"].value < 0.5
    assert board.entry("gone").structured == {}


def test_differences_are_to_the_best_and_paired():
    board = board_of(TASK)
    best = board.verdict.best
    assert board.entry(best).structured[""].to_best == {}
    other = "far" if best == "near" else "near"
    ours, theirs = (board.entry(name).structured[""] for name in (other, best))
    for name, difference in ours.to_best.items():
        assert difference.value.value == pytest.approx(ours.metrics[name].value - theirs.metrics[name].value)
        assert difference.p_value <= difference.p_holm
        assert (difference.p_holm < 0.05) == (difference.value.low * difference.value.high > 0)
    assert ours.to_best["mean_absolute_error"].p_holm < 0.05


def test_plain_labels_have_none():
    assert all(entry.structured == {} for entry in board_of(PLAIN).candidates)
