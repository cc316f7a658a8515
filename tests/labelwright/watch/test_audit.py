"""What is said of audited rows: accuracy apart from dev's, one bundle apart from another, and when."""

from __future__ import annotations

import random

import pytest

from labelwright.watch.audit import Audit, Shadow


def audited(accuracy: float, n: int, seed: int = 0) -> Audit:
    draw, audit = random.Random(seed), Audit(1000, 900)
    for row in range(1, n + 1):
        audit.add(draw.random() < accuracy, row)
    return audit


def test_a_fall_of_accuracy_is_told_with_its_row_and_stays_told():
    audit = audited(0.75, 400)
    assert audit.told_at is not None
    assert 5 < audit.told_at < 100
    assert audit.has_fallen
    assert audit.accuracy.value == audit.n_right / 400
    assert audit.always.low < audit.accuracy.low < audit.accuracy.high < audit.always.high


def test_a_rise_is_told_and_is_no_fall():
    audit = audited(0.99, 2000)
    assert audit.told_at is not None
    assert not audit.has_fallen


def test_equal_accuracy_is_seldom_told_however_often_one_looks():
    assert sum(audited(0.9, 1000, seed).told_at is not None for seed in range(40)) <= 5


def test_without_dev_nothing_is_compared():
    audit = Audit(0, 0)
    for row in range(200):
        audit.add(False, row)
    assert (audit.told_at, audit.accuracy.value) == (None, 0.0)


def test_a_challenger_is_told_apart_by_the_rows_that_only_one_has_right():
    shadow = Shadow()
    for row in range(1, 201):
        theirs = "pool" if row % 4 else "fence"
        shadow.add("fence", theirs, "pool" if row % 2 else None, row)
    assert (shadow.n, shadow.n_same, shadow.n_audited) == (200, 50, 100)
    assert (shadow.both, shadow.first, shadow.second, shadow.neither) == (0, 0, 100, 0)
    assert shadow.told_at == 15  # the eighth audited row: 2^8 / 9 is more than 20
    assert shadow.difference.value == 1.0
    assert shadow.mcnemar_p < 1e-20
    assert shadow.most_pairs == [("fence", "pool", 150)]


def test_the_bundle_alone_right_counts_against_the_challenger():
    shadow = Shadow()
    for row, (ours, theirs) in enumerate([("a", "b"), ("a", "a"), ("b", "a"), ("b", "c"), (None, "a")], start=1):
        shadow.add(ours, theirs, "a", row)
    assert (shadow.both, shadow.first, shadow.second, shadow.neither) == (1, 1, 2, 1)
    assert shadow.difference.value == pytest.approx(0.2)
    assert shadow.told_at is None
    assert shadow.agreement.value == 0.2
