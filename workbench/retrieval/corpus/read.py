"""A corpus from files: documents, queries, and which documents are relevant to each query.

Documents have the columns ``id``, the bundle's own text columns, and ``category`` (or ``label``). Queries have ``id``
and text; if wanted ``relevant``, ``category`` (what the right label is; else the commonest category of the relevant
documents) and ``group`` (queries that are not independent of each other).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from labelwright.data.columns import TextColumns
from labelwright.data.records import Fault, Row, listed, refusal
from labelwright.data.task import name_of
from labelwright.errors import DataError
from workbench.first.dialect import scan_found
from workbench.retrieval.corpus.relevance import Pair, read_pairs, relevant_cell

ID, RELEVANT, GROUP = "id", "relevant", "group"
# The first of these that a row has is its category.
CATEGORY = ("category", "label")
_MOST_NAMES = 6
_SAME_ID = "the id is that of an earlier row; give every row one of its own"

Say = Callable[[str], None]


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
    rows, faults = _rows(files.queries, text, say)
    pairs = None
    if files.relevant:
        if faults:  # a pair of such a row would be taken for a mistake of its own
            raise refusal(files.queries, faults)
        pairs = _pairs(files.relevant, positions, {row.id for row in rows}, say)
        if any(RELEVANT in row.cells for row in rows):
            say(f"  the column {RELEVANT!r} of {Path(files.queries).name} is not read: {files.relevant} says it")
    queries = _queries(rows, faults, files.queries, pairs, documents, positions, places)
    return Corpus(tuple(documents), tuple(queries), tuple(labels))


@dataclass(frozen=True)
class _Read:
    """A row as far as documents and queries have the same."""

    number: int
    id: str
    text: str
    category: str
    cells: Mapping[str, Any]


def _rows(path: str, text: TextColumns, say: Say) -> tuple[list[_Read], list[Fault]]:
    """Rows with id and text, and what is wrong with the others; a row's category may be empty."""
    rows: list[_Read] = []
    faults: list[Fault] = []
    seen: set[str] = set()
    for row in scan_found(Path(path), say, has_header=True):
        if isinstance(row, Fault):
            faults.append(row)
            continue
        said, wrong = _tried(row, (partial(_id_of, seen), text.need, _category_of))
        faults += wrong
        if not wrong:
            rows.append(_Read(row.number, said[0], said[1], said[2], row.record))
    return rows, faults


def _tried(row: Row, reads: Iterable[Callable[[Mapping[str, Any]], str]]) -> tuple[list[str], list[Fault]]:
    """What is read of a row, and all that is wrong with it."""
    said: list[str] = []
    faults: list[Fault] = []
    for read in reads:
        try:
            said.append(read(row.record))
        except DataError as error:
            faults.append(Fault(row.number, str(error)))
    return said, faults


def _id_of(seen: set[str], record: Mapping[str, Any]) -> str:
    if ID not in record:
        raise DataError(f"no column {ID!r}; the row has {sorted(map(str, record))}: give every row an id")
    found = name_of(record, ID, ID)
    if not found:
        raise DataError(f"the {ID} is empty; fill it in or remove the row")
    if found in seen:
        raise DataError(_SAME_ID)
    seen.add(found)
    return found


def _category_of(record: Mapping[str, Any]) -> str:
    name = next((one for one in CATEGORY if one in record), None)
    return "" if name is None else name_of(record, name, "category")


def _documents(path: str, text: TextColumns, places: Mapping[str, int], say: Say) -> list[Document]:
    rows, faults = _rows(path, text, say)
    lacking = f"no category; fill in the column {CATEGORY[0]!r} (or {CATEGORY[1]!r}), or remove the document"
    faults += [Fault(row.number, lacking) for row in rows if not row.category]
    faults += _unknown(rows, places)
    if faults:
        raise refusal(path, faults)
    return [Document(row.id, row.text, places[row.category]) for row in rows]


def _unknown(rows: Iterable[_Read], places: Mapping[str, int]) -> list[Fault]:
    """Rows with a category that the bundle does not know: one fault for all of them."""
    wrong = [row for row in rows if row.category and row.category not in places]
    names = listed(map(repr, dict.fromkeys(row.category for row in wrong)), _MOST_NAMES)
    known = listed(map(repr, places), _MOST_NAMES)
    reason = f"a category that the bundle does not know ({names}; it knows {known}); correct it, or take another bundle"
    return [Fault(row.number, reason) for row in wrong]


def _pairs(path: str, positions: Mapping[str, int], known: set[str], say: Say) -> dict[str, list[Pair]]:
    """Pairs by query, all of documents and queries that are there."""
    pairs, faults = read_pairs(Path(path), say)
    found: dict[str, list[Pair]] = {}
    seen: set[tuple[str, str]] = set()
    no_query = [one for one in pairs if one.query not in known]
    no_document = [one for one in pairs if one.document not in positions]
    for what, wrong, ids in (
        ("queries", no_query, [one.query for one in no_query]),
        ("documents", no_document, [one.document for one in no_document]),
    ):
        names = listed(map(repr, dict.fromkeys(ids)), _MOST_NAMES)
        reason = f"{what} that are not there ({names}); correct the ids, or remove the pairs"
        faults += [Fault(one.number, reason) for one in wrong]
    for one in pairs:
        if (one.query, one.document) in seen:
            faults.append(Fault(one.number, "a pair that stands in an earlier row; keep one"))
        seen.add((one.query, one.document))
        found.setdefault(one.query, []).append(one)
    if faults:
        raise refusal(path, faults)
    return found


def _queries(
    rows: Sequence[_Read],
    faults: list[Fault],
    source: str,
    pairs: Mapping[str, list[Pair]] | None,
    documents: Sequence[Document],
    positions: Mapping[str, int],
    places: Mapping[str, int],
) -> list[Query]:
    queries: list[Query] = []
    absent: list[tuple[int, list[str]]] = []
    faults = [*faults, *_unknown(rows, places)]
    for row in rows:
        try:
            named = _named(row, pairs)
            group = name_of(row.cells, GROUP, GROUP) if GROUP in row.cells else ""
        except DataError as error:
            faults.append(Fault(row.number, str(error)))
            continue
        if gone := [one for one, _ in named if one not in positions]:
            absent.append((row.number, gone))
            continue
        if len(dict(named)) < len(named):
            faults.append(Fault(row.number, "names a relevant document twice; keep one"))
        relevant = {positions[one]: grade for one, grade in named if grade}
        if not relevant:
            faults.append(Fault(row.number, "no document is relevant to the query; name one, or remove the query"))
        elif not row.category or row.category in places:
            own = places.get(row.category)
            category = _commonest(relevant, documents) if own is None else own
            queries.append(Query(row.id, row.text, category, relevant, group or None))
    names = listed(map(repr, dict.fromkeys(one for _, gone in absent for one in gone)), _MOST_NAMES)
    reason = f"relevant documents that are not there ({names}); correct the ids, or add the documents"
    faults += [Fault(number, reason) for number, _ in absent]
    if faults:
        raise refusal(source, faults)
    return queries


def _named(row: _Read, pairs: Mapping[str, list[Pair]] | None) -> list[tuple[str, int]]:
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
