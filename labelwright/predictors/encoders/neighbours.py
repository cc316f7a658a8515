"""Which labelled rows of a pool are most like a text, by sentence embedding, and in which order they are shown.

``labelwright.decide`` asks before it renders; how they are written down is ``labelwright.prompt``'s. The encoder is
opened when a text is looked up, and not before: reading or writing a bundle needs none.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from labelwright.data.task import normalise
from labelwright.predictors.encoders.sentence_encoder import open_encoder
from labelwright.prompt import Demo, Neighbours


def nearest(neighbours: Neighbours, texts: Sequence[str]) -> list[tuple[Demo, ...]]:
    """The rows to show with each text, the most similar one last, next to the text.

    A text's own row in the pool, recognised by equal normalised text, is never among them, nor is one of its group.

    Raises
    ------
    MissingExtraError, ModelError
        Where the encoder cannot be opened.
    """
    if not texts:
        return []
    pool_vectors, pool_keys = _indexed(neighbours.pool, neighbours.encoder)
    # Texts that are looked up are embedded every time, so that what an answer costs can be measured.
    similarities = open_encoder(neighbours.encoder).embed(texts) @ pool_vectors.T  # (n_texts, n_pool)
    known = set(pool_keys)
    return [
        _best(neighbours, row, _hidden(neighbours, pool_keys, key) if key in known else None)
        for row, key in zip(similarities, map(normalise, texts), strict=True)
    ]


def _best(
    neighbours: Neighbours, similarities: NDArray[np.float32], hidden: NDArray[np.bool_] | None
) -> tuple[Demo, ...]:
    # Rounded, so that the last bits, which depend on the batch a text is embedded in, decide nothing.
    order = np.argsort(-similarities.round(4), kind="stable")
    if hidden is not None:
        order = order[~hidden[order]]
    return tuple(neighbours.pool[i] for i in order[: neighbours.k][::-1])


def _hidden(neighbours: Neighbours, pool_keys: Sequence[str], key: str) -> NDArray[np.bool_]:
    """(n_pool,): the rows that a text of the pool may not see, which are itself and its group."""
    same = np.array([one == key for one in pool_keys])
    return same if not neighbours.groups else np.isin(neighbours.groups, np.asarray(neighbours.groups)[same])


@lru_cache(maxsize=4)
def _indexed(pool: tuple[Demo, ...], encoder: str) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """The pool's vectors and normalised texts, once a process."""
    texts = [text for text, _ in pool]
    return open_encoder(encoder).embed(texts, remember=True), tuple(map(normalise, texts))
