"""What a classifier says of rows, chunk by chunk, each kept as soon as it is answered.

Knows nothing of recipes and candidates, so what makes kept answers stale is what this file imports.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from labelwright.bundle.types import Bundle
from labelwright.engines.protocol import Engine
from labelwright.files import replacing, short_hash
from labelwright.labelling import score_rows
from labelwright.statistics.metrics import Floats, Ints

CHUNK_ROWS = 256


class Said(NamedTuple):
    """What a teacher says.

    Attributes
    ----------
    dev : ndarray of shape (n_dev,)
        Positions of the labels that it gives the dev rows; -1 of none.
    pool : ndarray of shape (n_pool, n_labels)
        Probabilities; zeros of a row that it does not answer.
    """

    dev: Ints
    pool: Floats


class Chunk(NamedTuple):
    """Rows that are asked at once, and the file of their answers."""

    texts: list[str]
    path: Path

    def ask(self, bundle: Bundle, engine: Engine) -> None:
        """Ask now and keep the answers; zeros of a row that is refused: too long, say."""
        found, silent = score_rows(bundle, engine, self.texts), np.zeros(len(bundle.task.names))
        with replacing(self.path) as part:
            np.savez(part, probs=np.stack([one if isinstance(one, np.ndarray) else silent for one in found]))

    def read(self) -> Floats:
        """What was answered, of shape (n_texts, n_labels)."""
        with np.load(self.path, allow_pickle=False) as kept:
            return np.asarray(kept["probs"])


def chunks(texts: Sequence[str], place: Path, who: object) -> list[Chunk]:
    """Texts in order, in chunks.

    Parameters
    ----------
    place : Path
        What the names of their files begin with.
    who : object
        All that the answers depend on besides the texts.
    """
    parts = [list(texts[start : start + CHUNK_ROWS]) for start in range(0, len(texts), CHUNK_ROWS)]
    return [Chunk(part, place.with_name(f"{place.name}-{short_hash([who, part])}.npz")) for part in parts]


def ask(left: Sequence[Chunk], bundle: Bundle, engine: Engine, say: Callable[[int, int], object]) -> None:
    """Ask chunks; ``say`` takes how many rows of how many are answered."""
    done, total = 0, sum(len(one.texts) for one in left)
    for one in left:
        say(done, total)
        one.ask(bundle, engine)
        done += len(one.texts)
