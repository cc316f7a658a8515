"""How different rows are from each other, in numbers that are held against as many real rows."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from labelwright.data.task import normalise
from workbench.recipe.beside.near_copies import NearCopies

# What each number is, as people are told.
MEASURES = {
    "distinct_1": "different words, of all words",
    "distinct_2": "different pairs of words, of all pairs",
    "spread": "cosine distance between two rows of a label, on average",
    "copies": "rows that nearly repeat another",
    "words": "words a row",
}


def side_by_side(
    written: Mapping[str, Sequence[str]],
    real: Mapping[str, Sequence[str]],
    vectors: Callable[[Sequence[str]], Any],
    near_copy: float,
    seed: int,
) -> tuple[dict[str, float], dict[str, float]]:
    """The numbers of ``MEASURES`` for two sets of rows, on equally many of each label; empty where no label has both.

    The share of different words falls with the number of rows, so only equally many can be compared.

    Parameters
    ----------
    written, real : mapping of label to texts
    """
    chance = random.Random(seed)
    mine: list[list[str]] = []
    theirs: list[list[str]] = []
    for name in written:
        n = min(len(written[name]), len(real.get(name, ())))
        if n:
            mine.append(chance.sample(list(written[name]), n))
            theirs.append(chance.sample(list(real[name]), n))
    if not mine:
        return {}, {}
    sizes = [len(rows) for rows in mine]
    every = vectors([text for rows in (*mine, *theirs) for text in rows])
    half = sum(sizes)
    return measure(mine, every[:half], near_copy), measure(theirs, every[half:], near_copy)


def measure(by_label: Sequence[Sequence[str]], vectors: Any, near_copy: float) -> dict[str, float]:
    """The numbers of ``MEASURES``.

    Parameters
    ----------
    by_label : sequence of sequence of str
        Texts of each label.
    vectors : ndarray or sparse matrix of shape (n_texts, n_dimensions)
        In the same order.
    """
    texts = [text for rows in by_label for text in rows]
    words = [normalise(text).split() for text in texts]
    return {
        "distinct_1": _distinct(words, 1),
        "distinct_2": _distinct(words, 2),
        "spread": _spread([len(rows) for rows in by_label], vectors),
        "copies": _copies(texts, near_copy),
        "words": float(np.mean([len(one) for one in words])),
    }


def _distinct(words: Sequence[Sequence[str]], n: int) -> float:
    """Different runs of n words, of all such runs (distinct-n, Li et al. 2016)."""
    runs = [tuple(one[i : i + n]) for one in words for i in range(len(one) - n + 1)]
    return len(set(runs)) / len(runs) if runs else 0.0


def _spread(sizes: Sequence[int], vectors: Any) -> float:
    """Mean over labels of the mean cosine distance between their rows; labels of one row have none."""
    found, begin = [], 0
    for size in sizes:
        own = vectors[begin : begin + size]
        own = np.asarray(own.todense()) if hasattr(own, "todense") else np.asarray(own)
        begin += size
        if size > 1:
            own = own / np.maximum(np.linalg.norm(own, axis=1, keepdims=True), 1e-12)
            cosines = own @ own.T
            found.append(1 - (cosines.sum() - np.trace(cosines)) / (size * (size - 1)))
    return float(np.mean(found)) if found else 0.0


def _copies(texts: Sequence[str], near_copy: float) -> float:
    known, n = NearCopies((), near_copy), 0
    for text in texts:
        n += known.find(text) is not None
        known.add(text)
    return n / len(texts)
