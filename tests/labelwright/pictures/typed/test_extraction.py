"""A field's value is what stands beside its caption and satisfies the schema, else null with a reason."""

from __future__ import annotations

import pytest

from labelwright.pictures.layout import Page, Piece
from labelwright.pictures.typed.extraction import extract
from labelwright.pictures.typed.schema import Field, fields_of


def page(*lines: tuple[str, ...]) -> Page:
    """Lines of texts that stand 150 pixels apart."""
    pieces = [
        Piece(text, 150.0 * at, 20.0 * number, 150.0 * at + 6.0 * len(text), 20.0 * number + 10)
        for number, line in enumerate(lines)
        for at, text in enumerate(line)
    ]
    return Page(tuple(pieces), 800, 600)


def found(shown: Page, classifiers=None, **properties):
    return extract(shown, fields_of({"type": "object", "properties": properties}), classifiers)


NUMBER, TEXT = {"type": "number"}, {"type": "string"}


def test_each_kind_is_read_as_its_type():
    shown = page(
        ("Name", "Ada Brown"), ("Born", "12 March 1984"), ("Guests", "3"), ("Budget", "1.234,50 €"), ("Member", "Yes")
    )
    result = found(
        shown,
        name=TEXT,
        born={"type": "string", "format": "date"},
        guests={"type": "integer"},
        budget=NUMBER,
        member={"type": "boolean"},
    )
    assert result.values == {
        "name": "Ada Brown", "born": "1984-03-12", "guests": 3, "budget": 1234.5, "member": True,
    }  # fmt: skip
    assert result.reasons == {}


@pytest.mark.parametrize(
    ("line", "schema", "reason"),
    [
        (("Other", "3"), NUMBER, "no caption 'total' on the page"),
        (("Total",), NUMBER, "nothing stands beside the caption 'total'"),
        (("Total", "2 of 3"), NUMBER, "expected one number, found 2"),
        (("Total", "2.5"), {"type": "integer"}, "no whole number"),
        (("Total", "300"), {"type": "integer", "maximum": 120}, "refused by the schema: 300 is greater"),
        (("Total", "abc"), {"type": "string", "pattern": "^[0-9]+$"}, "refused by the schema"),
        (("Total", "soon"), {"type": "string", "format": "date"}, "no date in 'soon'"),
        (("12 345 total",), NUMBER, "could be several in '12 345'"),
        (("ada – 128 total",), NUMBER, "could be several in 'ada – 128'"),
        (("Total: 12.50-",), NUMBER, "could be several in '12.50-'"),
        (("Total", "3 million"), NUMBER, "could be several"),
        (("Total", "perhaps"), {"type": "boolean"}, "neither yes nor no"),
        (("Total", "blue"), {"enum": ["red", "green"]}, "'blue' is none of red and green, and no bundle"),
    ],
)
def test_what_is_not_found_is_null_with_the_reason(line, schema, reason):
    result = found(page(line), total=schema)
    assert result.values == {"total": None}
    assert reason in result.reasons["total"]


def test_an_enumeration_as_it_is_written_needs_no_classifier():
    asked = []
    result = found(page(("Colour", "RED ")), {"colour": asked.append}, colour={"enum": ["red", "green"]})
    assert (result.values, asked) == ({"colour": "red"}, [])


def test_a_classifier_answers_what_is_written_otherwise():
    def classify(text):
        return {"my pool is green": "pool"}.get(text)

    schema = {"enum": ["pool", "fence"]}
    assert found(page(("Topic", "my pool is green")), {"topic": classify}, topic=schema).values == {"topic": "pool"}
    silent = found(page(("Topic", "hello")), {"topic": classify}, topic=schema)
    assert silent.reasons == {"topic": "the bundle gives no answer"}
    stray = found(page(("Topic", "x")), {"topic": lambda text: "roof"}, topic=schema)
    assert "refused by the schema" in stray.reasons["topic"]


def test_a_classifier_may_read_the_whole_page():
    whole = page(("a leak",), ("below the sink",))
    result = found(whole, {"topic": lambda text: text}, topic={"enum": ["a leak\nbelow the sink"], "x-reads": "page"})
    assert result.values == {"topic": "a leak\nbelow the sink"}


def test_items_have_reasons_of_their_own():
    items = {"type": "array", "items": {"type": "object", "properties": {"item": TEXT, "price": NUMBER}}}
    shown = page(("Item", "Price"), ("Milk", "1.20"), ("Bread", "two"), ("Total", "3"))
    result = found(shown, goods=items, total=NUMBER)
    assert result.values == {
        "goods": [{"item": "Milk", "price": 1.2}, {"item": "Bread", "price": None}], "total": 3.0,
    }  # fmt: skip
    assert list(result.reasons) == ["goods[1].price"]


def test_headlines_have_counts_where_they_have_some():
    item = {"title": TEXT, "points": {"type": "integer", "x-captions": ["point"]}, "comments": {"type": "integer"}}
    news = {"type": "array", "items": {"type": "object", "properties": item}}
    told = ("News", "One (2024)", "7 points by bo 1 hour ago | 45 comments", "Two", "1 point | discuss")
    result = found(page(*((one,) for one in told)), news=news)
    assert result.values["news"] == [
        {"title": "One (2024)", "points": 7, "comments": 45},
        {"title": "Two", "points": 1, "comments": None},
    ]
    assert result.reasons == {"news[1].comments": "no caption 'comments' on the page"}


def test_a_list_that_is_not_there_is_null():
    news = {"type": "array", "items": {"type": "object", "properties": {"title": TEXT}}}
    result = found(page(("nothing", "here")), news=news)
    assert result.values == {"news": None}
    assert "no numbered entries" in result.reasons["news"]


@pytest.mark.parametrize("keyword", ["$ref", "$dynamicRef"])
def test_no_schema_makes_the_validator_open_a_file(tmp_path, keyword):
    """``fields_of`` refuses them; were one overlooked, it would be opened by nobody."""
    place = tmp_path / "s.json"
    place.write_text('{"type": "string"}')
    own = Field("total", "string", ("total",), {"type": "string", keyword: place.as_uri()})
    result = extract(page(("Total", "3")), [own])
    assert result.values == {"total": None}
    assert "the schema leads elsewhere" in result.reasons["total"]


def test_a_minus_behind_a_caption_is_the_number_s():
    assert found(page(("Total: -12.50",)), total=NUMBER).values == {"total": -12.5}
    counted = found(page(("1.2k points",)), points=NUMBER)
    assert counted.values == {"points": None}
