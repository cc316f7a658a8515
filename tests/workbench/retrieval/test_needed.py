"""Wrong labels are wrong, and the accuracy that is needed is where what they cost meets what right ones bring."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.retrieval.needed import ACCURACIES, Wrong, confusion, crossing, curve_of, wrong_labels
from workbench.retrieval.report.result import BY_CHANCE, CONFUSED

GROUPS = [str(i) for i in range(200)]


@given(st.integers(2, 6), st.integers(1, 40), st.integers(0, 3), st.booleans())
def test_a_wrong_label_is_never_the_right_one(n_labels, n_queries, seed, is_sure):
    rng = np.random.default_rng(seed)
    gold = rng.integers(0, n_labels, n_queries)
    probs = np.eye(n_labels)[gold] if is_sure else rng.dirichlet(np.ones(n_labels), n_queries)
    for wrong in wrong_labels(gold, probs, seed):
        assert (wrong.labels != gold).all()
        assert ((wrong.labels >= 0) & (wrong.labels < n_labels)).all()


def test_wrong_labels_are_drawn_evenly_or_as_the_bundle_mixes_them_up():
    gold = np.zeros(4000, dtype=int)
    probs = np.tile([0.7, 0.24, 0.05, 0.01], (4000, 1))
    by_chance, confused = wrong_labels(gold, probs, seed=0)
    assert (by_chance.kind, confused.kind) == (BY_CHANCE, CONFUSED)
    shares = [np.bincount(one.labels.ravel(), minlength=4)[1:] / one.labels.size for one in (by_chance, confused)]
    assert shares[0].tolist() == pytest.approx([1 / 3] * 3, abs=0.02)
    assert shares[1].tolist() == pytest.approx([0.8, 0.167, 0.033], abs=0.02)


def test_the_mixing_up_is_of_each_right_label_and_one_that_nobody_saw_is_even():
    table = confusion(np.array([0, 0, 1]), np.array([[0.6, 0.4, 0], [0.8, 0, 0.2], [0, 1.0, 0]]))
    assert table.sum(axis=1).tolist() == pytest.approx([1, 1, 1])
    assert np.diag(table).tolist() == [0, 0, 0]
    # (0.4, 0.2), and of one more query 0.3 spread evenly.
    assert table[0, 1:].tolist() == pytest.approx([0.55 / 0.9, 0.35 / 0.9])
    assert table[1].tolist() == table[2, [0, 2, 1]].tolist() == [0.5, 0, 0.5]


def lines(right: float, wrong: float, noise: float = 0.05) -> np.ndarray:
    """Differences to plain search, (n_queries, n_accuracies)."""
    each = np.random.default_rng(0).normal(0, noise, (len(GROUPS), 1))
    return wrong + (right - wrong) * np.array(ACCURACIES) + each - each.mean()


def test_the_crossing_is_where_the_line_is_zero():
    found = crossing(lines(right=0.2, wrong=-0.6), GROUPS)
    assert found is not None
    assert found.value == pytest.approx(0.75)
    assert 0.7 < found.low < 0.75 < found.high < 0.8


def test_labels_that_never_help_have_none_and_those_that_never_hurt_need_nothing():
    assert crossing(lines(right=-0.1, wrong=-0.6), GROUPS) is None
    found = crossing(lines(right=0.5, wrong=0.2), GROUPS)
    assert found == (0, 0, 0)


def test_what_cannot_be_told_has_a_wide_interval():
    found = crossing(lines(right=0.001, wrong=-0.001, noise=1), GROUPS)
    assert found is not None
    assert (found.low, found.high) == (0, 1)


def test_groups_widen_the_interval():
    differences = lines(right=0.2, wrong=-0.6, noise=0.3)
    order = np.argsort(differences[:, 0])
    alone, together = crossing(differences[order], GROUPS), crossing(differences[order], [g[0] for g in sorted(GROUPS)])
    assert alone is not None
    assert together is not None
    assert together.high - together.low > alone.high - alone.low


def test_a_curve_goes_from_wrong_labels_to_right_ones():
    gold = np.zeros(200, dtype=int)
    rng = np.random.default_rng(0)
    wrong = Wrong(BY_CHANCE, np.ones((5, 200), dtype=int), rng.random((5, 200)))
    plain = np.full(200, 0.5)
    curve = curve_of("s", "w", wrong, gold, plain, lambda labels: np.where(labels == 0, 0.9, 0.1), GROUPS)
    values = [one.value for one in curve.ndcg]
    assert values[0] == pytest.approx(0.1)
    assert values[-1] == pytest.approx(0.9)
    assert values == sorted(values)
    assert values[5] == pytest.approx(0.5, abs=0.03)
    assert curve.needed is not None
    assert curve.needed.value == pytest.approx(0.5, abs=0.02)
