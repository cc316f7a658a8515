"""Labelled rows that are shown to the model with the rows that they are most like.

Owns the pool and the look-up: which of its rows are nearest to a text by sentence embedding, and in which order they
are shown. How they are written down is ``labelwright.prompt``'s. The encoder is opened when a text is looked up, and
not before: reading or writing a bundle needs none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from labelwright.data.task import normalise
from labelwright.errors import RecipeError

Demo = tuple[str, str]


@dataclass(frozen=True)
class Neighbours:
    """A pool of labelled rows, and how many of them a row is shown.

    Parameters
    ----------
    pool : tuple of (text, label name)
    k : int, at least 1
        Rows shown; fewer where the pool has no more.
    encoder : str
        As ``labelwright.predictors.encoders.sentence_encoder.open_encoder`` takes it.
    groups : tuple of int, optional
        One a pool row. Where a text is itself in the pool (a training row), its whole group is left out: a paraphrase
        from the same hand is nearer than anything that a new row will find.

    Raises
    ------
    RecipeError
        k below 1, an empty pool, or groups of another length.
    """

    pool: tuple[Demo, ...]
    k: int
    encoder: str = "minilm"
    groups: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.k < 1 or not self.pool:
            raise RecipeError(f"neighbours: k = {self.k} of a pool of {len(self.pool)} rows: expected at least 1 of 1")
        if self.groups and len(self.groups) != len(self.pool):
            raise RecipeError(f"neighbours: {len(self.groups)} groups for {len(self.pool)} rows: expected one a row")

    def nearest(self, texts: Sequence[str]) -> list[tuple[Demo, ...]]:
        """The rows to show with each text, the most similar one last, next to the text.

        A text's own row in the pool, recognised by equal normalised text, is never among them.
        """
        if not texts:
            return []
        pool_vectors, normalised = _indexed(self.pool, self.encoder)
        similarities = _embed(texts, self.encoder) @ pool_vectors.T
        own = [normalise(text) for text in texts]
        known = set(normalised)
        return [
            self._best(row, self._own(normalised, key) if key in known else None)
            for row, key in zip(similarities, own, strict=True)
        ]

    def first(self) -> tuple[Demo, ...]:
        """As many rows of the pool as a text is shown, whatever the text; no encoder is opened."""
        return self.pool[: self.k]

    def _best(self, similarities: NDArray[np.float32], own: NDArray[np.bool_] | None) -> tuple[Demo, ...]:
        # Rounded, so that the last bits, which depend on the batch a text is embedded in, decide nothing.
        order = np.argsort(-similarities.round(4), kind="stable")
        if own is not None:
            order = order[~own[order]]
        return tuple(self.pool[i] for i in order[: self.k][::-1])

    def _own(self, normalised: Sequence[str], key: str) -> NDArray[np.bool_]:
        """Which pool rows a text may not see: itself, and its group."""
        same = np.array([one == key for one in normalised])
        return same if not self.groups else np.isin(self.groups, np.asarray(self.groups)[same])


@lru_cache(maxsize=4)
def _indexed(pool: tuple[Demo, ...], encoder: str) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """The pool's vectors and normalised texts, once a process."""
    texts = [text for text, _ in pool]
    return _embed(texts, encoder, remember=True), tuple(map(normalise, texts))


def _embed(texts: Sequence[str], encoder: str, remember: bool = False) -> NDArray[np.float32]:
    from labelwright.predictors.encoders.sentence_encoder import open_encoder

    # Texts that are looked up are embedded every time, so that what an answer costs can be measured.
    return open_encoder(encoder).embed(texts, remember)
