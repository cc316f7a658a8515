"""A query chooses or is measured, and so does its whole group."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwright.errors import DataError
from workbench.retrieval.corpus.read import Query
from workbench.retrieval.corpus.sides import SHARE_CHOOSING, sides_of


def query(number: int, group: str | None = None, text: str = "") -> Query:
    return Query(f"q{number}", text or f"text {number}", 0, {0: 1}, group)


@given(st.lists(st.integers(0, 9), min_size=3, max_size=60), st.integers(0, 5))
def test_no_group_is_on_both_sides_and_no_query_is_lost(groups, seed):
    queries = [query(number, str(group)) for number, group in enumerate(groups)]
    if len(set(groups)) < 3:
        with pytest.raises(DataError, match="three at least"):
            sides_of(queries, seed)
        return
    sides = sides_of(queries, seed)
    assert sorted([*sides.choosing, *sides.measured]) == list(range(len(queries)))
    assert not {groups[i] for i in sides.choosing} & {groups[i] for i in sides.measured}
    assert sides.choosing
    assert sides.n_groups >= 2
    assert len(sides.groups) == len(sides.measured)


def test_about_the_wanted_share_chooses_and_another_seed_deals_otherwise():
    queries = [query(number) for number in range(200)]
    first, second = sides_of(queries, 0), sides_of(queries, 1)
    assert len(first.choosing) == round(SHARE_CHOOSING * 200)
    assert first.choosing != second.choosing
    assert first == sides_of(queries, 0)


def test_queries_that_say_nearly_the_same_are_one_group():
    queries = [query(1, text="No heat!"), query(2, text="no heat"), query(3), query(4)]
    sides = sides_of(queries, 0)
    assert (0 in sides.measured) == (1 in sides.measured)
