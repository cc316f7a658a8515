"""Rows kept apart: whole groups, one row of each, enough of them or none, and no label looked at."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from labelwright.decisions.apart import MOST_APART, keep_apart


@given(st.lists(st.integers(0, 30), min_size=1, max_size=200), st.floats(0, 0.9), st.integers(0, 3), st.integers(0, 9))
def test_groups_are_whole_and_one_row_of_each_counts(groups, share, least, seed):
    names = np.array([f"group {one}" for one in groups])
    fitted, apart = keep_apart(list(names), share, least, seed)
    n_groups = len(set(names))
    assert not set(names[fitted]) & set(names[apart])
    assert len(set(names[apart])) == len(apart)
    assert set(names[fitted]) | set(names[apart]) == set(names)
    assert len(apart) in (0, int(share * n_groups))
    assert not len(apart) or (len(apart) >= least and len(fitted) >= 2)
    assert (keep_apart(list(names), share, least, seed)[1] == apart).all()


def test_every_row_of_a_group_may_be_the_one():
    groups = ["a", "a", "a", "b", "c", "d"]
    seen = {int(row) for seed in range(60) for row in keep_apart(groups, 0.5, 1, seed)[1]}
    assert seen == set(range(6))


def test_no_more_than_tell_something():
    assert len(keep_apart([str(i) for i in range(10_000)], 0.5, 59, 0)[1]) == MOST_APART
