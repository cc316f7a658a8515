"""From answers to counts: which label, how confident, how many known words, how near to the train rows.

A row becomes one of a few kinds in each of these, and nothing else of it is kept. All is counted in the same way of dev
rows, of answers in a file and, without a text, of a server's answers.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from labelwright.bundle.reference import EDGES, LABELS, LEAST_GROUPS, N_BUCKETS
from labelwright.watch.answers import Answer

Embed = Callable[[Sequence[str]], NDArray[np.float32]]

# Words; in writing without spaces every character is one.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|(?:(?![\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af])\w)+")


class Sketch:
    """Counts answers.

    Parameters
    ----------
    names : sequence of str
        The labels that are counted (``labelwright.data.asked.asking.Asking.watched``); a single one stands for any.
    known : bytes
        The known buckets, a bit each; empty where none are kept, and words are not looked at.
    centres : float32 array (n_centres, n_dimensions), optional
    embed : callable, optional
        From texts to unit vectors; without it, or without centres, the likeness is not looked at.

    Attributes
    ----------
    names : tuple of str
    """

    def __init__(
        self,
        names: Sequence[str],
        known: bytes,
        centres: NDArray[np.float32] | None = None,
        embed: Embed | None = None,
    ) -> None:
        self.names = tuple(names)
        self._position = {name: place for place, name in enumerate(names)}
        self._known = frozenset(np.flatnonzero(np.unpackbits(np.frombuffer(known, np.uint8))).tolist())
        self._has_words = bool(known)
        self._centres = centres
        self._embed = embed

    def counts(self, rows: Sequence[Answer], n_embedded: int | None = None) -> dict[str, NDArray[np.int64]]:
        """Rows of each kind. What the rows do not have is not among them.

        Parameters
        ----------
        n_embedded : int, optional
            Texts that are embedded at most, spread evenly over the rows: an encoder takes its time.
        """
        only = len(self.names) == 1
        kinds = [
            len(self.names) if row.label is None else 0 if only else self._position.get(row.label, len(self.names))
            for row in rows
        ]
        found = {LABELS: np.bincount(np.array(kinds, np.int64), minlength=len(self.names) + 1).astype(np.int64)}
        texts = [row.text for row in rows if row.text is not None]
        if confidences := [row.confidence for row in rows if row.confidence is not None]:
            found["confidence"] = binned("confidence", np.array(confidences))
        if texts and self._has_words:
            found["words"] = binned("words", np.array([self._known_share(text) for text in texts]))
        if texts and self._centres is not None and self._embed is not None and n_embedded != 0:
            chosen = texts if n_embedded is None else texts[:: -(-len(texts) // n_embedded)]
            found["likeness"] = binned("likeness", (self._embed(chosen) @ self._centres.T).max(axis=1))
        return found

    def _known_share(self, text: str) -> float:
        """The share of a text's words that are known; 0 of none."""
        found = words(text)
        return sum(bucket(word) in self._known for word in found) / len(found) if found else 0.0


def binned(name: str, values: NDArray[np.floating]) -> NDArray[np.int64]:
    """How many values lie between two of ``EDGES[name]``; one on an edge lies above it."""
    edges = EDGES[name]
    # What float32 rounds is on no edge by accident only.
    places = np.searchsorted(edges, np.asarray(values, np.float64), side="right")
    return np.bincount(places, minlength=len(edges) + 1).astype(np.int64)


def known_words(texts: Iterable[tuple[str, str]]) -> bytes:
    """The buckets that ``LEAST_GROUPS`` groups share, as bits.

    Parameters
    ----------
    texts : iterable of (text, group)
    """
    groups: dict[int, set[str]] = {}
    for text, group in texts:
        for one in set(map(bucket, words(text))):
            held = groups.setdefault(one, set())
            if len(held) < LEAST_GROUPS:
                held.add(group)
    bits = np.zeros(N_BUCKETS, bool)
    bits[[one for one, held in groups.items() if len(held) >= LEAST_GROUPS]] = True
    return np.packbits(bits).tobytes()


def words(text: str) -> list[str]:
    """The words of a text, in lower case.

    >>> words("The pool's GREEN, 泳池 2x")
    ['the', 'pool', 's', 'green', '泳', '池', '2x']
    """
    return _WORD.findall(text.lower())


@lru_cache(maxsize=1 << 16)
def bucket(word: str) -> int:
    """Where a word is counted: many words share a place, and none can be told from it."""
    return zlib.crc32(word.encode("utf-8", "replace")) % N_BUCKETS


def centres_of(
    vectors: NDArray[np.float32], labels: Sequence[str], groups: Sequence[str], most: int
) -> NDArray[np.float32]:
    """Unit vectors, the mean of each label's rows, of the ``most`` labels with the most groups.

    A label with fewer than ``LEAST_GROUPS`` groups has none; where that is every label, the mean of all rows is taken,
    and no centre, an array of shape (0, n_dimensions), where there are too few groups in all.
    """
    sizes = Counter(label for label, _ in set(zip(labels, groups, strict=True)))
    held = [label for label, size in sizes.most_common(most) if size >= LEAST_GROUPS]
    of = np.asarray(labels)
    means = [vectors[of == label].mean(axis=0) for label in sorted(held)]
    if not means and len(set(groups)) >= LEAST_GROUPS:
        means = [vectors.mean(axis=0)]
    found = np.array(means, np.float32).reshape(len(means), vectors.shape[1])
    return np.asarray(found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12), np.float32)
