"""What the encoder and the bundle say of a corpus's texts, asked once and kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from labelwright.bundle.files import bundle_identity
from labelwright.bundle.types import Bundle
from labelwright.engines.protocol import Engine
from labelwright.engines.settings import EngineSettings
from labelwright.files import short_hash
from labelwright.labelling import score_rows
from labelwright.predictors.encoders.sentence_encoder import open_encoder
from labelwright.statistics.metrics import Floats, Ints
from workbench.retrieval.kept import Kept

# What an encoder says of these stands for its weights, and the long one for how much it reads, wherever its files lie
# and whatever they are called.
_PROBE = "The quick brown fox jumps over the lazy dog."
PROBES = (_PROBE, " ".join(f"{_PROBE} {i}" for i in range(1000)))

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Said:
    """What the bundle says of queries.

    Attributes
    ----------
    probs : ndarray of shape (n_queries, n_labels)
        Calibrated; a row of zeros where there is no answer.
    category : int ndarray of shape (n_queries,)
        The label that its decision gives, below 0 where it gives none.
    """

    probs: Floats
    category: Ints

    def at(self, queries: Sequence[int]) -> Said:
        """Of some queries."""
        chosen = list(queries)
        return Said(self.probs[chosen], self.category[chosen])


def embedded(texts: Sequence[str], encoder: str, kept: Path, progress: Progress) -> NDArray[np.float32]:
    """Unit vectors of texts, (n_texts, n_dimensions).

    Raises
    ------
    MissingExtraError, ModelError
        As ``labelwright.predictors.encoders.sentence_encoder.open_encoder``.
    """
    model = open_encoder(encoder)
    # To the last bit: where a machine adds in another order all is embedded anew, which costs time and no truth.
    content = model.embed(PROBES).tolist()
    return Kept(kept / f"encoder-{short_hash(content)}").rows(texts, model.embed, progress)


def answered(
    texts: Sequence[str],
    bundle: Bundle,
    engine: Engine,
    folder: Path,
    settings: EngineSettings,
    kept: Path,
    progress: Progress,
) -> Said:
    """What a bundle says of texts.

    Parameters
    ----------
    folder : Path
        Of the bundle: what is kept is kept by the hash of its files, and of the settings of its engine.
    """
    name = f"bundle-{short_hash([bundle_identity(folder), asdict(settings)])}"
    rows = Kept(kept / name).rows(texts, lambda new: answers_with(bundle, engine, new), progress)
    return _said(bundle, rows.astype(np.float64))


def answers_with(bundle: Bundle, engine: Engine, texts: Sequence[str]) -> NDArray[np.float32]:
    """Probabilities, and in a last column whether a text belongs to no label, (n_texts, n_labels + 1)."""
    silent = np.zeros(len(bundle.task.names))
    each = score_rows(bundle, engine, list(texts))
    probs = np.stack([one if isinstance(one, np.ndarray) else silent for one in each])
    outside = bundle.outside(list(texts), probs)
    last = np.zeros(len(texts)) if outside is None else np.asarray(outside, dtype=np.float64)
    return np.column_stack([probs, last]).astype(np.float32)


def decided(bundle: Bundle, probs: Floats, outside: NDArray[np.bool_]) -> Ints:
    """The label that the bundle gives each row, (n_rows,), below 0 for none."""
    said: Ints = bundle.decision.decide(probs, outside if bundle.scope is not None else None).said
    return said


def _said(bundle: Bundle, rows: Floats) -> Said:
    probs = rows[:, :-1]
    return Said(probs, decided(bundle, probs, rows[:, -1] > 0))
