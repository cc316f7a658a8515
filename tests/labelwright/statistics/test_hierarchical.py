"""Hierarchical metrics against sets of nodes, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwright.data.asked.tree import Tree
from labelwright.statistics.hierarchical import paths_of, top_down, tree_metrics

NAMES = ["a > x > 1", "a > x > 2", "a > y", "b > z", "c"]
TREE = Tree.of(NAMES, " > ")


def nodes(label: int) -> set[tuple[str, ...]]:
    path = TREE.paths[label]
    return {path[: depth + 1] for depth in range(len(path))}


@given(seed=st.integers(0, 10_000))
def test_sets_of_nodes(seed: int) -> None:
    chance = np.random.default_rng(seed)
    probs, gold = chance.dirichlet(np.ones(5), 20), chance.integers(5, size=20)
    probs[0] = 0
    weights = chance.integers(1, 4, size=20).astype(float)
    paths, metrics = paths_of(probs, gold, TREE.at, TREE.lengths), tree_metrics(TREE.depth)
    for prefix, said in (("right_at_", probs.argmax(axis=1)), ("level_by_level_at_", top_down(probs, TREE.at))):
        own = [set() if i == 0 else nodes(label) for i, label in enumerate(said.tolist())]
        right = [nodes(label) for label in gold.tolist()]
        both = weights @ [len(a & b) for a, b in zip(own, right, strict=True)]
        f1 = 2 * both / (weights @ list(map(len, own)) + weights @ list(map(len, right)))
        found = "hierarchical_f1" if prefix == "right_at_" else "level_by_level_f1"
        assert float(metrics[found](paths, gold, weights)) == pytest.approx(f1)
        for depth in (1, 2, 3):
            same = [
                i > 0 and TREE.paths[label][:depth] == TREE.paths[gold[i]][:depth]
                for i, label in enumerate(said.tolist())
            ]
            assert float(metrics[f"{prefix}{depth}"](paths, gold, weights)) == pytest.approx(
                weights @ same / weights.sum()
            )
        if prefix == "right_at_":
            precision = both / (weights @ list(map(len, own)))
            recall = both / (weights @ list(map(len, right)))
            assert float(metrics["hierarchical_precision"](paths, gold, weights)) == pytest.approx(precision)
            assert float(metrics["hierarchical_recall"](paths, gold, weights)) == pytest.approx(recall)


def test_level_by_level_is_not_the_likeliest_label() -> None:
    # a: 0.28 + 0.22 + 0.1, of which x has 0.5; the likeliest label is b > z.
    probs = np.array([[0.28, 0.22, 0.1, 0.4, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0]])
    assert top_down(probs, TREE.at).tolist() == [0, -1]
    assert probs[0].argmax() == 3


def test_the_last_depth_is_accuracy() -> None:
    probs, gold = np.eye(5)[[0, 1, 2, 3, 4]], np.array([0, 0, 0, 3, 3])
    found = tree_metrics(3)
    paths = paths_of(probs, gold, TREE.at, TREE.lengths)
    assert [float(found[f"right_at_{depth}"](paths, gold)) for depth in (1, 2, 3)] == pytest.approx([0.8, 0.6, 0.4])
