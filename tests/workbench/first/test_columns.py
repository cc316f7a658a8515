"""Which column is what, from cells and names together."""

from __future__ import annotations

from typing import Any

import pytest

from labelwright.errors import DataError
from workbench.first.cells import describe
from workbench.first.columns import Roles, find_roles, header_is_a_row

N = 60


def rows(**columns: Any) -> list[dict[str, Any]]:
    """Rows of columns that are functions of the row's number."""
    return [{name: make(i) for name, make in columns.items()} for i in range(N)]


def prose(i: int) -> str:
    return f"this is the sentence with the number {i} in it"


def roles(records: list[dict[str, Any]], **given: str) -> Roles:
    return find_roles(describe(records), given)


@pytest.mark.parametrize(
    ("records", "text", "label"),
    [
        (rows(a=prose, b=lambda i: "xyz"[i % 3]), "a", "b"),
        (rows(b=lambda i: i % 3, a=prose), "a", "b"),
        (
            rows(ticket_text=prose, lang=lambda i: "en", ticketClass=lambda i: "xyz"[i % 3]),
            "ticket_text",
            "ticketClass",
        ),
        # An id that looks like a text, a name that says label and holds none, probabilities, dates.
        (rows(text=lambda i: f"A-{i}", body=prose, label=lambda i: i % 2), "body", "label"),
        (rows(label=lambda i: f"unique {i}", text=prose, kind=lambda i: "xyz"[i % 3]), "text", "kind"),
        (rows(s=prose, prob=lambda i: i / N, label=lambda i: i % 2), "s", "label"),
        (rows(date=lambda i: f"2025-01-{i % 28 + 1:02}", s=prose, y=lambda i: i % 2 == 0), "s", "y"),
        # One word a row, as where names are classified.
        (rows(name=lambda i: f"word{i}", gender=lambda i: "fm"[i % 2]), "name", "gender"),
        (
            rows(文本=lambda i: f"这是第{i}个句子没有空格", 标签=lambda i: "好坏"[i % 2], 来源=lambda i: "网店"[i % 2]),
            "文本",
            "标签",
        ),
    ],
)
def test_text_and_label(records: list[dict[str, Any]], text: str, label: str) -> None:
    found = roles(records)
    assert (found.text, found.label) == (text, label)


def test_names_in_other_languages_count() -> None:
    found = roles(rows(Kategorie=lambda i: "xyz"[i % 3], Filiale=lambda i: "pq"[i % 2], Nachricht=prose))
    assert (found.text, found.label, found.others) == ("Nachricht", "Kategorie", {})


def test_where_two_fit_both_are_named() -> None:
    found = roles(
        rows(left=lambda i: "xyz"[i % 3], right=lambda i: "pq"[i % 2], notes=prose, body=lambda i: prose(i) * 3)
    )
    assert found.text == "body"
    assert found.others["text"] == ("notes",)
    assert {found.label, *found.others["label"]} == {"left", "right"}
    assert roles(rows(a=prose, b=lambda i: i % 3, c=lambda i: i % 2), label="c").label == "c"


def longer(i: int) -> str:
    return f"{prose(i)} and {prose(i + 1)}"


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        ({"body": longer, "title": prose}, ("title", "body")),
        ({"Ticket Subject": prose, "ticketMessage": longer}, ("Ticket Subject", "ticketMessage")),
        # Short titles, some of them missing, and most of them given again.
        ({"review_title": lambda i: f"Good {i % 20}" if i % 3 else "", "reviewText": longer}, None),
        ({"Betreff": prose, "Nachricht": longer, "id": lambda i: i}, ("Betreff", "Nachricht")),
        ({"hypothesis": prose, "premise": prose}, ("premise", "hypothesis")),
        ({"sentence2": longer, "sentence1": prose}, ("sentence1", "sentence2")),
        ({"text_b": longer, "text_c": prose}, ("text_b", "text_c")),
        ({"part 9": longer, "part 10": prose}, ("part 9", "part 10")),
        # Whoever wrote these may mean one of them, or all.
        ({"title": prose, "body": longer, "description": longer}, "body"),
        ({"title": prose, "subject": prose, "message": longer}, "message"),
        ({"question": prose, "answer_given": longer}, "question"),
        ({"title": longer, "text": prose}, "title"),
        # Not texts.
        ({"title": lambda i: "Mr" if i % 2 else "Mrs", "message": longer}, "message"),
        ({"subject": lambda i: i, "message": longer}, "message"),
        ({"title": lambda i: prose(i) if i == 3 else "", "text": longer}, "text"),
    ],
)
def test_two_columns_that_are_clearly_one_text(columns: dict[str, Any], text: Any) -> None:
    found = roles(rows(**columns, label=lambda i: "xyz"[i % 3]))
    assert found.text == (text or ("review_title", "reviewText"))
    assert not set(found.others.get("text", ())) & {*(found.text if isinstance(found.text, tuple) else [])}


@pytest.mark.parametrize("names", [("text_1", "text_2", "text_3"), ("text_a", "text_b", "text_c"), ("q1", "q2", "q4")])
def test_of_more_than_two_that_are_numbered_none_is_taken_for_half_a_text(names: tuple[str, ...]) -> None:
    found = roles(rows(**dict.fromkeys(names, prose), label=lambda i: "xyz"[i % 3]))
    assert {found.text, *found.others["text"]} == set(names)


def test_numbers_that_do_not_follow_each_other_are_no_pair() -> None:
    assert roles(rows(text_1=prose, text_4=prose, label=lambda i: "xyz"[i % 3])).text == "text_1"


def test_several_columns_may_be_named() -> None:
    records = rows(a=prose, b=longer, n=lambda i: i, y=lambda i: i % 2, z=lambda i: ["x"])
    assert roles(records, text="b, a", label="y").text == ("b", "a")
    assert roles(records, text="a,n", label="y").text == ("a", "n")
    with pytest.raises(DataError, match="no column 'c' and 'd' for text; the columns are"):
        roles(records, text="a,c,d")
    with pytest.raises(DataError, match="column 'z' cannot be the text: it holds lists"):
        roles(records, text="a,z", label="y")


def test_groups_ids_and_splits() -> None:
    found = roles(
        rows(
            id=lambda i: i,
            text=prose,
            label=lambda i: i % 3,
            author=lambda i: f"a{i % 30}",
            region=lambda i: i % 4,
            set=lambda i: ("train", "dev", "test")[i % 3],
        )
    )
    assert (found.id, found.group, found.split) == ("id", "author", "set")
    # Too few to be dealt, and every row its own.
    assert roles(rows(text=prose, label=lambda i: i % 3, author=lambda i: i % 5)).group == ""
    assert roles(rows(text=prose, label=lambda i: i % 3, author=lambda i: i)).group == ""
    assert roles(rows(text=prose, label=lambda i: i % 3, id=lambda i: i % 5)).id == ""


@pytest.mark.parametrize(
    ("records", "given", "said"),
    [
        (rows(a=prose), {}, "no column holds labels"),
        (rows(a=prose, b=lambda i: ["x", "y"]), {"label": "b"}, "it holds lists or tables; a row has one label"),
        (rows(a=prose, b=lambda i: f"this sentence comes twice {i // 2}"), {}, "no column holds labels"),
        (rows(a=prose, b=lambda i: "x"), {"label": "b"}, "all its 60 cells hold 'x'"),
        (rows(a=prose, b=lambda i: i / N), {"label": "b"}, "it has 60 different values in 60 rows"),
        (rows(a=prose, b=lambda i: i // 2 / 7), {"label": "b"}, "measurements"),
        (rows(a=lambda i: i, b=lambda i: "xy"[i % 2]), {}, "no column holds texts"),
        (rows(a=prose, b=lambda i: i % 2), {"label": "c"}, "no column 'c' for label; the columns are 'a' and 'b'"),
    ],
)
def test_columns_that_cannot_be(records: list[dict[str, Any]], given: dict[str, str], said: str) -> None:
    with pytest.raises(DataError) as caught:
        roles(records, **given)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("header", "is_row"),
    [
        (["spam", "win a prize, call now and do not wait"], True),
        (["something without a known name", "1"], True),
        (["Teksti", "Luokka"], False),
        (["text", "1"], False),
        (["1", "2"], True),
    ],
)
def test_a_header_that_is_a_row(header: list[str], is_row: bool) -> None:
    values = {header[0]: ["spam", "ham"] * 5, header[1]: ["0", "1"] * 5}
    records = [dict(zip(header, row, strict=True)) for row in zip(*values.values(), strict=True)]
    assert header_is_a_row(describe(records)) == is_row
