from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.tracking.succession import _amounts, _right, amounts, bits, stands

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


# --- with prices ---


def priced(costs: list[float], right: list[bool] | None = None, prices: str = "a digest") -> dict[str, str]:
    return version(right or [one == 0 for one in costs]) | {"prices": prices, "span": "20.0", "costs": amounts(costs)}


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=100))
def test_what_rows_cost_is_read_back(costs: list[float]) -> None:
    assert _amounts(amounts(costs)).tolist() == costs


def test_what_rows_cost_is_left_out_where_the_registry_would_not_take_it() -> None:
    assert amounts([1.0] * 60_000) == ""
    long = {"test_rows": "these rows", "right": "", "prices": "a digest", "span": "20.0", "costs": ""}
    assert stands(long, long, None) == "not told apart"


def test_with_prices_who_costs_less_is_better_though_less_often_right() -> None:
    careful = priced([0.0] * 300 + [1.0] * 100)
    often = priced([20.0] * 60 + [0.0] * 340)
    assert stands(careful, often, None) == "better"
    assert stands(often, careful, None) == "worse"
    # In one group the sixty dear rows are one.
    groups = ["dear"] * 60 + [str(n) for n in range(340)]
    assert stands(careful, often, groups) == "not told apart"


def test_at_other_prices_or_unknown_ones_nobody_is_better() -> None:
    new, old = priced([0.0] * 200), priced([20.0] * 200)
    assert stands(new, old, None) == "better"
    before = {key: value for key, value in old.items() if key in ("test_rows", "right")}
    for other in (priced([20.0] * 200, prices="another"), before, {**old, "costs": ""}):
        assert stands(new, other, None) == stands(other, new, None) == "not told apart"
