"""Metrics against scikit-learn's, and the invariants they must keep."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from labelwright.errors import DataError
from labelwright.statistics.intervals import paired_test
from labelwright.statistics.metrics import (
    METRICS,
    answers,
    aurc,
    confusion,
    ece,
    ece_floor,
    evaluate,
    log_loss,
    macro_f1,
    per_label,
    reliability,
    risk_coverage,
)


def draw(seed: int, n_rows: int = 60, n_labels: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet(np.full(n_labels, 0.5), size=n_rows)
    return probs, rng.integers(n_labels, size=n_rows)


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_scikit_learn(seed: int) -> None:
    probs, gold = draw(seed)
    values, answers, labels = evaluate(probs, gold), probs.argmax(axis=1), range(4)
    assert values["accuracy"] == pytest.approx(sk.accuracy_score(gold, answers))
    assert values["macro_f1"] == pytest.approx(sk.f1_score(gold, answers, average="macro"))
    assert values["log_loss"] == pytest.approx(sk.log_loss(gold, probs, labels=labels))
    assert values["brier"] == pytest.approx(sk.brier_score_loss(gold, probs, labels=labels, scale_by_half=False))
    assert (confusion(probs, gold) == sk.confusion_matrix(gold, answers, labels=labels)).all()
    precision, recall, f1, support = sk.precision_recall_fscore_support(gold, answers, labels=labels, zero_division=0)
    for row, *expected in zip(per_label(probs, gold, "abcd"), precision, recall, f1, support, strict=True):
        assert [row["precision"], row["recall"], row["f1"], row["n_rows"]] == pytest.approx(expected)


def test_labels_that_do_not_occur_are_left_out_of_macro_f1() -> None:
    probs = np.array([[0.9, 0.1, 0.0], [0.1, 0.9, 0.0]])
    assert macro_f1(probs, np.array([0, 1])) == 1.0
    assert [row["f1"] for row in per_label(probs, np.array([0, 1]), "abc")] == [1.0, 1.0, 0.0]


def test_a_column_for_no_label_is_no_label_in_macro_f1() -> None:
    """An answer there misses its row, as scikit-learn counts it with ``labels`` given; it adds no label of F1 0."""
    answers, gold = np.array([0, 2, 1, 1, 2]), np.array([0, 0, 1, 1, 1])
    probs = np.eye(3)[answers]
    expected = sk.f1_score(gold, answers, labels=[0, 1], average="macro")
    assert macro_f1(probs, gold, n_labels=2) == pytest.approx(expected)
    assert macro_f1(probs, gold) == pytest.approx(expected * 2 / 3)


def test_ece_by_hand() -> None:
    # Two bins of ten: confidence 0.65 with one of two right, confidence 0.95 with one of one right.
    probs = np.array([[0.65, 0.35], [0.35, 0.65], [0.95, 0.05]])
    gold = np.array([0, 0, 0])
    assert ece(probs, gold, n_bins=10) == pytest.approx((2 * 0.15 + 1 * 0.05) / 3)
    bins = reliability(probs, gold, n_bins=10)
    assert [(b["n_rows"], b["accuracy"]) for b in bins] == [(2, 0.5), (1, 1.0)]
    assert ece(probs, gold) == pytest.approx(
        sum(b["n_rows"] * abs(b["accuracy"] - b["confidence"]) for b in reliability(probs, gold)) / 3
    )


def test_bins_hold_their_upper_edge() -> None:
    (only,) = reliability(np.array([[0.6, 0.4]]), np.array([0]), n_bins=10)
    assert only["high"] == pytest.approx(0.6)


def test_risk_coverage_by_hand() -> None:
    probs = np.array([[0.9, 0.1], [0.8, 0.2], [0.8, 0.2], [0.7, 0.3]])
    gold = np.array([0, 1, 0, 0])
    coverage, risk, threshold = risk_coverage(probs, gold)
    assert coverage.tolist() == [0.25, 0.75, 1.0]
    assert risk == pytest.approx([0, 1 / 3, 0.25])
    assert threshold.tolist() == [0.9, 0.8, 0.7]
    assert aurc(probs, gold) == pytest.approx(0.5 * (1 / 3) + 0.25 * 0.25)


@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(2, 6))
@settings(deadline=None, max_examples=50)
def test_weights_count_rows(seed: int, n_rows: int, n_labels: int) -> None:
    """Whole-number weights give what repeating the rows gives, for every metric and for a batch of weights."""
    probs, gold = draw(seed, n_rows, n_labels)
    probs = np.round(probs, 1)
    probs[:, -1] = 1 - probs[:, :-1].sum(axis=1)
    counts = np.random.default_rng(seed).integers(0, 3, size=(2, n_rows))
    counts[:, 0] += 1
    for metric in METRICS.values():
        batch = metric(probs, gold, counts.astype(float))
        for row, value in zip(counts, batch, strict=True):
            repeated = metric(np.repeat(probs, row, axis=0), np.repeat(gold, row))
            assert value == pytest.approx(repeated, abs=1e-12)


@given(st.integers(0, 10_000))
@settings(deadline=None, max_examples=50)
def test_row_order_does_not_matter(seed: int) -> None:
    probs, gold = draw(seed)
    probs[10:30] = probs[10]
    order = np.random.default_rng(seed).permutation(len(gold))
    assert evaluate(probs, gold) == pytest.approx(evaluate(probs[order], gold[order]))


def test_sure_and_wrong_is_finite() -> None:
    assert 30 < log_loss(np.array([[1.0, 0.0]]), np.array([1])) < 40


@pytest.mark.parametrize(
    ("probs", "gold", "message"),
    [
        (np.ones((2, 2)) / 2, np.array([0]), "shape"),
        (np.ones((0, 2)), np.array([], dtype=int), "at least one row"),
        (np.ones((1, 2)) / 2, np.array([2]), "from 0 to 1"),
        (np.ones((1, 2)) / 2, np.array(["a"]), "not names"),
        (np.ones((2, 2)), np.array([0, 1]), "row 0 of 2 is not a probability vector"),
        (np.array([[0.5, 0.5], [np.nan, 1.0]]), np.array([0, 1]), "row 1 of 2"),
    ],
)
def test_input_that_cannot_be_measured_is_refused(probs: np.ndarray, gold: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        evaluate(probs, gold)


def test_names_that_do_not_fit_the_columns_are_refused() -> None:
    with pytest.raises(DataError, match="2 columns of probabilities for 3 labels"):
        evaluate(np.ones((1, 2)) / 2, np.array([0]), "abc")


def test_ece_floor_is_the_ece_of_exactly_right_confidences():
    rng = np.random.default_rng(1)
    top = rng.uniform(0.5, 1.0, 300)
    probs = np.column_stack([top, 1 - top])
    drawn = [ece(probs, (rng.random(300) >= top).astype(int)) for _ in range(300)]
    assert ece_floor(probs) == pytest.approx(np.mean(drawn), abs=0.005)
    assert ece_floor(np.tile(probs, (40, 1))) < ece_floor(probs) / 3, "more rows, less bias"


def test_a_row_without_an_answer_is_wrong_unsure_and_counted():
    """Also where the first label is gold, which the largest of equal numbers would point at."""
    probs, gold = np.array([[0.9, 0.1], [0.0, 0.0], [0.0, 0.0]]), np.array([0, 0, 1])
    assert answers(probs).tolist() == [0, -1, -1]
    found = evaluate(probs, gold)
    assert found["accuracy"] == pytest.approx(1 / 3)
    assert found["n_invalid"] == 2
    assert found["log_loss"] == pytest.approx((-np.log(0.9) + 2 * np.log(2)) / 3)
    assert found["ece"] == pytest.approx(0.1 / 3)
    assert confusion(probs, gold).tolist() == [[1, 0], [0, 0]]
    assert [row["n_predicted"] for row in per_label(probs, gold, "ab")] == [1, 0]
    assert risk_coverage(probs, gold)[2].tolist() == [0.9, 0.0]
    assert risk_coverage(probs, gold)[1].tolist() == [0.0, pytest.approx(2 / 3)]
    assert "n_invalid" not in evaluate(probs[:1], gold[:1])
    with pytest.raises(DataError, match="row 0 of 1 is not a probability vector"):
        evaluate(np.array([[0.2, 0.0]]), gold[:1])
    assert paired_test(probs, np.array([[0.9, 0.1]] * 3), gold).n_only_b == 1
