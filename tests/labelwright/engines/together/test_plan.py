"""Several answers made into one: means, thresholds, rows that nobody answers, and who is asked how often."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwright.engines.together.plan import MEANS, Level, Plan, average

A = np.array([[0.9, 0.1, 0.0], [0.4, 0.3, 0.3], [0.0, 0.0, 0.0]])
B = np.array([[0.2, 0.7, 0.1], [0.1, 0.8, 0.1], [0.1, 0.7, 0.2]])


def asker(*probs: np.ndarray, asked: list[tuple[int, list[int]]] | None = None):
    def ask(member: int, rows: np.ndarray) -> np.ndarray:
        if asked is not None:
            asked.append((member, rows.tolist()))
        return probs[member][rows]

    return ask


def test_a_mean_of_probabilities_is_one():
    found = np.exp(average([A, B], (3.0, 1.0), "probability"))
    np.testing.assert_allclose(found[:2], (3 * A + B)[:2] / 4)
    np.testing.assert_allclose(found[2], B[2])  # the other has no answer to it


def test_a_mean_of_logarithms_is_the_normalised_product():
    found = np.exp(average([A, B], (1.0, 1.0), "log"))
    product = np.sqrt(np.maximum(A, 1e-6) * np.maximum(B, 1e-6))
    np.testing.assert_allclose(found[:2], product[:2] / product[:2].sum(axis=1, keepdims=True))
    np.testing.assert_allclose(found[2], B[2])  # who is silent does not make the others less sure
    assert 0 < found[0, 2] < 0.01, "what one member calls impossible is unlikely, and no more"


@pytest.mark.parametrize("mean", MEANS)
def test_what_nobody_can_answer_and_what_all_call_impossible(mean):
    nobody = average([A[2:], A[2:]], (1.0, 1.0), mean)
    assert np.isneginf(nobody).all()
    both = np.array([[0.5, 0.5, 0.0]])
    found = average([both, both], (1.0, 2.0), mean)
    assert np.isneginf(found[0, 2])
    np.testing.assert_allclose(np.exp(found), both)


@given(
    rows=st.integers(1, 6), members=st.integers(1, 4), labels=st.integers(2, 5), mean=st.sampled_from(MEANS),
    seed=st.integers(0, 999),
)  # fmt: skip
def test_a_mean_is_a_distribution_between_its_members_and_knows_no_scale(rows, members, labels, mean, seed):
    chance = np.random.default_rng(seed)
    probs = [chance.dirichlet(np.ones(labels), size=rows) for _ in range(members)]
    weights = chance.uniform(0.1, 2, size=members)
    found = np.exp(average(probs, weights.tolist(), mean))
    np.testing.assert_allclose(found.sum(axis=1), 1)
    np.testing.assert_allclose(found, np.exp(average(probs, (7 * weights).tolist(), mean)))
    if members == 1:
        np.testing.assert_allclose(found, probs[0])
    if mean == "probability":
        assert (found >= np.min(probs, axis=0) - 1e-12).all()
        assert (found <= np.max(probs, axis=0) + 1e-12).all()


def test_a_cascade_asks_the_next_one_only_about_what_is_left():
    asked: list[tuple[int, list[int]]] = []
    plan = Plan((Level((1, 0), 0.85), Level((0, 1))))
    found = plan.answer(asker(A, B, asked=asked), 3, 3)
    assert asked == [(0, [0, 1, 2]), (1, [1, 2])]
    assert found.levels.tolist() == [0, 1, 1]
    np.testing.assert_allclose(np.exp(found.log_probs), [A[0], B[1], B[2]], atol=1e-5)


def test_who_has_no_answer_is_sure_of_nothing():
    found = Plan((Level((1, 0), 0.0), Level((0, 1)))).answer(asker(A, B), 3, 3)
    assert found.levels.tolist() == [0, 0, 1]


def test_no_member_is_asked_twice_about_a_row():
    asked: list[tuple[int, list[int]]] = []
    plan = Plan((Level((1, 0), 0.85), Level((1, 1))), "probability")
    found = plan.answer(asker(A, B, asked=asked), 3, 3)
    assert asked == [(0, [0, 1, 2]), (1, [1, 2])]
    np.testing.assert_allclose(np.exp(found.log_probs), [A[0], (A[1] + B[1]) / 2, B[2]])


def test_a_row_that_all_are_sure_of_asks_nobody_else():
    def ask(member: int, rows: np.ndarray) -> np.ndarray:
        assert member == 0
        return A[rows]

    assert Plan((Level((1, 0), 0.5), Level((0, 1)))).answer(ask, 1, 3).levels.tolist() == [0]
    assert Plan((Level((1, 0), 0.5), Level((0, 1)))).answer(ask, 0, 3).log_probs.shape == (0, 3)
