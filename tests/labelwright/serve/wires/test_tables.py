"""The four JSON forms and CSV of MLflow's protocol, read without mlflow or pandas."""

from __future__ import annotations

import json
from dataclasses import replace

import pandas as pd
import pytest
from fakes import toy_task
from hypothesis import given
from hypothesis import strategies as st

from labelwright.data.task import Task
from labelwright.errors import DataError
from labelwright.serve.wires.tables import columns_to_read, csv_records, json_records, read_rows

TEXTS = ['the pool, "green"', "a fence\npost"]
QUIZ = Task("quiz", "Which?", (), max_choices=3)
FRAME = pd.DataFrame({"text": TEXTS, "other": [1.5, None]})


def read(body, task=None):
    """Of each row its text, and what may be answered."""
    task = task or toy_task()
    return pairs(read_rows(json_records(body), task), task)


def pairs(rows, task):
    return [(row.texts[0], row.choices or task.names) for row in rows]


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_split": json.loads(FRAME.to_json(orient="split"))},
        {"dataframe_split": {"data": [[text] for text in TEXTS]}},
        {"dataframe_split": {"columns": ["message"], "data": [[text] for text in TEXTS]}},
        {"dataframe_records": json.loads(FRAME.to_json(orient="records")), "params": {"x": 1}},
        {"instances": TEXTS},
        {"instances": [[text] for text in TEXTS]},
        {"instances": [{"text": text, "n": 1} for text in TEXTS]},
        {"instances": {"text": TEXTS}},
        {"inputs": TEXTS},
        {"inputs": {"text": TEXTS, "n": [1, 2]}},
        {"inputs": [{"text": text} for text in TEXTS]},
        {"inputs": {"text": [[text] for text in TEXTS]}},
    ],
)
def test_every_form_gives_the_same_rows(body):
    assert read(body) == [(text, ("pool", "fence", "hvac")) for text in TEXTS]


def test_tables_have_the_columns_of_the_bundle_or_whole_texts():
    task = replace(toy_task(), text_columns=("title", "body"))
    for record in (
        {"title": "a", "body": ["b"], "n": 1}, {"text": "a\nb"}, {"text": "a\nb", "n": 1}, {"any": "a\nb"},
    ):  # fmt: skip
        assert [text for text, _ in read({"inputs": [record]}, task)] == ["a\nb"]
    assert [text for text, _ in read({"instances": ["a\nb"]}, task)] == ["a\nb"]
    for record, missing in (({"title": "a"}, "column 'body'"), ({"x": 1, "y": 2}, "columns 'title' and 'body'")):
        with pytest.raises(DataError, match=f"no {missing} among"):
            read({"inputs": [record]}, task)


def test_whole_texts_are_taken_where_a_column_is_called_text_too():
    task = replace(toy_task(), text_columns=("title", "text"))
    for body in ({"instances": ["a\nb"]}, {"inputs": [{"text": "a\nb"}]}, {"inputs": [{"title": "a", "text": "b"}]}):
        assert [text for text, _ in read(body, task)] == ["a\nb"]
    with pytest.raises(DataError, match=r"no column 'title' among \['text', 'titel'\]"):
        read({"inputs": [{"titel": "a", "text": "b"}]}, task)
    # What is left out while a table is read cannot say so.
    assert columns_to_read(task) == ()
    assert columns_to_read(replace(task, text_columns=("title", "body"))) == ("title", "body", "text", "choices")


def test_csv_as_pandas_writes_it_gives_the_same_rows():
    for index in (True, False):
        records = csv_records(FRAME.to_csv(index=index).encode())
        assert [text for text, _ in pairs(read_rows(records, toy_task()), toy_task())] == TEXTS


@pytest.mark.parametrize("form", ["instances", "inputs"])
def test_no_rows_are_no_fault(form):
    """As MLflow's own server has it: a part of a table that happens to be empty is answered emptily."""
    assert read({form: []}) == read({form: {"text": []}}) == []
    assert read({"dataframe_split": {"columns": ["text"], "data": []}}) == []
    assert csv_records(b"text\n") == []


def test_the_only_column_is_that_of_the_table_and_not_of_one_row():
    """A row that lacks its text must not be classified by whatever else it has."""
    assert [text for text, _ in read({"inputs": [{"q": "a"}, {"q": "b"}]})] == ["a", "b"]
    with pytest.raises(DataError, match=r"row 2: no column 'text' among \['note'\]"):
        read({"dataframe_records": [{"text": "a"}, {"note": "call back"}]})


def test_a_csv_cell_is_text_whatever_pandas_would_take_it_for():
    assert [row.texts for row in read_rows(csv_records(b"text\nNA\n007\n"), toy_task())] == [("NA",), ("007",)]


def test_rows_bring_their_choices_in_a_column_or_behind_letters():
    rows = read({"dataframe_records": [{"text": "What floats?", "choices": ["stone", "wood"]}]}, QUIZ)
    assert rows == [("What floats?\nA. stone\nB. wood", ("stone", "wood"))]
    assert read({"inputs": ["What floats?\nA. stone\nB. wood"]}, QUIZ) == [
        ("What floats?\nA. stone\nB. wood", ("A", "B", "C"))
    ]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ([1], "has none of them: expected a JSON object with exactly one of"),
        ({"inputs": TEXTS, "instances": TEXTS}, "has instances, inputs: expected"),
        ({"inputs": {}}, "no rows"),
        ({"dataframe_records": []}, "no rows"),
        ({"dataframe_split": {"columns": ["text", "text"], "data": [["a", "b"]]}}, "the column 'text' twice"),
        ({"inputs": 3}, "expected a list of rows"),
        ({"dataframe_records": {"text": ["a"]}}, "expected a list of rows"),
        ({"dataframe_split": [["a"]]}, "an object with data"),
        ({"dataframe_split": {"data": [["a"]], "more": 1}}, "an object with data"),
        ({"dataframe_split": {"columns": ["a"], "data": [["a"], ["b", "c"]]}}, "one cell a column"),
        ({"inputs": {"text": ["a"], "n": [1, 2]}}, "one cell a row"),
        ({"inputs": ["a", " ", "b", None]}, "rows 2 and 4: the text is empty"),
        ({"inputs": [{"a": 1, "b": 2}]}, r"no column 'text' among \['a', 'b'\]"),
        ({"inputs": [["a", "b"]]}, "the text is a list"),
    ],
)
def test_what_is_no_table_of_texts_is_said_in_one_line(body, said):
    with pytest.raises(DataError, match=said) as caught:
        read(body)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "is empty"),
        (b"text,text\na,b\n", "the column 'text' twice"),
        (b"%b,%b\na,b\n" % (b"c" * 9000, b"c" * 9000), f"the column '{'c' * 80}' twice"),
        (b"\xff", "UTF-8"),
        (b'text\n"a', "no CSV"),
        (b"text\na,b\n", "2 cells"),
    ],
)
def test_what_is_no_csv_is_said_in_one_line(body, said):
    with pytest.raises(DataError, match=said):
        csv_records(body)


values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["text", "data", "columns", "index", "choices"]), inner, max_size=3),
    ),
)


@given(st.sampled_from(["dataframe_split", "dataframe_records", "instances", "inputs"]), values, st.booleans())
def test_any_value_is_read_or_refused(form, value, by_row):
    try:
        rows = read({form: value}, QUIZ if by_row else None)
    except DataError:
        return
    assert rows or form != "dataframe_records"
    assert all(text.strip() == text != "" for text, _ in rows)
