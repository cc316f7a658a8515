"""Corpora of questions: what teaches is neither document nor query, and relevance is the intent."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from bench.retrieval.corpora import DOMAINS, KINDS, domain, write_corpus
from labelwright.data.task import normalise
from labelwright.errors import DataError

DATA = Path(__file__).resolve().parents[3] / "../shared/data"
needs_data = pytest.mark.skipif(not (DATA / "banking77").is_dir(), reason="needs ../shared/data")


def rows(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_domain_is_the_first_whose_word_the_intent_has():
    assert domain("top_up_by_bank_transfer_charge") == "top-up"
    assert domain("verify_my_identity") == "identity"
    assert domain("wrong_exchange_rate_for_cash_withdrawal") == "cash"
    with pytest.raises(DataError, match="no domain"):
        domain("book_a_flight")


@needs_data
def test_every_domain_has_intents_and_every_intent_a_domain():
    intents = {row["label"] for row in rows(DATA / "banking77" / "train.jsonl")}
    counts = Counter(map(domain, intents))
    assert set(counts) == set(DOMAINS)
    assert min(counts.values()) >= 3


@needs_data
def test_a_corpus_parts_what_teaches_from_what_is_searched(tmp_path):
    write_corpus(KINDS["sofmattress"], DATA, tmp_path, seed=0)
    taught, documents, queries = (rows(tmp_path / f"{name}.jsonl") for name in ("taught", "documents", "queries"))
    assert not {row["text"] for row in taught} & {row["text"] for row in documents}
    assert not {normalise(row["text"]) for row in queries} & {normalise(row["text"]) for row in (*taught, *documents)}
    assert len(taught) < len(documents)
    assert "NO_NODES_DETECTED" not in {row["category"] for row in queries}
    of_query, of_document = ({row["id"]: row["category"] for row in some} for some in (queries, documents))
    pairs = [line.split() for line in (tmp_path / "pairs.txt").read_text().splitlines()]
    assert {query for query, *_ in pairs} == set(of_query)
    assert all(of_query[query] == of_document[document] for query, _, document, _ in pairs)


@needs_data
def test_fewer_rows_that_teach_leave_the_documents_as_they_are(tmp_path):
    for folder, n in (("all", 0), ("few", 3)):
        write_corpus(KINDS["domains"], DATA, tmp_path / folder, seed=0, n_taught=n)
    few = rows(tmp_path / "few" / "taught.jsonl")
    assert len(few) == 3 * 77
    assert {row["label"] for row in few} == set(DOMAINS)
    texts = [{row["text"] for row in rows(tmp_path / one / "documents.jsonl")} for one in ("all", "few")]
    # Those that nearly repeat a row that teaches are left out, and the fewer teach the fewer those are.
    assert texts[0] <= texts[1]
    assert len(texts[1] - texts[0]) < 60
