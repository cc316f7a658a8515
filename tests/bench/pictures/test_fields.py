"""What was found against what is there: right, null, wrong; items in order."""

from __future__ import annotations

from bench.pictures.fields import by_field, outcomes

RIGHT = {"total": 3.0, "rows": [{"a": "x", "b": 1}, {"a": "y", "b": None}]}


def test_items_are_compared_in_order_and_by_field() -> None:
    found = {"total": None, "rows": [{"a": "X", "b": 1}, {"a": "z", "b": 2}]}
    assert list(outcomes(found, RIGHT)) == [
        ("total", "null"), ("rows.a", "right"), ("rows.b", "right"), ("rows.a", "wrong"), ("rows.b", "wrong"),
    ]  # fmt: skip


def test_items_too_few_are_null_and_too_many_wrong() -> None:
    assert [outcome for _, outcome in outcomes({"total": 3.0, "rows": None}, RIGHT)] == [
        "right", "null", "null", "null", "right",
    ]  # fmt: skip
    more = {"total": 3.0, "rows": [*RIGHT["rows"], {"a": "w", "b": 1}]}
    assert [name for name, outcome in outcomes(more, RIGHT) if outcome == "wrong"] == ["rows.a", "rows.b"]


def test_counts_are_by_page() -> None:
    counts = by_field([(RIGHT, RIGHT), ({"total": 4.0, "rows": RIGHT["rows"]}, RIGHT)])
    assert (counts["total"].outcomes, counts["rows.a"].pages) == (["right", "wrong"], ["0", "0", "1", "1"])
    assert (counts["rows.b"].n("right"), counts["total"].n("wrong")) == (4, 1)
