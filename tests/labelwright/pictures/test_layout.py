"""Pieces on a page come out in the order in which a person reads them, none lost."""

from __future__ import annotations

import json
import random
import time

from hypothesis import given
from hypothesis import strategies as st

from labelwright.pictures.layout import GAP, Page, Piece, lines_of, page_text, reading_order


def piece(text: str, left: float, top: float, width: float = 40, height: float = 10) -> Piece:
    return Piece(text, left, top, left + width, top + height)


def words(lines) -> list[list[str]]:
    return [[one.text for one in line] for line in lines]


pieces = st.lists(
    st.builds(
        piece,
        st.text("abc", min_size=1, max_size=3),
        st.integers(0, 300),
        st.integers(0, 300),
        st.integers(1, 120),
        st.integers(1, 40),
    ),
    max_size=25,
)


@given(pieces, st.integers(0, 2**32))
def test_no_piece_is_lost_or_doubled_and_their_order_does_not_matter(found, seed):
    order = reading_order(found)
    assert sorted(map(repr, (one for line in order for one in line))) == sorted(map(repr, found))
    mixed = random.Random(seed).sample(found, len(found))
    assert page_text(mixed) == page_text(found)


@given(pieces)
def test_lines_go_down_and_pieces_to_the_right(found):
    lines = lines_of(found)
    middles = [sum(one.top + one.bottom for one in line) / len(line) for line in lines]
    assert middles == sorted(middles)
    assert all([one.left for one in line] == sorted(one.left for one in line) for line in lines)


@given(pieces, st.integers(0, 500), st.integers(0, 500))
def test_where_a_page_lies_does_not_matter(found, x, y):
    moved = [Piece(one.text, one.left + x, one.top + y, one.right + x, one.bottom + y) for one in found]
    assert page_text(moved) == page_text(found)


def test_pieces_are_on_a_line_though_they_are_of_other_sizes_and_a_little_off():
    assert words(lines_of([piece("12.50", 90, 3, height=8), piece("Total", 0, 0, height=16)])) == [["Total", "12.50"]]
    # Boxes of neighbouring lines touch, as detectors draw them.
    assert words(lines_of([piece("a", 0, 0, height=16), piece("b", 0, 13, height=18)])) == [["a"], ["b"]]


def test_two_lines_beside_a_tall_heading_stay_two():
    tall, upper, lower = piece("NEWS", 0, 0, height=40), piece("up", 60, 2), piece("low", 60, 26)
    assert words(lines_of([tall, upper, lower])) == [["NEWS", "up"], ["low"]]


def test_what_stands_apart_is_parted_and_what_is_indented_is_told():
    page = [piece("Total", 0, 0), piece("sum", 44, 0), piece("12.50", 120, 0), piece("in cash", 32, 20)]
    assert page_text(page) == f"Total sum{GAP}12.50\n    in cash"


def column(prefix: str, left: float, n: int, width: float) -> list[Piece]:
    return [piece(f"{prefix}{i}", left, 20 + 14 * i, width) for i in range(n)]


def test_columns_of_running_text_are_read_one_after_the_other():
    heading, foot = piece("heading", 0, 0, 460), piece("foot", 0, 120, 460)
    page = [heading, *column("l", 0, 6, 210), *column("r", 240, 6, 210), foot]
    expected = [["heading"], *([f"l{i}"] for i in range(6)), *([f"r{i}"] for i in range(6)), ["foot"]]
    assert words(reading_order(page)) == expected


def test_tables_are_read_across():
    """Prices are narrow; a table of three rows is no running text however wide."""
    page = [*column("name", 0, 6, 210), *column("price", 240, 6, 40)]
    assert words(reading_order(page)) == [[f"name{i}", f"price{i}"] for i in range(6)]
    few = [*column("l", 0, 3, 210), *column("r", 240, 3, 210)]
    assert words(reading_order(few)) == [[f"l{i}", f"r{i}"] for i in range(3)]


def test_a_long_table_is_laid_out_in_the_time_of_a_long_page():
    """Its gaps go down the whole page and are never those of running text: each line would look at all below it."""
    page = [piece(f"{row}.{at}", 150 * at, 14 * row, 60) for row in range(500) for at in range(4)]
    begun = time.process_time()
    assert words(reading_order(page)) == [[f"{row}.{at}" for at in range(4)] for row in range(500)]
    assert time.process_time() - begun < 2
    wide = [piece("x", 30 * at, 14 * row, 10) for row in range(60) for at in range(100)]
    begun = time.process_time()
    assert len(reading_order(wide)) == 60
    assert time.process_time() - begun < 6


def test_long_columns_stay_columns():
    page = [*column("l", 0, 300, 210), *column("r", 240, 300, 210)]
    assert words(reading_order(page)) == [[f"{side}{i}"] for side in "lr" for i in range(300)]


def test_white_space_of_a_piece_is_one_space():
    assert page_text([Piece("a\n b\t c", 0, 0, 9, 9)]) == "a b c"
    assert page_text([]) == ""


@given(pieces)
def test_a_page_is_read_back(found):
    page = Page(tuple(found), 640, 480)
    again = Page.from_dict(json.loads(json.dumps(page.to_dict())))
    assert (again, again.text) == (page, page.text)
