"""A corpus from files: documents, queries, and which documents are relevant to each query.

Documents have the columns ``id``, the bundle's own text columns, and ``category`` (or ``label``). Queries have ``id``
and text; if wanted ``relevant``, ``category`` (what the right label is; else the commonest category of the relevant
documents) and ``group`` (queries that are not independent of each other).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from labelwright.data.columns import TextColumns
from labelwright.data.records import Fault, refusal
from labelwright.data.task import name_of
from labelwright.errors import DataError
from workbench.retrieval.corpus.relevance import Pair, read_pairs, relevant_cell
from workbench.retrieval.corpus.rows import CATEGORY, CorpusRow, Say, read_rows, shared_faults

RELEVANT, GROUP = "relevant", "group"


@dataclass(frozen=True)
class Files:
    """Where a corpus lies.

    Attributes
    ----------
    relevant : str
        A file of pairs; empty where the queries' rows name their documents.
    """

    documents: str
    queries: str
    relevant: str = ""


@dataclass(frozen=True)
class Document:
    """What is searched for; ``category`` is a position in the bundle's labels."""

    id: str
    text: str
    category: int


@dataclass(frozen=True)
class Query:
    """What is asked.

    Attributes
    ----------
    category : int
        The right one, a position in the bundle's labels.
    relevant : mapping of int to int
        Positions of relevant documents, one at least, with their grades, 1 and above.
    group : str or None
        Queries of one group are no independent evidence.
    """

    id: str
    text: str
    category: int
    relevant: Mapping[int, int]
    group: str | None = None


@dataclass(frozen=True)
class Corpus:
    """Documents and queries, each in the order of their file; ``labels`` are the bundle's."""

    documents: tuple[Document, ...]
    queries: tuple[Query, ...]
    labels: tuple[str, ...]


def read_corpus(files: Files, labels: Sequence[str], text: TextColumns, say: Say) -> Corpus:
    """Read and check a corpus for a bundle with these labels, whose texts are in these columns.

    Raises
    ------
    DataError
        Whatever is wrong with the first file that has faults, each kind once with all its rows. Documents come first,
        since pairs and queries name them.
    """
    places = {name: i for i, name in enumerate(labels)}
    documents = _documents(files.documents, text, places, say)
    positions = {one.id: i for i, one in enumerate(documents)}
    rows, faults = read_rows(files.queries, text, places, say)
    pairs = None
    if files.relevant:
        if faults:  # a pair of such a row would be taken for a mistake of its own
            raise refusal(files.queries, faults)
        pairs = _pairs(files.relevant, positions, {row.id for row in rows}, say)
        if any(RELEVANT in row.cells for row in rows):
            say(f"  the column {RELEVANT!r} of {Path(files.queries).name} is not read: {files.relevant} says it")
    queries = _queries(rows, faults, files.queries, pairs, documents, positions, places)
    return Corpus(tuple(documents), tuple(queries), tuple(labels))


def _documents(path: str, text: TextColumns, places: Mapping[str, int], say: Say) -> list[Document]:
    rows, faults = read_rows(path, text, places, say)
    lacking = f"no category; fill in the column {CATEGORY[0]!r} (or {CATEGORY[1]!r}), or remove the document"
    faults += [Fault(row.number, lacking) for row in rows if not row.category]
    if faults:
        raise refusal(path, faults)
    return [Document(row.id, row.text, places[row.category]) for row in rows]


def _pairs(path: str, positions: Mapping[str, int], known: set[str], say: Say) -> dict[str, list[Pair]]:
    """Pairs by query, all of documents and queries that are there."""
    pairs, faults = read_pairs(Path(path), say)
    found: dict[str, list[Pair]] = {}
    seen: set[tuple[str, str]] = set()
    no_query = [one for one in pairs if one.query not in known]
    no_document = [one for one in pairs if one.document not in positions]
    told = "that are not there ({}); correct the ids, or remove the pairs"
    faults += shared_faults((one.number for one in no_query), (one.query for one in no_query), f"queries {told}")
    faults += shared_faults(
        (one.number for one in no_document), (one.document for one in no_document), f"documents {told}"
    )
    for one in pairs:
        if (one.query, one.document) in seen:
            faults.append(Fault(one.number, "a pair that stands in an earlier row; keep one"))
        seen.add((one.query, one.document))
        found.setdefault(one.query, []).append(one)
    if faults:
        raise refusal(path, faults)
    return found


def _queries(
    rows: Sequence[CorpusRow],
    faults: Sequence[Fault],
    source: str,
    pairs: Mapping[str, list[Pair]] | None,
    documents: Sequence[Document],
    positions: Mapping[str, int],
    places: Mapping[str, int],
) -> list[Query]:
    queries: list[Query] = []
    absent: list[tuple[int, list[str]]] = []
    found = list(faults)
    for row in rows:
        try:
            named = _named(row, pairs)
            group = name_of(row.cells, GROUP, GROUP) if GROUP in row.cells else ""
        except DataError as error:
            found.append(Fault(row.number, str(error)))
            continue
        if gone := [one for one, _ in named if one not in positions]:
            absent.append((row.number, gone))
            continue
        if len(dict(named)) < len(named):
            found.append(Fault(row.number, "names a relevant document twice; keep one"))
        relevant = {positions[one]: grade for one, grade in named if grade}
        if not relevant:
            found.append(Fault(row.number, "no document is relevant to the query; name one, or remove the query"))
        elif not found:
            category = places[row.category] if row.category else _commonest(relevant, documents)
            queries.append(Query(row.id, row.text, category, relevant, group or None))
    found += shared_faults(
        (number for number, _ in absent),
        (one for _, gone in absent for one in gone),
        "relevant documents that are not there ({}); correct the ids, or add the documents",
    )
    if found:
        raise refusal(source, found)
    return queries


def _named(row: CorpusRow, pairs: Mapping[str, list[Pair]] | None) -> list[tuple[str, int]]:
    """The documents that a query names, with their grades."""
    if pairs is not None:
        return [(one.document, one.grade) for one in pairs.get(row.id, ())]
    if RELEVANT not in row.cells:
        has = sorted(map(str, row.cells))
        raise DataError(f"no column {RELEVANT!r}; the row has {has}: add one with ids, or give a file of pairs")
    return relevant_cell(row.cells[RELEVANT])


def _commonest(relevant: Iterable[int], documents: Sequence[Document]) -> int:
    """The category that most of the documents have; of several the one that is first among the labels."""
    counts = Counter(documents[one].category for one in relevant)
    return min(counts, key=lambda category: (-counts[category], category))
