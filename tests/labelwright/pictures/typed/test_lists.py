"""Items of a list: rows below a header, numbered entries, or what stands above a count."""

from __future__ import annotations

from labelwright.pictures.layout import Piece, lines_of
from labelwright.pictures.typed.captions import Captions
from labelwright.pictures.typed.lists import entries, table_rows, title_of
from labelwright.pictures.typed.schema import fields_of

GOODS = fields_of({"type": "object", "properties": {"item": {"type": "string"}, "price": {"type": "number"}}})
NEWS = fields_of({"type": "object", "properties": {"title": {"type": "string"}, "points": {"type": "integer"}}})


def piece(text: str, left: float, top: float) -> Piece:
    return Piece(text, left, top, left + 6.0 * len(text), top + 10)


def rows(*pieces):
    return table_rows(lines_of(pieces), GOODS, Captions(pieces, ["Total"]))


def test_rows_are_below_their_header_to_the_first_line_that_is_none():
    header = (piece("Item", 0, 0), piece("Price", 170, 0))
    rye = (piece("Rye", 0, 20), piece("bread", 22, 20), piece("2.50", 176, 20))
    goods = (*rye, piece("Milk", 0, 40), piece("1", 194, 40))
    found = [{"item": "Rye bread", "price": "2.50"}, {"item": "Milk", "price": "1"}]
    assert rows(*header, *goods) == found
    assert rows(*header, *goods, piece("Total", 0, 60), piece("3.50", 176, 60)) == found
    assert rows(*header, *goods, piece("Thank you!", 0, 100)) == found
    assert rows(*goods) is None
    assert rows(*header) == []


def test_a_blank_or_wrapped_cell_costs_no_row_behind_it():
    header = (piece("Item", 0, 0), piece("Price", 170, 0))
    table = (piece("Rye bread", 0, 20), piece("2.50", 176, 20), piece("sliced", 0, 34), piece("Milk", 0, 54))
    assert rows(*header, *table, piece("Eggs", 0, 74), piece("1", 194, 74)) == [
        {"item": "Rye bread sliced", "price": "2.50"},
        {"item": "Milk"},
        {"item": "Eggs", "price": "1"},
    ]


def lines(*texts):
    return lines_of([piece(text, 0, 14.0 * n) for n, text in enumerate(texts)])


def titles(*texts) -> list[str]:
    return [title_of(entry) for entry in entries(lines(*texts), NEWS)]


def test_entries_that_are_numbered_need_no_count():
    assert titles("News", "1. One (2024)", "7 points", "2. Two", "discuss", "3. 1.5 million") == [
        "One (2024)",
        "Two",
        "1.5 million",
    ]


def test_a_misread_number_costs_no_entry():
    assert titles("1. One", "2. Two", "8. Three", "4. Four", "7. Five") == ["One", "Two", "Three", "Four", "Five"]


def test_entries_without_numbers_end_with_what_they_count():
    found = titles("News", "3D printing (2024)", "7 points by ada", "Two", "1 points", "foot")
    assert found == ["3D printing (2024)", "Two"]
    assert titles("News", "One", "Two") == []
