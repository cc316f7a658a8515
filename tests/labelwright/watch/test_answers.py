"""The text of an answered row: all of it, under the names that ``predict`` keeps it by, or none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from fakes import FakeEngine, toy_bundle, toy_task

from labelwright.data.columns import TextColumns
from labelwright.data.records import Row
from labelwright.errors import DataError
from labelwright.labelling import label_rows
from labelwright.watch.answers import Columns, read_answers

LABELS = frozenset(toy_task().names)


def texts(rows: list[dict[str, Any]], *names: str) -> list[str | None]:
    columns = Columns(TextColumns(names, or_whole=True))
    return [one.text for one in read_answers((Row(n, row) for n, row in enumerate(rows, 1)), "out", columns, LABELS)]


@pytest.mark.parametrize("names", [("title", "body"), ("error", "label"), ("title", "text"), ("abstained", "text")])
def test_what_predict_wrote_is_watched_with_the_texts_that_it_read(names: tuple[str, str]) -> None:
    bundle = replace(toy_bundle(), task=replace(toy_task(), text_columns=names))
    first, second = names
    # The last one lacks a column, so it has no answer.
    given = [{first: "green", second: "water"}, {"text": "green\nwater"}, {first: 3.0, second: None}, {first: "part"}]
    answers = list(label_rows([Row(n, row) for n, row in enumerate(given, 1)], bundle, FakeEngine()))
    assert texts(answers, *names) == ["green\nwater", "green\nwater", "3", None]


def test_a_part_of_a_text_is_refused_with_all_that_the_row_lacks() -> None:
    rows = [{"body": "a", "label": "pool"}, {"label": "pool"}, {"body": "b", "label": "pool"}]
    with pytest.raises(DataError, match=r"out, rows 1 and 3: no column 'title' for text, .*--text-column"):
        texts(rows, "title", "body")
    assert texts(rows[1:2], "title", "body") == [None]


def test_where_an_answer_is_called_as_a_text_the_answer_is_not_read_as_one() -> None:
    assert texts([{"label": "pool", "error": "no model", "input_error": "the text"}], "error") == ["the text"]
    assert texts([{"label": "pool", "error": "no model"}], "error") == [None]


def test_a_right_label_or_a_time_beside_a_whole_text_makes_it_no_part() -> None:
    """In a bundle one of whose columns is called text, where any other column may be a misnamed part."""
    added = {"label": "pool", "gold": "fence", "input_label": "hvac", "time": "2026-01-01"}
    assert texts([{"text": "the whole", **added}], "title", "text") == ["the whole"]
    # A column of the text with such a name is the text's all the same.
    assert texts([{"time": "noon", "text": "b", "label": "pool"}], "time", "text") == ["noon\nb"]
    with pytest.raises(DataError, match="no column 'time' for text"):
        texts([{"text": "b", "gold": "pool", "note": "x", "label": "pool"}], "time", "text")
