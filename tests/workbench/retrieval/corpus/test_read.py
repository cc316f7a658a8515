"""A corpus is read whole or refused, each kind of fault in one line with all its rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from labelwright.data.columns import TextColumns
from labelwright.errors import DataError
from workbench.retrieval.corpus.read import Corpus, Files, read_corpus

LABELS = ("pool", "fence")
DOCUMENTS = [
    {"id": "d1", "text": "chlorine", "category": "pool"},
    {"id": 2, "text": "a gate", "category": "fence"},
    {"id": "d3", "text": "a post", "category": "fence"},
]
QUERIES = [
    {"id": "q1", "text": "green water", "relevant": ["d1"], "group": "g"},
    {"id": "q2", "text": "it squeaks", "relevant": "2; d3", "category": "pool"},
]


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def corpus(folder: Path, documents=None, queries=None, pairs: str = "", said: list[str] | None = None) -> Corpus:
    files = [write(folder / "d.jsonl", documents or DOCUMENTS), write(folder / "q.jsonl", queries or QUERIES)]
    if pairs:
        (folder / "pairs.txt").write_text(pairs)
        files.append(str(folder / "pairs.txt"))
    return read_corpus(Files(*files), LABELS, TextColumns(), (said if said is not None else []).append)


def refusal(folder: Path, **given: Any) -> str:
    with pytest.raises(DataError) as raised:
        corpus(folder, **given)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_a_corpus_is_what_its_files_say(tmp_path):
    read = corpus(tmp_path)
    assert [(one.id, one.text, one.category) for one in read.documents] == [
        ("d1", "chlorine", 0), ("2", "a gate", 1), ("d3", "a post", 1),
    ]  # fmt: skip
    assert [(one.id, one.relevant, one.group) for one in read.queries] == [
        ("q1", {0: 1}, "g"), ("q2", {1: 1, 2: 1}, None),
    ]  # fmt: skip


def test_a_querys_category_is_its_own_or_that_of_most_of_its_documents(tmp_path):
    first, second = QUERIES
    queries = [first, second, {**first, "id": "q3", "relevant": ["d1", "2", "d3"]}, {**second, "category": "", "id": 4}]
    assert [one.category for one in corpus(tmp_path, queries=queries).queries] == [0, 0, 1, 1]


def test_the_category_may_be_called_label(tmp_path):
    documents = [{"id": one["id"], "text": one["text"], "label": one["category"]} for one in DOCUMENTS]
    assert corpus(tmp_path, documents=documents) == corpus(tmp_path)


def test_pairs_take_the_place_of_the_column_and_that_is_said(tmp_path):
    said: list[str] = []
    read = corpus(tmp_path, pairs="q1 0 d3 2\nq1 0 d1 0\nq2 0 2 1\n", said=said)
    assert [one.relevant for one in read.queries] == [{2: 2}, {1: 1}]
    assert any("the column 'relevant' of q.jsonl is not read" in line for line in said)


def test_every_kind_of_fault_of_documents_is_one_line_with_all_its_rows(tmp_path):
    documents = [
        *DOCUMENTS,
        {"id": "d1", "text": "again", "category": "pool"},
        {"id": "d5", "text": " ", "category": "pool"},
        {"id": "d6", "text": "x", "category": "roof"},
        {"id": "d7", "text": "x", "category": "attic"},
        {"id": "d8", "text": "x"},
        {"id": "2", "text": "", "category": "{roof}"},
        {"text": "x", "category": "pool"},
        {"id": None, "text": "x", "category": "pool"},
    ]
    told = refusal(tmp_path, documents=documents)
    assert told.startswith(str(tmp_path / "d.jsonl"))
    assert "rows 4 and 9: the id is that of an earlier row" in told
    assert "rows 5 and 9: the text is empty" in told
    assert "rows 6, 7 and 9: a category that the bundle does not know ('roof', 'attic' and '{roof}'; it knows" in told
    assert "row 8: no category" in told
    assert "row 10: no column 'id'" in told
    assert "row 11: the id is empty" in told


def test_every_kind_of_fault_of_queries_is_one_line_with_all_its_rows(tmp_path):
    queries = [
        *QUERIES,
        {"id": "q1", "text": "again", "relevant": ["d1"]},
        {"id": "q4", "text": "", "relevant": ["d7"]},
        {"id": "q5", "text": "x", "relevant": []},
        {"id": "q6", "text": "x", "relevant": {"d1": 0}},
        {"id": "q7", "text": "x", "relevant": ["d1", "d9"]},
        {"id": "q8", "text": "x", "relevant": "d8"},
        {"id": "q9", "text": "x", "relevant": ["d1"], "category": "roof"},
        {"id": "q10", "text": "x", "relevant": ["d1", "d1"]},
    ]
    told = refusal(tmp_path, queries=queries)
    assert "row 3: the id is that of an earlier row" in told
    assert "row 4: the text is empty" in told
    assert "rows 5 and 6: no document is relevant to the query" in told
    assert "rows 4, 7 and 8: relevant documents that are not there ('d7', 'd9' and 'd8')" in told
    assert "row 9: a category that the bundle does not know ('roof'" in told
    assert "row 10: names a relevant document twice" in told


def test_queries_without_relevance_are_told_how_to_give_it(tmp_path):
    told = refusal(tmp_path, queries=[{"id": "q1", "text": "x"}, {"id": "q2", "text": "y"}])
    assert "rows 1 and 2: no column 'relevant'; the row has ['id', 'text']: add one with ids, or give a file" in told


def test_faults_of_pairs_are_told_together(tmp_path):
    told = refusal(tmp_path, pairs="q1 0 d1 1\nq9 0 d1 1\nq1 0 d1 1\nq8 0 d1 1\nq1 0 d7 1\nq2 0 d1 x\n")
    assert told.startswith(str(tmp_path / "pairs.txt"))
    assert "rows 2 and 4: queries that are not there ('q9' and 'q8')" in told
    assert "row 5: documents that are not there ('d7')" in told
    assert "row 3: a pair that stands in an earlier row" in told
    assert "row 6: the grade is no whole number" in told


def test_a_query_that_no_pair_names_has_nothing_relevant(tmp_path):
    assert "row 2: no document is relevant" in refusal(tmp_path, pairs="q1 0 d1 1\n")


def test_pairs_of_a_faulty_query_are_not_taken_for_mistakes(tmp_path):
    told = refusal(tmp_path, queries=[*QUERIES, {"id": "q3", "text": ""}], pairs="q1 0 d1 1\nq2 0 d1 1\nq3 0 d1 1\n")
    assert told.startswith(str(tmp_path / "q.jsonl"))
    assert "queries that are not there" not in told


def test_a_terminal_is_not_driven_by_what_a_file_holds(tmp_path):
    documents = [{"id": "d1", "text": "x", "category": "\x1b[31mred"}]
    assert "\x1b" not in refusal(tmp_path, documents=documents)


def test_texts_of_several_columns_are_read_as_the_bundle_reads_them(tmp_path):
    documents = [{"id": one["id"], "title": one["text"], "body": "b", "category": one["category"]} for one in DOCUMENTS]
    files = Files(write(tmp_path / "d.jsonl", documents), write(tmp_path / "q.jsonl", QUERIES))
    read = read_corpus(files, LABELS, TextColumns(("title", "body"), or_whole=True), lambda _: None)
    assert (read.documents[0].text, read.queries[0].text) == ("chlorine\nb", "green water")
