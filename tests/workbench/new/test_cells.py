"""What cells are like, whatever their columns are called."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from workbench.new.cells import describe, one_hot, same_thing

N = 60


def rows(**columns: Any) -> list[dict[str, Any]]:
    """Rows of columns that are functions of the row's number."""
    return [{name: make(i) for name, make in columns.items()} for i in range(N)]


@pytest.mark.parametrize(
    ("cell", "kind"),
    [
        ("a text", "text"),
        ("12", "number"),
        (3.0, "number"),
        ("0,25", "fraction"),
        (True, "truth"),
        (["a"], "list"),
        (np.array([1]), "list"),
        (b"a", "other"),
    ],
)
def test_kinds_of_cells(cell: Any, kind: str) -> None:
    assert describe([{"c": cell}])["c"].kind == kind


def test_empty_cells_do_not_count() -> None:
    column = describe([{"c": "one two"}, {"c": " "}, {"c": None}, {"c": float("nan")}, {}, {"c": "one two"}])["c"]
    assert (column.n_rows, column.n_filled, column.n_distinct, column.n_words) == (6, 2, 1, 2.0)
    assert describe([{"c": None}])["c"].holds == "nothing"


def test_signs_without_spaces_are_words() -> None:
    assert describe([{"c": "这是一个句子"}])["c"].n_words == 6


def test_a_number_and_its_name_say_the_same() -> None:
    records = rows(label=lambda i: i % 3, label_text=lambda i: "xyz"[i % 3], other=lambda i: i % 2)
    assert same_thing(records, "label", "label_text")
    assert not same_thing(records, "label", "other")


def test_labels_in_a_column_each() -> None:
    each = {name: (lambda i, k=k: int(i % 3 == k)) for k, name in enumerate(["pool", "hvac", "roof"])}
    records = rows(**each)
    assert "labels stand in a column each ('pool', 'hvac' and 'roof')" in one_hot(records, describe(records))
    several = rows(**{**each, "roof": lambda i: i % 2})
    assert "rows have several labels" in one_hot(several, describe(several))
    one = rows(text=lambda i: f"text {i}", label=lambda i: i % 2)
    assert one_hot(one, describe(one)) == ""
