"""What a query takes: the search with each use of the label, and the classifier, each asked one query at a time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from labelwright.statistics.metrics import Ints
from workbench.retrieval.asking import Said
from workbench.retrieval.report.result import BOOST, FILTER, PLAIN
from workbench.retrieval.search.found import log_probabilities
from workbench.retrieval.search.rankers import Search

# Queries that are timed, each alone, after one to warm up.
N_TIMED = 50


def median_ms(texts: Sequence[str], ask: Callable[[int], object]) -> float:
    """The median of milliseconds that ``ask`` takes for the position of a text, the first ``N_TIMED`` of them."""
    seconds = []
    for place in (0, *range(min(N_TIMED, len(texts)))):
        begun = time.perf_counter()
        ask(place)
        seconds.append(time.perf_counter() - begun)
    return 1000 * statistics.median(seconds[1:])


def search_ms(
    search: Search, texts: Sequence[str], said: Said, weight: float, categories: Ints, depth: int
) -> Mapping[str, float]:
    """Milliseconds of a search by the use of the label, from the text to the best documents.

    The label is there already: the classifier's time is told apart. A filter leaves documents out after they are
    scored, as here all are in one index; an index for each category would be faster.

    Parameters
    ----------
    said : Said
        What the bundle says of these texts.
    categories : int ndarray of shape (n_documents,)
    """

    def plain(place: int) -> Ints:
        return _best(search.scores(texts[place]), depth)

    def filtered(place: int) -> Ints:
        scores = search.scores(texts[place])
        label = said.category[place]
        return _best(scores if label < 0 else np.where(categories == label, scores, -np.inf), depth)

    def boosted(place: int) -> Ints:
        added = weight * log_probabilities(said.probs[place])
        return _best(search.scores(texts[place]) + added[categories], depth)

    return {way: median_ms(texts, ask) for way, ask in ((PLAIN, plain), (FILTER, filtered), (BOOST, boosted))}


def _best(scores: np.ndarray, depth: int) -> Ints:
    """Positions of the best scores, the best first."""
    depth = min(depth, len(scores))
    best = np.argpartition(-scores, depth - 1)[:depth]
    ordered: Ints = best[np.argsort(-scores[best], kind="stable")]
    return ordered
