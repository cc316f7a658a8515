"""Few rows are drawn, their families kept out of what is measured; and who is right is read from what is kept."""

from __future__ import annotations

from fakes import toy_examples

from bench.comparisons.compared import deal
from labelwright.data.task import by_label, group_keys


def test_a_row_a_family_is_drawn_and_no_family_is_on_both_sides():
    rows = toy_examples()
    drawn, held = deal(rows, 3, 0)
    assert {name: len(same) for name, same in by_label(drawn).items()} == dict.fromkeys(by_label(rows), 3)
    assert len(set(group_keys(drawn))) == len(drawn)
    assert not set(group_keys(drawn)) & set(group_keys(held))
    taken = set(group_keys(drawn))
    assert len(held) == sum(key not in taken for key in group_keys(rows))
    assert deal(rows, 3, 0) == (drawn, held)
    assert deal(rows, 3, 1) != (drawn, held)
