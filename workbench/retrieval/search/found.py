"""The best documents of each category, from which every ranking is made that a label can lead to.

A filter keeps one category's documents, and a boost adds the same number to all documents of a category. So whatever a
label says, the first places of a ranking are taken by documents that are among the first of their own category: these
are kept, a few for each category, and the other documents of a query are scored once and forgotten.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labelwright.statistics.metrics import Floats, Ints

# The least probability that counts. Below it a label is as good as impossible, whatever the bundle says; a boost then
# costs a document a bounded number of points, and a label that is wrong and very sure can still be outweighed.
LEAST_PROBABILITY = 1e-4


@dataclass(frozen=True)
class Found:
    """What a search finds for one query.

    Attributes
    ----------
    documents : int32 ndarray of shape (n_kept,)
        Positions in the corpus, category by category, the best of each first.
    scores : float64 ndarray of shape (n_kept,)
    categories : int32 ndarray of shape (n_kept,)
    depth : int
        Documents of a category that are kept at most, and of a ranking.
    """

    documents: NDArray[np.int32]
    scores: Floats
    categories: NDArray[np.int32]
    depth: int

    def plain(self) -> list[int]:
        """The ranking without a label: the best documents."""
        return self._ranked(self.scores)

    def filtered(self, category: int) -> list[int]:
        """The ranking of one category's documents alone; of all where ``category`` is below 0, no label being given."""
        if category < 0:
            return self.plain()
        of_category: list[int] = self.documents[self.categories == category].tolist()
        return of_category

    def boosted(self, added: Floats) -> list[int]:
        """The ranking where ``added`` (n_categories,) comes to the scores of each category's documents."""
        return self._ranked(self.scores + added[self.categories])

    @property
    def spread(self) -> float:
        """How far the first and the last of the best scores lie apart: what a boost must be measured by."""
        best = np.sort(self.scores)[::-1][: self.depth]
        return float(best[0] - best[-1]) if len(best) else 0.0

    def _ranked(self, scores: Floats) -> list[int]:
        """The best first; of equal ones that which stands earlier in the corpus, as within a category."""
        documents = self.documents
        if len(scores) > self.depth:  # the others need not be sorted, which is most of the time of all curves
            last = np.partition(scores, -self.depth)[-self.depth]
            documents, scores = documents[scores >= last], scores[scores >= last]
        best: list[int] = documents[np.lexsort((documents, -scores))[: self.depth]].tolist()
        return best


def best_of_each(scores: Floats, categories: Ints, depth: int) -> Found:
    """The best documents of each category.

    Parameters
    ----------
    scores : ndarray of shape (n_documents,)
        -inf for a document that is not found.
    categories : int ndarray of shape (n_documents,)
    depth : int
        Documents of a category that are kept.
    """
    order = np.argsort(-scores, kind="stable")
    order = order[np.isfinite(scores[order])]
    order = order[np.argsort(categories[order], kind="stable")]
    counts = np.bincount(categories[order])
    first = np.cumsum(counts) - counts
    kept = order[np.arange(len(order)) - first[categories[order]] < depth]
    return Found(kept.astype(np.int32), scores[kept], categories[kept].astype(np.int32), depth)


def log_probabilities(probs: Floats) -> Floats:
    """Natural logarithms of probabilities, of at least ``LEAST_PROBABILITY``, in the same shape."""
    return np.log(np.maximum(probs, LEAST_PROBABILITY))
