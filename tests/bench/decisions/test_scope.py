"""Scores over made-up vectors: what lies far from all labels is found by nearness, and the table says what it says."""

from __future__ import annotations

import numpy as np

from bench.decisions.scope import aurocs, measured, scores, table

RNG = np.random.default_rng(0)


def unit(middle: int, n: int) -> np.ndarray:
    vectors = 8 * np.eye(6)[middle] + RNG.normal(size=(n, 6))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_every_score_is_high_in_scope():
    taught = np.concatenate([unit(label, 30) for label in range(3)])
    asked = np.concatenate([unit(0, 20), unit(5, 20)])
    found = aurocs(scores(taught, np.repeat([0, 1, 2], 30), asked), np.arange(40) < 20)
    assert len(found) == 7
    assert min(found.values()) > 0.8
    assert found["nearness"] == 1.0


def test_near_rows_are_of_labels_that_were_left_out_and_far_ones_of_other_sets():
    sets = {
        "one": (np.concatenate([unit(label, 40) for label in range(4)]), np.repeat(range(4), 40)),
        "other": (unit(5, 30), np.zeros(30, dtype=np.int64)),
    }
    found = dict(measured("one", sets))
    assert list(found) == ["near", "far"]
    assert found["near"]["nearness"].shape == (3,)
    assert found["far"]["nearness"].min() > 0.99
    lines = table({"one, near": found["near"], "one, far": found["far"]}).splitlines()
    assert lines[0] == "| score | one, near | one, far | mean [95 % interval] |"
    assert len(lines) == 2 + 7
