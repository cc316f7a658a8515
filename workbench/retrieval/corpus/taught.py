"""Which documents and queries the bundle was taught: of these its labels are better than of others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from labelwright.data.task import normalise
from workbench.retrieval.corpus.read import Corpus


@dataclass(frozen=True)
class Taught:
    """How much of a corpus the bundle has seen with a label.

    Attributes
    ----------
    source : str
        Where its rows are known from; empty where they are not known.
    n_rows : int
        Rows that it was trained, chosen or calibrated on.
    documents, queries, measured : int
        Of each, how many have the text of such a row, or nearly; ``measured`` are some of the queries.
    """

    source: str = ""
    n_rows: int = 0
    documents: int = 0
    queries: int = 0
    measured: int = 0


def count_taught(corpus: Corpus, measured: Sequence[int], texts: Iterable[str], source: str) -> Taught:
    """Count the texts of a corpus that the bundle was taught; case, punctuation and spacing do not matter."""
    rows = list(texts)
    known = {normalise(text) for text in rows}
    of_queries = [normalise(one.text) in known for one in corpus.queries]
    n_documents = sum(normalise(one.text) in known for one in corpus.documents)
    return Taught(source, len(rows), n_documents, sum(of_queries), sum(of_queries[i] for i in measured))
