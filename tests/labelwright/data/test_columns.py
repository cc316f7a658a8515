"""Several columns as one text: the form, what a row lacks, and a text that is whole already."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwright.data.columns import TextColumns, named_columns
from labelwright.data.formats.arrow_rows import Unusable
from labelwright.data.task import read_examples
from labelwright.errors import DataError

BOTH = TextColumns.of(["title", "body"])
OF_BUNDLE = TextColumns(("title", "body"), or_whole=True)
CELLS = st.one_of(st.none(), st.integers(), st.text("ab \n'", max_size=6))


@given(CELLS, CELLS)
def test_a_text_is_stable_and_says_nothing_of_columns(title: object, body: object) -> None:
    read = BOTH.read({"body": body, "title": title, "label": "x"})
    assert read == BOTH.read({"title": title, "body": body})
    # Whole already, in whichever column, it is the same text.
    for whole in ({"text": read}, {"title": read, "body": ""}, {"title": None, "body": read}):
        assert OF_BUNDLE.read(whole) == read
    assert BOTH.is_empty_in({"title": title, "body": body}) == (not read)
    assert OF_BUNDLE.seen({"title": title, "body": body}) == (read or None)


def test_all_that_a_row_lacks_is_said_in_one_line() -> None:
    with pytest.raises(DataError) as caught:
        TextColumns.of(["title", "body", "more"]).read({"title": "a", "label": "x"})
    assert str(caught.value).startswith(
        "no columns 'body' and 'more' for text, which is made of 'title', 'body' and 'more'; the row has "
        "['label', 'title']: name the right columns"
    )
    with pytest.raises(DataError, match=r"column 'title': the text is a list.*; column 'body': the text is a dict"):
        BOTH.read({"title": ["a"], "body": {}})
    with pytest.raises(DataError, match="the text is empty"):
        BOTH.need({"title": " ", "body": None})


def test_a_file_is_read_with_all_its_faults_at_once(tmp_path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("title,body,label\nPump,It leaks,a\n,only a body,b\n ,,a\nonly a title,,b\n,,b\n")
    with pytest.raises(DataError, match=r"rows\.csv, rows 3 and 5: the text is empty"):
        read_examples(path, text=["title", "body"])
    path.write_text("title,body,label\nPump,It leaks,a\n,only a body,b\nonly a title,,b\n")
    texts = [row.text for row in read_examples(path, text=["title", "body"])]
    assert texts == ["Pump\nIt leaks", "only a body", "only a title"]
    with pytest.raises(DataError, match="no column 'subject' for text, which is made of 'subject' and 'body'"):
        read_examples(path, text=["subject", "body"])


def test_a_whole_text_is_taken_only_where_no_column_is_there() -> None:
    assert OF_BUNDLE.of_row({"text": "a"}) == ("text",)
    assert OF_BUNDLE.missing_in({"text": "a", "title": "b"}) == ["body"]
    assert BOTH.missing_in({"text": "a"}) == ["title", "body"]
    assert OF_BUNDLE.of_table(["whatever"]).names == ("whatever",)
    assert OF_BUNDLE.of_table(["title"]) is OF_BUNDLE


def test_a_whole_text_may_be_called_as_one_of_the_columns_where_it_is_all_that_there_is() -> None:
    columns = TextColumns(("title", "text"), or_whole=True)
    assert columns.need({"text": "a\nb"}) == columns.need({"title": "a", "text": "b"}) == "a\nb"
    assert columns.of_table(["text"]).need({"text": "a"}) == "a"
    for beside in ({"titel": "a"}, {"n": 1}):
        with pytest.raises(DataError, match="no column 'title' for text, which is made of 'title' and 'text'"):
            columns.need({**beside, "text": "b"})
    with pytest.raises(DataError, match="no column 'title'"):
        TextColumns(("title", "text")).need({"text": "b"})


@given(st.integers(-(2**53) + 1, 2**53 - 1))
def test_a_number_is_the_text_that_a_file_had(number: int) -> None:
    """A data frame makes floats of a column of whole numbers with gaps."""
    row = {"title": "a", "body": str(number)}
    for cell in (number, float(number)):
        assert BOTH.read({**row, "body": cell}) == BOTH.seen({**row, "body": cell}) == BOTH.read(row)
    assert BOTH.read({"title": 0.5, "body": float("nan")}) == "0.5"
    assert BOTH.read({"title": "1.0", "body": 1e300}) == "1.0\n1e+300"


def test_a_column_is_named_once() -> None:
    for names in (["a", "a"], ["a", "b", "a"], []):
        with pytest.raises(DataError, match=r"the text columns are .*: name one or more, each once"):
            TextColumns.of(names)


def test_answers_keep_columns_that_are_called_as_theirs_under_other_names() -> None:
    kept = TextColumns(("error", "body"), or_whole=True).in_answers()
    assert kept == kept.in_answers() == TextColumns(("input_error", "body"), or_whole=True)


def test_what_is_looked_at_is_never_refused() -> None:
    assert BOTH.seen({"title": ["a"], "body": 2.0, "other": 1}) == "['a']\n2"
    assert BOTH.seen({"title": ["a"], "other": 1}) is None, "a part of a text was taken for the whole"
    assert BOTH.seen({}) is None
    assert BOTH.is_empty_in({"title": "", "body": Unusable("-1", "is no class", missing=True)})
    assert not BOTH.is_empty_in({"title": ""})


def test_names_are_parted_at_commas_where_no_column_is_called_so() -> None:
    assert named_columns("a,b", {"a,b": 1}) == ("a,b",)
    assert named_columns(" a , b,", ["a"]) == ("a", "b")
    assert named_columns(["a,b", "c"], []) == ("a,b", "c")
    assert named_columns("", []) == ()


def test_lists_of_one_cell_are_the_cell() -> None:
    assert TextColumns.unwrapped({"a": ["x"], "b": ["x", "y"], "c": 3}) == {"a": "x", "b": ["x", "y"], "c": 3}
