"""A boost counts as much as the label is worth, and nothing where it is worth nothing."""

from __future__ import annotations

import numpy as np

from workbench.retrieval.search.found import best_of_each
from workbench.retrieval.search.metrics import Judged
from workbench.retrieval.weights import STEPS, choose_weight

CATEGORIES = np.array([0, 1, 0, 1])


def chosen(relevant: int, probs: list[float]):
    """Scores fall from document to document; the relevant one is of category ``relevant % 2``."""
    found = [best_of_each(np.array([4.0, 3.0, 2.0, 1.0]), CATEGORIES, 10)] * 3
    judged = Judged([{relevant: 1}] * 3, k=10)
    return choose_weight("words", found, np.tile(probs, (3, 1)), judged, [0, 1, 2])


def test_a_label_that_helps_counts_as_little_as_is_enough():
    weight = chosen(relevant=3, probs=[0.01, 0.99])
    best = max(ndcg for _, ndcg in weight.tried)
    assert best > weight.tried[0][1]
    assert weight.value == min(value for value, ndcg in weight.tried if ndcg == best) > 0


def test_a_label_that_misleads_or_says_nothing_is_not_used():
    assert chosen(relevant=0, probs=[0.01, 0.99]).value == 0
    assert chosen(relevant=3, probs=[0.5, 0.5]).value == 0


def test_weights_are_tried_in_units_of_the_scores():
    weight = chosen(relevant=3, probs=[0.01, 0.99])
    assert [value for value, _ in weight.tried] == [step * 3.0 for step in STEPS]
