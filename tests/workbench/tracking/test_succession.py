from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.tracking.succession import _right, bits, stands

rights = st.lists(st.booleans(), min_size=1, max_size=200)


def version(right: list[bool], rows: str = "these rows") -> dict[str, str]:
    return {"test_rows": rows, "right": bits(right)}


@given(rights)
def test_what_a_version_was_right_on_is_read_back(right: list[bool]) -> None:
    assert _right(bits(right)).tolist() == [int(one) for one in right]


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=200))
def test_exchanged_the_two_stand_the_other_way_round(pairs: list[tuple[bool, bool]]) -> None:
    first, second = ([pair[place] for pair in pairs] for place in (0, 1))
    turned = {"better": "worse", "worse": "better", "not told apart": "not told apart"}
    assert stands(version(first), version(second), None) == turned[stands(version(second), version(first), None)]


def test_some_rows_of_chance_do_not_make_a_champion() -> None:
    old, new = [True] * 80 + [False] * 20, [True] * 82 + [False] * 18
    assert stands(version(new), version(old), None) == "not told apart"
    assert stands(version([True] * 100), version(old), None) == "better"


def test_rows_of_one_group_count_as_few() -> None:
    old, new = [True] * 20 + [False] * 20, [True] * 40
    assert stands(version(new), version(old), None) == "better"
    assert stands(version(new), version(old), ["a"] * 20 + ["b"] * 20) == "not told apart"


@pytest.mark.parametrize("other", [{}, {"test_rows": "", "right": ""}, version([False] * 40, "other rows")])
def test_what_was_measured_on_other_rows_cannot_be_told_apart(other: dict[str, str]) -> None:
    assert stands(version([True] * 40), other, None) == "not told apart"
    assert stands(other, version([True] * 40), None) == "not told apart"
