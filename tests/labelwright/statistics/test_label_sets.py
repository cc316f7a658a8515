"""Metrics of sets of labels, against scikit-learn on drawn rows, and what counts where there is nothing to count."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from labelwright.statistics.intervals import wilson
from labelwright.statistics.label_sets import SET_METRICS, LabelSets, per_label, resampled_sets, set_intervals


@st.composite
def drawn(draw) -> LabelSets:
    """Rows whose probabilities are often equal, with labels that nobody has or is given."""
    n_rows, n_labels = draw(st.integers(1, 12)), draw(st.integers(2, 5))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    gold = rng.random((n_rows, n_labels)) < rng.choice([0.0, 0.3, 0.7, 1.0], n_labels)
    probs = rng.integers(0, 5, (n_rows, n_labels)) / 4
    return LabelSets.of(gold, probs >= rng.choice([0.0, 0.5, 1.1], n_labels), probs)


def _sklearn(sets: LabelSets) -> dict[str, float]:
    gold, said = sets.gold.astype(int), sets.said.astype(int)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        having = np.flatnonzero(gold.any(axis=0))
        average = [reference.average_precision_score(gold[:, k], sets.probs[:, k]) for k in having]
        macro = reference.f1_score(gold, said, average=None, zero_division=np.nan)
        return {
            "micro_f1": reference.f1_score(gold, said, average="micro", zero_division=0.0),
            "macro_f1": float(np.nanmean(macro)) if not np.isnan(macro).all() else 0.0,
            "sample_f1": reference.f1_score(gold, said, average="samples", zero_division=1.0),
            "jaccard": reference.jaccard_score(gold, said, average="samples", zero_division=1.0),
            "hamming_loss": reference.hamming_loss(gold, said),
            "exact_match": reference.accuracy_score(gold, said),
            "mean_average_precision": float(np.mean(average)) if average else 0.0,
        }


@given(drawn())
@settings(max_examples=150, deadline=None)
def test_the_metrics_are_scikit_learns(sets):
    assert {name: float(metric(sets)) for name, metric in SET_METRICS.items()} == pytest.approx(_sklearn(sets))


@given(drawn(), st.integers(0, 100))
@settings(max_examples=80, deadline=None)
def test_drawing_a_row_twice_is_having_it_twice(sets, seed):
    counts = np.random.default_rng(seed).integers(0, 3, (2, len(sets.gold)))
    counts[:, 0] = 1
    for name, metric in SET_METRICS.items():
        again = [
            float(metric(LabelSets.of(*(np.repeat(one, n, axis=0) for one in (sets.gold, sets.said, sets.probs)))))
            for n in counts
        ]
        assert metric(sets, counts.astype(float)).tolist() == pytest.approx(again), name


@given(drawn())
@settings(max_examples=60, deadline=None)
def test_what_is_not_known_does_not_count(sets):
    """A row whose first label is not known is measured by its others, as if all had been taken of those alone."""
    known = np.ones_like(sets.gold)
    known[:, 0] = False
    partly = LabelSets(sets.gold, sets.said, sets.probs, known, np.ones_like(known))
    rest = LabelSets.of(sets.gold[:, 1:], sets.said[:, 1:], sets.probs[:, 1:])
    for name, metric in SET_METRICS.items():
        assert float(metric(partly)) == pytest.approx(float(metric(rest))), name


def test_what_was_not_answered_is_wrong_and_not_said():
    answered = np.array([[True, False], [True, True]])
    sets = LabelSets(np.zeros((2, 2), bool), np.zeros((2, 2), bool), np.zeros((2, 2)), np.ones((2, 2), bool), answered)
    assert sets.exact.tolist() == [False, True]
    assert float(SET_METRICS["hamming_loss"](sets)) == 0.25


def test_labels_that_nobody_has_count_as_the_file_says():
    """Neither right nor said: no label of the mean. Said and never right: an F1 of 0, and no average precision."""
    gold = np.array([[1, 0, 0], [0, 0, 0]])
    sets = LabelSets.of(gold, [[1, 0, 0], [0, 0, 1]], [[0.9, 0.1, 0.2], [0.2, 0.1, 0.8]])
    assert float(SET_METRICS["macro_f1"](sets)) == 0.5
    assert float(SET_METRICS["mean_average_precision"](sets)) == 1.0
    assert [one["f1"] for one in per_label(sets, "abc")] == [1.0, 0.0, 0.0]
    nothing = LabelSets.of(np.zeros((3, 2)), np.zeros((3, 2)))
    assert {name: float(metric(nothing)) for name, metric in SET_METRICS.items()} == {
        "micro_f1": 0.0, "macro_f1": 0.0, "sample_f1": 1.0, "jaccard": 1.0, "hamming_loss": 0.0, "exact_match": 1.0,
        "mean_average_precision": 0.0,
    }  # fmt: skip


def test_all_right_has_an_interval_as_wide_as_that_of_the_rows():
    gold = np.eye(4, dtype=bool)[np.arange(20) % 4]
    sets = LabelSets.of(gold, gold)
    found = set_intervals(sets, resampled_sets({"": sets}, n_resamples=50)[""])
    low = wilson(1.0, 20).low
    assert found["exact_match"].low == found["micro_f1"].low == found["jaccard"].low == low
    assert found["hamming_loss"] == pytest.approx((0.0, 0.0, 1 - low))


def test_groups_widen_the_intervals():
    rng = np.random.default_rng(0)
    gold, right = rng.random((200, 3)) < 0.4, np.repeat(rng.random(20) < 0.6, 10)
    sets = LabelSets.of(gold, gold ^ ~right[:, None])
    groups = [str(i // 10) for i in range(200)]
    alone, together = (set_intervals(sets, resampled_sets({"": sets}, one)[""], one) for one in (None, groups))
    for name in SET_METRICS:
        assert together[name].value == alone[name].value
        assert together[name].high - together[name].low > 1.5 * (alone[name].high - alone[name].low), name


def test_two_classifiers_are_drawn_together():
    rng = np.random.default_rng(1)
    gold = rng.random((60, 3)) < 0.4
    sets = LabelSets.of(gold, gold ^ (rng.random((60, 3)) < 0.2))
    found = resampled_sets({"a": sets, "b": sets}, n_resamples=40)
    assert all(not one.minus(found["b"][name]).draws.any() for name, one in found["a"].items())
