"""Which documents are relevant to a query: a list in the query's row, or a file of pairs.

A cell holds ids as a list, as JSON, or with one of ``; | ,`` or white space between them; or grades by id. A file of
pairs is what TREC has (query, an unread word, document, grade, with white space between), or rows with columns for
query, document and, if wanted, grade, in any format that the house reads (BEIR's ``qrels`` are such).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labelwright.data.formats.packed import opened
from labelwright.data.formats.text_lines import decoded_lines
from labelwright.data.records import Fault, Row, as_written, is_missing, listed
from labelwright.errors import DataError
from workbench.first.dialect import scan_found

# What the columns of a file of pairs may be called.
QUERY = ("query", "query_id", "query-id", "qid")
DOCUMENT = ("document", "document_id", "document-id", "doc_id", "docid", "corpus-id", "doc")
GRADE = ("grade", "score", "relevance", "rel")
_SEPARATORS = (";", "|", ",")
# Files whose lines may be words with white space between, as TREC has them; elsewhere rows have named columns.
_TREC_ENDINGS = ("", ".txt", ".qrels", ".qrel", ".trec", ".test", ".tsv")


@dataclass(frozen=True)
class Pair:
    """A query and a document with its grade, at least 0; 0 says that it was looked at and is not relevant."""

    number: int
    query: str
    document: str
    grade: int


def relevant_cell(value: Any) -> list[tuple[str, int]]:
    """Ids and grades of a cell, in its order; none for an empty one.

    Raises
    ------
    DataError
        A grade that is no whole number from 0 on; something in a list that is no id.

    Examples
    --------
    >>> relevant_cell("a; b"), relevant_cell('["5", 6.0]'), relevant_cell({"a": 2})
    ([('a', 1), ('b', 1)], [('5', 1), ('6', 1)], [('a', 2)])
    """
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, str) and value.strip()[:1] in ("[", "{"):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise DataError('the relevant documents begin like JSON and are none; write ["id", "id"]') from error
    if isinstance(value, Mapping):
        return [(_id(one), grade_of(grade)) for one, grade in value.items() if not is_missing(grade)]
    if isinstance(value, list | tuple):
        return [(_id(one), 1) for one in value]
    if is_missing(value):
        return []
    text = str(as_written(value))
    between = next((one for one in _SEPARATORS if one in text), None)
    return [(one.strip(), 1) for one in text.split(between) if one.strip()]


def grade_of(value: Any) -> int:
    """A grade as a whole number; what TREC writes below 0 (spam, say) is 0. Raises DataError for anything else."""
    try:
        grade = float(value)
        if isinstance(value, bool) or not grade.is_integer():
            raise ValueError
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError("the grade is no whole number; write 1 for relevant, 2 for more so, 0 for not") from error
    return max(0, int(grade))


def read_pairs(path: Path, say: Callable[[str], None]) -> tuple[list[Pair], list[Fault]]:
    """The pairs of a file, and what is wrong with the others.

    Raises
    ------
    DataError
        Of the file as a whole: it cannot be read, or has no columns that name queries and documents.
    """
    words = _trec_lines(path)
    scanned = scan_found(path, say, has_header=True) if words is None else words
    pairs: list[Pair] = []
    faults: list[Fault] = []
    for row in scanned:
        if isinstance(row, Fault):
            faults.append(row)
            continue
        try:
            pairs.append(_pair(row, path))
        except _RowError as error:
            faults.append(Fault(row.number, str(error)))
    return pairs, faults


class _RowError(Exception):
    """What is wrong with one row."""


def _pair(row: Row, path: Path) -> Pair:
    ids = []
    for role, names in (("queries", QUERY), ("documents", DOCUMENT)):
        name = next((one for one in names if one in row.record), None)
        if name is None:
            raise DataError(
                f"{path}: no column for {role}; it has {listed(sorted(map(repr, row.record)))}: call one {names[0]!r}"
            )
        cell = as_written(row.record[name])
        if is_missing(cell):
            raise _RowError(f"the id in {name!r} is empty; fill it in or remove the row")
        ids.append(str(cell).strip())
    grade = next((row.record[one] for one in GRADE if one in row.record), 1)
    try:
        return Pair(row.number, ids[0], ids[1], grade_of(grade))
    except DataError as error:
        raise _RowError(str(error)) from error


def _trec_lines(path: Path) -> Iterator[Row | Fault] | None:
    """A file of words as rows, a line each; None where the first line names columns, or the file is of another kind."""
    if path.suffix.lower() not in _TREC_ENDINGS or not path.is_file():
        return None
    with opened(path) as file:
        first = next((line.split() for line in decoded_lines(file, str(path)) if line.strip()), [])
    if not first or first[0].strip('"').lower() in QUERY:
        return None
    return _scan_trec(path)


def _scan_trec(path: Path) -> Iterator[Row | Fault]:
    number = 0
    with opened(path) as file:
        for line in decoded_lines(file, str(path)):
            words = line.split()
            if not words:
                continue
            number += 1
            if len(words) == 4:
                words = [words[0], *words[2:]]
            if len(words) not in (2, 3):
                yield Fault(number, "expected query, document and grade, as TREC has them, with spaces between")
                continue
            yield Row(number, dict(zip((QUERY[0], DOCUMENT[0], GRADE[0]), words, strict=False)))


def _id(value: Any) -> str:
    if isinstance(value, dict | list | tuple) or is_missing(value):
        raise DataError('the list of relevant documents holds something that is no id; write ["id", "id"]')
    return str(as_written(value)).strip()
