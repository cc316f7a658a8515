"""The metrics against numbers worked out by hand."""

from __future__ import annotations

from math import log2

import pytest

from workbench.retrieval.search.metrics import Judged, depth_of

RELEVANT = [{1: 1, 3: 2}, {0: 1}]


def test_metrics_are_those_worked_out_by_hand():
    """Places: 2 (no), 1 (grade 1, at place 2), 3 (grade 2, at place 3); at best 3 comes first and 1 second."""
    (values,) = Judged(RELEVANT, k=2).values([0], [[2, 1, 3]])
    gained, best = 1 / log2(3) + 2 / log2(4), 2 / log2(2) + 1 / log2(3)
    assert values.tolist() == pytest.approx([gained / best, 1 / 2, 1 / 2])


def test_ndcg_looks_at_ten_places_and_recall_at_k():
    far = [*range(10, 20), 0]
    (deep,) = Judged(RELEVANT, k=11).values([1], [far])
    assert deep.tolist() == pytest.approx([0, 1, 1 / 11])
    (short,) = Judged(RELEVANT, k=10).values([1], [far])
    assert short.tolist() == pytest.approx([0, 0, 1 / 11])
    assert (depth_of(3), depth_of(50)) == (10, 50)


def test_each_query_has_its_own_values_in_the_order_asked_and_nothing_found_is_worth_nothing():
    judged = Judged(RELEVANT, k=10)
    assert judged.values([1, 0], [[0], [7]]).tolist() == [[1, 1, 1], [0, 0, 0]]
    assert judged.values([0], [[]]).tolist() == [[0, 0, 0]]


def test_the_order_counts_and_not_the_names_of_documents():
    """trec_eval breaks ties of scores by name: 9 would come before 10."""
    judged = Judged([{9: 1}], k=10)
    assert judged.values([0], [[10, 9]])[0, 2] == 1 / 2
    assert judged.values([0], [[9, 10]])[0, 2] == 1
