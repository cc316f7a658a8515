"""How much a label counts: the weight of a boost, chosen on queries that are not measured."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from labelwright.statistics.metrics import Floats
from workbench.retrieval.report.result import Weight
from workbench.retrieval.search.found import Found, log_probabilities
from workbench.retrieval.search.metrics import Judged

# In units of how far the first and the last document of a ranking lie apart, typically: from next to nothing to where
# a document of an impossible category comes behind all others. 0 is plain search.
STEPS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)


def choose_weight(search: str, found: Sequence[Found], probs: Floats, judged: Judged, queries: Sequence[int]) -> Weight:
    """The weight whose rankings have the best mean nDCG; of equal ones the smallest.

    Parameters
    ----------
    found : sequence of Found
        Of the queries that choose.
    probs : ndarray of shape (n_queries, n_labels)
        What the bundle says of them.
    queries : sequence of int
        What ``judged`` calls them.
    """
    spread = float(np.median([one.spread for one in found]))
    logs = log_probabilities(probs)
    tried = []
    for step in STEPS:
        weight = step * spread
        rankings = [one.boosted(weight * log) for one, log in zip(found, logs, strict=True)]
        tried.append((weight, float(judged.values(queries, rankings)[:, 0].mean())))
    best = max(tried, key=lambda one: one[1])  # the first of equal ones
    return Weight(search, best[0], tuple(tried))
