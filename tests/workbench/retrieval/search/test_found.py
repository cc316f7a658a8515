"""A few documents of each category are enough: rankings are those of all scores, whatever a label does to them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.retrieval.search.found import LEAST_PROBABILITY, best_of_each, log_probabilities

N_CATEGORIES = 3


@st.composite
def corpora(draw):
    """Scores with ties and documents that are not found, a category each, what is added to each, and a depth."""
    n = draw(st.integers(1, 25))
    scores = draw(st.lists(st.sampled_from([-np.inf, 0.0, 1.0, 1.5, 3.0]), min_size=n, max_size=n))
    categories = draw(st.lists(st.integers(0, N_CATEGORIES - 1), min_size=n, max_size=n))
    added = draw(st.lists(st.sampled_from([-9.0, -0.5, 0.0]), min_size=N_CATEGORIES, max_size=N_CATEGORIES))
    return np.array(scores), np.array(categories), np.array(added), draw(st.integers(1, 6))


def ranked(scores: np.ndarray, depth: int) -> list[int]:
    order = np.argsort(-scores, kind="stable")
    return [int(one) for one in order if np.isfinite(scores[one])][:depth]


@given(corpora())
def test_every_ranking_is_that_of_all_documents(corpus):
    scores, categories, added, depth = corpus
    found = best_of_each(scores, categories, depth)
    assert found.plain() == found.filtered(-1) == ranked(scores, depth)
    assert found.boosted(added) == ranked(scores + added[categories], depth)
    for category in range(N_CATEGORIES):
        assert found.filtered(category) == ranked(np.where(categories == category, scores, -np.inf), depth)


def test_of_each_category_only_the_best_are_kept():
    found = best_of_each(np.array([0.2, 0.4, -np.inf, 0.3, 0.9]), np.array([2, 2, 0, 2, 1]), 2)
    assert found.documents.tolist() == [4, 1, 3]
    assert found.categories.tolist() == [1, 2, 2]
    assert found.filtered(0) == []
    assert found.spread == pytest.approx(0.5)
    assert best_of_each(np.full(2, -np.inf), np.array([0, 1]), 3).spread == 0


def test_a_sure_wrong_label_costs_a_bounded_number_of_points():
    logs = log_probabilities(np.array([0.0, 1e-300, 1.0]))
    assert logs.tolist() == [np.log(LEAST_PROBABILITY)] * 2 + [0.0]
    found = best_of_each(np.array([30.0, 1.0]), np.array([0, 1]), 2)
    assert found.boosted(log_probabilities(np.array([0.0, 1.0]))) == [0, 1]
