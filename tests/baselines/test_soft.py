"""Rows with a teacher's probabilities: weights say what the cross-entropy says, and students learn from them."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import toy_examples, toy_task
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from baselines import BASELINES, make
from baselines.soft import MOST_LABELS, read_soft, soft_cost, weighted
from labelwright.data.task import texts_and_labels
from labelwright.errors import DataError, RecipeError

X, Y = texts_and_labels(toy_examples())
LABELS = ["fence", "hvac", "pool"]
STUDENTS = [name for name, one in BASELINES.items() if one.learns_soft]


@given(arrays(np.float64, (4, 3), elements=st.floats(0.2, 1)), arrays(np.float64, (4, 3), elements=st.floats(0.01, 1)))
def test_a_weighted_loss_over_labels_is_the_cross_entropy(soft, answers):
    """Of three labels, none of which is all but ruled out, nothing is left out."""
    soft, answers = (one / one.sum(axis=1, keepdims=True) for one in (soft, answers))
    row, gold, weight = weighted(np.zeros(2, dtype=np.int64), soft)
    assert weight[:2].tolist() == [1, 1]
    losses = -weight[2:] * np.log(answers[row[2:] - 2, gold[2:]])
    assert losses.sum() / len(soft) == pytest.approx(soft_cost(answers, soft))


@given(arrays(np.float64, st.tuples(st.integers(1, 6), st.integers(2, 60)), elements=st.floats(1e-6, 1)))
def test_every_row_counts_one_whatever_is_left_out(soft):
    soft = soft / soft.sum(axis=1, keepdims=True)
    row, gold, weight = weighted(np.array([1, 0]), soft)
    assert np.bincount(row, weights=weight) == pytest.approx(np.ones(2 + len(soft)))
    assert np.bincount(row)[2:].max() <= MOST_LABELS
    # The likeliest label is always among them.
    assert {(r + 2, k) for r, k in enumerate(soft.argmax(axis=1))} <= set(zip(row.tolist(), gold.tolist(), strict=True))


def test_columns_are_put_in_the_order_of_the_classes_and_rows_are_made_whole():
    given = (["a", "b"], ["pool", "fence", "other"], [[0.5, 0.25, 0.25], [0, 0, 1]])
    found = read_soft(given, np.array(["fence", "pool"]))
    assert found is not None
    # Of the second row nothing is left: its label has no training row.
    assert found.texts == ["a"]
    assert found.probs.tolist() == [[pytest.approx(1 / 3), pytest.approx(2 / 3)]]


@pytest.mark.parametrize(
    ("probs", "told"),
    [
        ([[0.5, 0.5]], "shape (1, 2) for 1 texts and 3 labels"),
        ([[0.5, np.nan, 0.5]], "no numbers of 0 or more"),
        ([[1.5, -0.5, 0.0]], "no numbers of 0 or more"),
    ],
)
def test_what_is_no_probability_is_refused(probs, told):
    with pytest.raises(DataError) as refused:
        read_soft((["a"], LABELS, probs), np.array(LABELS))
    assert told in str(refused.value)


def test_who_learns_from_probabilities_is_said_and_the_others_refuse():
    assert STUDENTS == ["sgd-ngrams", "sgd-chars", "minilm-logreg", "static-logreg"]
    soft = (["x"], LABELS, np.full((1, 3), 1 / 3))
    with pytest.raises(RecipeError, match="Majority cannot learn from probabilities"):
        make("majority", toy_task(), 0).fit(X, Y, soft=soft)
    with pytest.raises(RecipeError, match="head = 'knn' cannot learn from probabilities: expected logreg, svm or mlp"):
        make("minilm-logreg", toy_task(), 0, {"head": "knn"}).fit(X, Y, soft=soft)


@pytest.mark.parametrize("name", STUDENTS)
def test_a_student_learns_words_that_no_labelled_row_has(name, settings_for):
    """The teacher is sure of one, and torn over the other; of each it says what nobody would guess."""
    shown = [[one for one, text in zip(rows, X, strict=True) if "water" not in text][::3] for rows in (X, Y)]
    plain = make(name, toy_task(), 0, settings_for(name)).fit(*shown)
    (sure, *_), (torn, other, _) = plain.predict_proba(["winter", "water"]).argsort(axis=1)
    probs = np.zeros((60, 3))
    probs[::2, sure], probs[1::2, torn], probs[1::2, other] = 1, 0.7, 0.3
    texts = [f"{word} {n}" for n in range(30) for word in ("winter", "water")]
    taught = make(name, toy_task(), 0, settings_for(name)).fit(*shown, soft=(texts, LABELS, probs))
    of_winter, of_water = taught.predict_proba(["winter", "water"])
    assert of_winter.argmax() == sure
    assert of_water.argsort()[1:].tolist() == [other, torn]
    assert of_winter[sure] > of_water[torn]


def test_the_strength_is_the_one_that_comes_nearest_to_the_teacher(encoder):
    texts = [f"{word} {n}" for n in range(20) for word in ("winter", "water")]
    probs = np.array([[0.02, 0.96, 0.02], [0.02, 0.02, 0.96]] * 20)
    fitted = make("minilm-logreg", toy_task(), 0, {"encoder": encoder, "strengths": [1e-4, 10.0]})
    fitted.fit(X, Y, soft=(texts, LABELS, probs))
    assert fitted.strength_ == 10.0
