"""Relevant documents in all the forms that people have them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from labelwright.errors import DataError
from workbench.retrieval.corpus.relevance import grade_of, read_pairs, relevant_cell


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (["a", "b c"], [("a", 1), ("b c", 1)]),
        ([5, 6.0], [("5", 1), ("6", 1)]),
        (np.array([5, 6]), [("5", 1), ("6", 1)]),
        ('["a", "b"]', [("a", 1), ("b", 1)]),
        ({"a": 2, "b": 0, "c": None}, [("a", 2), ("b", 0)]),
        ('{"a": 2}', [("a", 2)]),
        ("a; b c;", [("a", 1), ("b c", 1)]),
        ("a|b", [("a", 1), ("b", 1)]),
        ("a, b", [("a", 1), ("b", 1)]),
        ("a b\nc", [("a", 1), ("b", 1), ("c", 1)]),
        (7.0, [("7", 1)]),
        ("", []),
        (None, []),
        (float("nan"), []),
        ([], []),
    ],
)
def test_a_cell_is_read_in_every_form(cell, expected):
    assert relevant_cell(cell) == expected


@pytest.mark.parametrize("cell", ['["a"', "[" * 99_999, [["a"]], [None], {"a": "much"}, {"a": 1.5}, {"a": True}])
def test_a_cell_that_is_no_list_of_ids_is_refused(cell):
    with pytest.raises(DataError, match=r"write|expected"):
        relevant_cell(cell)


def test_grades_are_whole_and_spam_is_not_relevant():
    assert [grade_of(one) for one in ("2", 3.0, 0, -2)] == [2, 3, 0, 0]
    for wrong in ("1.5", "x", None, float("inf"), True):
        with pytest.raises(DataError, match="whole number"):
            grade_of(wrong)


def pairs_of(path: Path, content: str) -> list[tuple[str, str, int]]:
    path.write_text(content, encoding="utf-8")
    pairs, faults = read_pairs(path, lambda _: None)
    assert faults == []
    return [(one.query, one.document, one.grade) for one in pairs]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("pairs.txt", "q1 0 d1 2\nq2 Q0 d2 1\n\n"),
        ("qrels.test", "q1\t0\td1\t2\nq2\t0\td2\t1\n"),
        ("pairs.qrels", "q1 d1 2\nq2 d2\n"),
        ("beir.tsv", "query-id\tcorpus-id\tscore\nq1\td1\t2\nq2\td2\t1\n"),
        ("pairs.csv", "document,query,grade\nd1,q1,2\nd2,q2,1\n"),
        ("pairs.jsonl", '{"query": "q1", "document": "d1", "rel": 2}\n{"query": "q2", "document": "d2"}\n'),
    ],
)
def test_a_file_of_pairs_is_read_in_every_form(tmp_path, name, content):
    assert pairs_of(tmp_path / name, content) == [("q1", "d1", 2), ("q2", "d2", 1)]


def test_numbers_are_ids(tmp_path):
    rows = [{"query": 1, "document": 5.0}]
    assert pairs_of(tmp_path / "a.json", json.dumps(rows)) == [("1", "5", 1)]


def test_what_is_wrong_with_lines_is_told_of_each_and_the_others_are_read(tmp_path):
    path = tmp_path / "pairs.txt"
    path.write_text("q1 0 d1 1\nq1\nq1 0 d2 x\nq1 0 d3 1 9\n")
    pairs, faults = read_pairs(path, lambda _: None)
    assert [one.document for one in pairs] == ["d1"]
    assert [(one.number, one.reason.split()[0]) for one in faults] == [(2, "expected"), (3, "the"), (4, "expected")]


def test_a_file_without_such_columns_says_what_it_has(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"query": "q1", "page": "d1"}\n')
    with pytest.raises(DataError, match=r"no column for documents; it has 'page' and 'query': call one 'document'"):
        read_pairs(path, lambda _: None)
