"""Searches: from a text to a score for every document.

By words it is BM25 (Robertson and Zaragoza 2009, in Lucene's form, through bm25s), with no stop words and no stemmer,
since it is not known in which language people write. By meaning it is the cosine of sentence embeddings. Both together
are reciprocal rank fusion (Cormack, Clarke and Büttcher 2009).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import bm25s
import numpy as np
from numpy.typing import NDArray

from labelwright.statistics.metrics import Floats

# The constant of reciprocal rank fusion, as its authors have it.
FUSION_K = 60
# From texts to unit vectors, (n_texts, n_dimensions).
Embed = Callable[[Sequence[str]], NDArray[np.float32]]


class Search(Protocol):
    """What scores all documents of a corpus."""

    name: str

    def scores(self, text: str) -> Floats:
        """A score for every document, (n_documents,), the higher the better; -inf for one that is not found."""


class Words:
    """BM25. A document that has no word of the query is not found.

    Parameters
    ----------
    texts : sequence of str
        Of the documents.
    """

    name = "bm25"

    def __init__(self, texts: Sequence[str]) -> None:
        self._n_documents = len(texts)
        self._index: Any = None
        words = _words(texts)
        if any(words):
            self._index = bm25s.BM25()
            self._index.index(words, show_progress=False)

    def scores(self, text: str) -> Floats:
        """As ``Search``; documents without a word, such as "?!", are never found."""
        (words,) = _words([text])
        if self._index is None or not words:
            return np.full(self._n_documents, -np.inf)
        scores = np.asarray(self._index.get_scores(words), dtype=np.float64)
        return np.where(scores > 0, scores, -np.inf)


class Meaning:
    """The cosine of embeddings. Every document is found.

    Parameters
    ----------
    vectors : float32 ndarray of shape (n_documents, n_dimensions)
        Unit vectors of the documents.
    embed : callable
        What gives those of queries.
    """

    name = "embeddings"

    def __init__(self, vectors: NDArray[np.float32], embed: Embed) -> None:
        self._vectors = vectors
        self._embed = embed

    def scores(self, text: str) -> Floats:
        """As ``Search``, in [-1, 1]."""
        return (self._vectors @ self._embed([text])[0]).astype(np.float64)


class Fused:
    """Several searches by the places that they give a document: the sum of 1 / (``FUSION_K`` + place).

    A search that does not find a document adds nothing to it.
    """

    name = "fused"

    def __init__(self, searches: Sequence[Search]) -> None:
        self._searches = searches

    def scores(self, text: str) -> Floats:
        """As ``Search``."""
        return fuse([search.scores(text) for search in self._searches])


def fuse(each: Sequence[Floats]) -> Floats:
    """Scores of several searches as one, (n_documents,); of equal scores the earlier document has the better place.

    Examples
    --------
    >>> fuse([np.array([0.9, 0.1, -np.inf]), np.array([2.0, 5.0, -np.inf])]) * 61 * 62
    array([123., 123., -inf])
    """
    total = np.zeros(len(each[0]))
    for scores in each:
        order = np.argsort(-scores, kind="stable")
        order = order[np.isfinite(scores[order])]
        total[order] += 1 / (FUSION_K + np.arange(1, len(order) + 1))
    return np.where(total > 0, total, -np.inf)


def _words(texts: Sequence[str]) -> list[list[str]]:
    # Words of one character too, such as "C" and "5", which bm25s leaves out by itself.
    words: list[list[str]] = bm25s.tokenize(
        list(texts), token_pattern=r"(?u)\b\w+\b", stopwords=[], return_ids=False, show_progress=False
    )
    return words
