"""Which rows are chosen: chance first and blind to the classifier, then unsure rows that do not repeat each other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwright.errors import MissingExtraError
from workbench.next_rows import choice
from workbench.next_rows.choice import Chosen, choose, margin, spread_out, text_vectors


def probs_of(margins: np.ndarray) -> np.ndarray:
    """Probabilities of three labels with these margins."""
    best, second = (1 + margins) / 2, (1 - margins) / 2
    return np.stack([second * 0.9 + margins * 0, best, second * 0.1], axis=1) / (best + second)[:, None]


@settings(max_examples=40)
@given(st.integers(2, 40), st.integers(0, 45), st.integers(0, 45), st.integers(0, 99))
def test_no_row_twice_and_as_many_as_are_wanted(n_rows, n, n_random, seed):
    rng = np.random.default_rng(seed)
    probs, vectors = rng.dirichlet(np.ones(3), n_rows), rng.normal(size=(n_rows, 2))
    chosen = choose(probs, lambda rows: vectors[rows], n, n_random, seed)
    assert len({one.row for one in chosen}) == len(chosen) == min(n, n_rows)
    drawn = [one.row for one in chosen if one.why == "random"]
    # Rows drawn by chance are the first of an order of chance, whatever the classifier says of them.
    assert drawn == list(range(min(n_random, n, n_rows)))


def test_unsure_rows_come_before_sure_ones_and_none_repeats_another():
    """Sixteen unsure rows that say two things, then sure ones: two rows are one of each."""
    margins = np.concatenate([[0.9], np.full(15, 0.05), [0.1], np.full(400, 0.95)])
    vectors = np.zeros((len(margins), 2))
    vectors[1:16, 0], vectors[16, 1] = 1, 1
    chosen = choose(probs_of(margins), lambda rows: vectors[rows], 3, 1, 0)
    assert chosen[0] == Chosen(0, "random")
    said = {tuple(vectors[one.row]): one.why for one in chosen[1:]}
    assert said == {(1.0, 0.0): "uncertain", (0.0, 1.0): "diverse"}


def test_a_row_without_an_answer_is_as_unsure_as_can_be():
    assert margin(np.array([[0.0, 0.0, 0.0], [0.2, 0.7, 0.1], [1.0, 0.0, 0.0]])).tolist() == pytest.approx([0, 0.5, 1])
    probs = np.vstack([np.tile([0.9, 0.1], (50, 1)), [[0.0, 0.0]]])
    assert choose(probs, lambda rows: np.eye(51)[rows], 1, 0, 0) == [Chosen(50, "uncertain")]


def test_equal_vectors_still_give_as_many_rows():
    assert len(set(spread_out(np.ones((8, 2)), np.ones(8), 3, 0))) == 3


def test_without_an_encoder_characters_do(monkeypatch):
    def missing() -> None:
        raise MissingExtraError("no encoder")

    monkeypatch.setattr(choice, "open_encoder", missing)
    vectors = text_vectors(["the pool is green", "the pool is green!", "no hot water"])
    near, far = (vectors[0] @ vectors[1].T).toarray()[0, 0], (vectors[0] @ vectors[2].T).toarray()[0, 0]
    assert near > 0.8 > 0.3 > far
