"""What rankings are worth: nDCG at 10, recall at k, the reciprocal rank, as trec_eval computes them.

The numbers come from pytrec_eval, which is trec_eval itself (Van Gysel and de Rijke 2018): the gain of a document is
its grade, discounted by log2(place + 1), and the ideal ranking is of all relevant documents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytrec_eval

from labelwright.statistics.metrics import Floats

NDCG_DEPTH = 10


def metric_names(k: int) -> tuple[str, str, str]:
    """The metrics' names, in the order of their columns; the reciprocal rank looks as deep as the others together.

    >>> metric_names(20)
    ('nDCG@10', 'recall@20', 'MRR@20')
    """
    return f"nDCG@{NDCG_DEPTH}", f"recall@{k}", f"MRR@{depth_of(k)}"


def depth_of(k: int) -> int:
    """Places of a ranking that are looked at."""
    return max(k, NDCG_DEPTH)


class Judged:
    """Queries whose relevant documents are known.

    Parameters
    ----------
    relevant : sequence of mapping of int to int
        Of each query, its relevant documents with their grades, 1 and above.
    k : int
        Of recall.
    """

    def __init__(self, relevant: Sequence[Mapping[int, int]], k: int) -> None:
        self._relevant = relevant
        self._measures = (f"ndcg_cut.{NDCG_DEPTH}", f"recall.{k}", "recip_rank")
        self._names = tuple(one.replace(".", "_") for one in self._measures)
        judged = {str(q): {str(d): grade for d, grade in of.items()} for q, of in enumerate(relevant)}
        self._evaluator = pytrec_eval.RelevanceEvaluator(judged, set(self._measures))

    def values(self, queries: Sequence[int], rankings: Sequence[Sequence[int]]) -> Floats:
        """The metrics of one ranking a query, (n_queries, 3), each in [0, 1].

        Parameters
        ----------
        queries : sequence of int
            Positions of different queries.
        rankings : sequence of sequence of int
            Documents, the best first.
        """
        # A ranking without a relevant document is worth 0 by every metric. trec_eval orders documents of one score by
        # their names: the place itself is the score, so that nothing is left to it.
        run = {
            str(q): {str(d): float(-place) for place, d in enumerate(ranking)}
            for q, ranking in zip(queries, rankings, strict=True)
            if any(d in self._relevant[q] for d in ranking)
        }
        found = self._evaluator.evaluate(run)
        nothing = dict.fromkeys(self._names, 0.0)
        return np.array([[found.get(str(q), nothing)[name] for name in self._names] for q in queries])
