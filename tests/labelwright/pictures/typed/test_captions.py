"""A caption is found as it is written, or nearly so; its value is beside it, and never another field's."""

from __future__ import annotations

import pytest

from labelwright.pictures.layout import Piece
from labelwright.pictures.typed.captions import Captions

KNOWN = ("Full name", "Date", "Date of birth", "Total", "City", "points", "Address 1", "Address 2")


def piece(text: str, left: float, top: float) -> Piece:
    return Piece(text, left, top, left + 6.0 * len(text), top + 10)


def places(pieces, caption, counted=False) -> list[tuple[str, str]]:
    return [(one.where, one.text) for one in Captions(pieces, KNOWN).places([caption], counted)]


@pytest.mark.parametrize("written", ["Full name", "Full name:", "FULL NAME *", "Fullname", "Ful1 name", "Full namee"])
def test_captions_are_found_as_ocr_spells_them(written):
    page = [piece(written, 0, 0), piece("Ada Brown", 120, 0)]
    assert places(page, "Full name") == [("right", "Ada Brown")]


@pytest.mark.parametrize(
    "written", ["Full names of all guests", "Totals", "Full", "Date of birth", "Subtotal", "my Total", "Total price"]
)
def test_longer_phrases_and_parts_are_no_captions(written):
    page = [piece(written, 0, 0), piece("Ada Brown", 220, 0)]
    for caption in ("Full name", "Total", "Date"):
        assert places(page, caption) == []


def test_what_is_nearly_another_field_is_not_taken_for_it():
    page = [piece("Address 2", 0, 0), piece("Main Street", 120, 0)]
    assert places(page, "Address 1") == []
    assert places(page, "Address 2") == [("right", "Main Street")]
    assert places([piece("Address 2: Main Street", 0, 0)], "Address") == []


@pytest.mark.parametrize(
    ("written", "value"),
    [("Total: 12.50", "12.50"), ("Total 12.50", "12.50"), ("Total $12", "$12"), ("Total12.50", "12.50")],
)
def test_values_behind_their_caption(written, value):
    assert places([piece(written, 0, 0)], "Total") == [("behind", value)]


def test_values_below_stand_at_the_same_edge_and_near():
    assert places([piece("City", 0, 0), piece("Oslo", 4, 16)], "City") == [("below", "Oslo")]
    assert places([piece("City", 0, 0), piece("Oslo", 90, 16)], "City") == []
    assert places([piece("City", 0, 0), piece("Oslo", 4, 90)], "City") == []


def test_another_fields_caption_is_no_value():
    page = [piece("Full name", 0, 0), piece("City", 160, 0), piece("Ada", 0, 16), piece("Oslo", 160, 16)]
    assert places(page, "Full name") == [("below", "Ada")]
    assert places(page, "City") == [("below", "Oslo")]
    assert places([piece("City", 0, 0), piece("Total: 3", 0, 16)], "City") == []


def test_values_go_on_in_the_lines_below_them_and_end_at_the_next_field():
    page = [
        piece("City", 0, 0), piece("San", 90, 0), piece("Juan,", 112, 0), piece("Puerto Rico", 90, 13),
        piece("Total", 0, 26), piece("7", 90, 26),
    ]  # fmt: skip
    assert places(page, "City") == [("right", "San Juan, Puerto Rico")]
    far = [piece("City", 0, 0), piece("Oslo", 90, 0), piece("other", 90, 30)]
    assert places(far, "City") == [("right", "Oslo")]


def test_what_is_counted_stands_before_and_nothing_behind_is_taken():
    page = [piece("7 points by ada 1 hour ago", 0, 0), piece("45", 300, 0)]
    assert places(page, "points", counted=True) == [("before", "7")]
    assert places(page, "points") == []


def test_the_caption_alone_comes_before_one_that_goes_on():
    page = [piece("Total 3 of 5", 0, 0), piece("Total", 0, 20), piece("12.50", 90, 20)]
    assert places(page, "Total")[0] == ("right", "12.50")
