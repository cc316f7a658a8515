"""Texts that the bundle was taught are counted, however they are written."""

from __future__ import annotations

from workbench.retrieval.corpus.read import Corpus, Document, Query
from workbench.retrieval.corpus.taught import Taught, count_taught


def test_documents_and_queries_that_were_taught_are_counted_each_for_itself():
    documents = (Document("1", "No heat!", 0), Document("2", "a gate", 0), Document("3", "no  HEAT", 0))
    queries = tuple(Query(str(i), text, 0, {0: 1}) for i, text in enumerate(["no heat", "A gate?", "new"]))
    corpus = Corpus(documents, queries, ("x",))
    assert count_taught(corpus, [1, 2], ["No heat", "other"], "rows.jsonl") == Taught("rows.jsonl", 2, 2, 1, 0)
    assert count_taught(corpus, [1, 2], ["a gate."], "rows.jsonl") == Taught("rows.jsonl", 1, 1, 1, 1)
