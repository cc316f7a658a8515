"""Numbers of how different rows are, against rows counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from workbench.synthetic.diversity import measure, side_by_side


def test_by_hand():
    rows = [["the pool is green", "The pool is GREEN!", "no heat"]]
    found = measure(rows, np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 2.0]]), 0.5)
    # 10 words, 6 of them different; 7 pairs of words, 4 of them different; of 3 pairs of rows 2 at a right angle.
    assert found == pytest.approx(
        {"distinct_1": 0.6, "distinct_2": 4 / 7, "spread": 2 / 3, "copies": 1 / 3, "words": 10 / 3}
    )


def test_as_many_rows_of_each_label_are_held_against_each_other():
    written = {"a": ["one two"] * 5, "b": ["three"], "c": ["four"]}
    real = {"a": ["five six"] * 2, "b": ["seven"] * 9}
    sizes = []

    def vectors(texts):
        sizes.append(len(texts))
        return np.ones((len(texts), 2))

    mine, theirs = side_by_side(written, real, vectors, 0.5, 0)
    assert sizes == [6]  # two and one of each side
    assert (mine["distinct_1"], theirs["distinct_1"]) == (0.6, 0.6)
    assert side_by_side(written, {"z": ["x"]}, vectors, 0.5, 0) == ({}, {})
