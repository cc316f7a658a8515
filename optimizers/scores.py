"""Scores of rows under a bundle, kept in a stage's folder for after an interruption; and what they say on dev.

How stages choose on dev is one rule and stands here: by accuracy, and where that is equal by log loss.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from labelwright.bundle.types import Bundle
from labelwright.data.task import Example
from labelwright.decide import log_scores, render_rows
from labelwright.files import folder_digest, replacing
from labelwright.models.weights import Adapter, Full, Predictor, Weights
from labelwright.statistics.metrics import Floats, Ints, accuracy, log_loss
from optimizers.stage import StageContext

# Rows are scored in slices of this many, only to show progress.
_SLICE_ROWS = 32


def kept_scores(bundle: Bundle, rows: Sequence[Example], context: StageContext, name: str) -> Floats:
    """Log-scores of shape (n_rows, n_labels), from ``<name>_scores.npz`` where that holds the same question.

    Every option's to its end, for what is fitted on them is not known yet. The same question is one about the same
    rows under the same prompt and the same weights, by their content.

    Parameters
    ----------
    bundle : Bundle
        Its calibration counts only for its rotations.
    name : str
        Of the rows, for the file and for progress.
    """
    path = context.folder / f"{name}_scores.npz"
    texts = [row.text for row in rows]
    asked = [
        "to the end",
        weights_fingerprint(bundle.weights),
        str(bundle.calibration.rotations),
        *bundle.prompt.options,
        *(one.text for one in render_rows(bundle.prompt, texts)),
    ]
    key = hashlib.sha256("\0".join(asked).encode()).hexdigest()
    known = _read_scores(path, key)
    if known is not None:
        return known
    engine = context.open_engine(bundle.weights)
    parts = []
    for start in range(0, len(texts), _SLICE_ROWS):
        context.tracker.progress(start, len(texts), f"scoring {name}")
        parts.append(log_scores(bundle, engine, texts[start : start + _SLICE_ROWS]))
    scores = np.concatenate(parts)
    with replacing(path) as part:
        np.savez(part, scores=scores, ids=np.array([row.id for row in rows]), key=np.array(key))
    return scores


def weights_fingerprint(weights: Weights) -> str:
    """What tells weights apart: the base's name, and what is in the folders, wherever they lie.

    A folder whose files were replaced holds other weights; the same files elsewhere are the same.
    """
    folders: list[Path | None] = [Path(weights.base)]
    folders += [weights.folder if isinstance(weights, kind) else None for kind in (Adapter, Full, Predictor)]
    # A base that is a folder is called by its place, and that says nothing.
    name = "" if Path(weights.base).is_dir() else weights.base
    return "\n".join([name, *(folder_digest(one) if one is not None and one.is_dir() else "" for one in folders)])


def gold_of(bundle: Bundle, rows: Sequence[Example]) -> Ints:
    """Positions of the rows' labels, shape (n_rows,)."""
    return np.array([bundle.task.index(row.label) for row in rows], dtype=np.int64)


def dev_numbers(probs: Floats, gold: Ints) -> dict[str, float]:
    """accuracy and log_loss of probabilities (n_rows, n_labels)."""
    return {"accuracy": float(accuracy(probs, gold)), "log_loss": float(log_loss(probs, gold))}


def rank(numbers: Mapping[str, Any], suffix: str = "") -> tuple[float, float]:
    """What to choose by, the highest being the best.

    >>> rank({"accuracy": 0.5, "log_loss": 1.0}) > rank({"accuracy": 0.5, "log_loss": 1.2})
    True
    """
    return numbers[f"accuracy{suffix}"], -numbers[f"log_loss{suffix}"]


def _read_scores(path: Path, key: str) -> Floats | None:
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as stored:
        scores: Floats = stored["scores"]
        return scores if str(stored["key"]) == key else None
