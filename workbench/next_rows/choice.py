"""Which rows of a pool people are asked: some by chance, the others where the classifier is unsure, spread out.

The rows drawn by chance come first and take no notice of the classifier, so its accuracy on them is an unbiased
estimate of its accuracy on the pool. Of the rest those with the smallest margin between the two best labels, ``REACH``
times as many as are wanted, are clustered by their embeddings, weighted by how unsure they are, into as many clusters
as rows are wanted, and of each the row nearest to its middle is taken: unsure rows, and no two that say the same
(diverse mini-batch active learning, Zhdanov 2019, arXiv:1901.05954). ``python -m bench.decisions.next_rows`` measures
what that gains, and where it gains nothing.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from labelwright.errors import MissingExtraError, ModelError
from labelwright.predictors.encoders.sentence_encoder import open_encoder

Why = Literal["random", "uncertain", "diverse"]
# As the paper's beta.
REACH = 10
Vectors = Callable[[list[int]], Any]


class Chosen(NamedTuple):
    """A row of the pool, by its position, and why it is asked: "uncertain" where it is among the n least sure of the
    rows that were not drawn by chance, n being how many of them are chosen; "diverse" where it is not."""

    row: int
    why: Why


def choose(probs: NDArray[np.float64], vectors: Vectors, n: int, n_random: int, seed: int) -> list[Chosen]:
    """Choose rows.

    Parameters
    ----------
    probs : ndarray of shape (n_rows, n_labels)
        Of the pool in an order of chance: its first rows are the random ones. A row of zeros, which has no answer, is
        as unsure as can be.
    vectors : callable
        From positions of rows to their vectors, (n, n_dimensions); asked once, of few rows.
    n, n_random : int
        Rows in all, and those of them drawn by chance.

    Returns
    -------
    list of Chosen
        No row twice; fewer than ``n`` only where the pool has fewer.
    """
    n = min(n, len(probs))
    n_random = min(n_random, n)
    drawn = [Chosen(row, "random") for row in range(n_random)]
    wanted = n - n_random
    if not wanted:
        return drawn
    margins = margin(probs[n_random:])
    unsure = (np.argsort(margins, kind="stable")[: REACH * wanted] + n_random).tolist()
    spread = spread_out(vectors(unsure), 1 - margins[np.array(unsure) - n_random], wanted, seed)
    surest = set(unsure[:wanted])
    taken = [unsure[i] for i in spread]
    return [*drawn, *(Chosen(row, "uncertain" if row in surest else "diverse") for row in taken)]


def margin(probs: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far the best label is ahead of the next, (n_rows,), in [0, 1]."""
    best = np.sort(np.partition(probs, -2, axis=1)[:, -2:], axis=1)
    ahead: NDArray[np.float64] = best[:, 1] - best[:, 0]
    return ahead


def spread_out(vectors: Any, weights: NDArray[np.float64], n: int, seed: int) -> list[int]:
    """Positions of ``n`` rows, the one nearest to the middle of each of n clusters; the first rows where clusters lack.

    Parameters
    ----------
    vectors : ndarray or sparse matrix of shape (n_rows, n_dimensions)
    weights : ndarray of shape (n_rows,)
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    n_rows = vectors.shape[0]
    if n >= n_rows:
        return list(range(n_rows))
    # A row of no weight would count for nothing, and all of them cannot.
    kmeans = KMeans(n, n_init=1, max_iter=50, random_state=seed)
    with warnings.catch_warnings():
        # That texts repeat is no news.
        warnings.simplefilter("ignore", ConvergenceWarning)
        kmeans.fit(vectors, sample_weight=weights + 1e-6)
    away = kmeans.transform(vectors)[np.arange(n_rows), kmeans.labels_]
    nearest: dict[int, int] = {}
    for i in np.argsort(away, kind="stable").tolist():
        nearest.setdefault(int(kmeans.labels_[i]), i)
    taken = sorted(nearest.values())
    # Texts whose vectors are equal make fewer clusters.
    rest = [i for i in range(n_rows) if i not in set(taken)]
    return [*taken, *rest[: n - len(taken)]]


def text_vectors(texts: Sequence[str]) -> Any:
    """Sentence embeddings, or where their encoder cannot be had, weighted counts of characters: (n_texts, …)."""
    try:
        return open_encoder().embed(list(texts))
    except (MissingExtraError, ModelError):
        from sklearn.feature_extraction.text import TfidfVectorizer

        return TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True).fit_transform(list(texts))
