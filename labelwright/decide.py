"""A row's way: render, score, calibrate. Every stage, the classifier, the export and the server go through here."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from labelwright.bundle import Bundle
from labelwright.choices import present, rotations
from labelwright.engine import Engine
from labelwright.prompt import Prompt


def option_scores(prompt: Prompt, engine: Engine, texts: Sequence[str]) -> NDArray[np.float64]:
    """Option log-probabilities as the engine gives them, (n_texts, n_labels).

    Where rows bring their own choices, -inf for the letters that a row does not use.
    """
    if not prompt.by_row:
        return engine.score(prompt.render_all(texts), prompt.options)
    used = present(texts, len(prompt.options))
    return np.where(used, engine.score(prompt.render_all(texts), prompt.options), -np.inf)


def log_scores(bundle: Bundle, engine: Engine, texts: Sequence[str]) -> NDArray[np.float64]:
    """Uncalibrated log-scores, (n_texts, n_labels).

    They are the option log-probabilities; with ``calibration.rotations``, the mean over all cyclic orders of a row's
    choices of log P(choice), in which a liking for a letter cancels out.
    """
    if not (bundle.prompt.by_row and bundle.calibration.rotations):
        return option_scores(bundle.prompt, engine, texts)
    orders = [rotations(text) for text in texts]
    scores = option_scores(bundle.prompt, engine, [text for order in orders for text in order])
    out = np.full((len(texts), scores.shape[1]), -np.inf)
    start = 0
    for row, order in enumerate(orders):
        n = len(order)
        block = scores[start : start + n, :n]
        log_probs = block - np.logaddexp.reduce(block, axis=1, keepdims=True)
        # In order r, choice k stands behind letter k - r.
        out[row, :n] = [np.mean([log_probs[r, (k - r) % n] for r in range(n)]) for k in range(n)]
        start += n
    return out


def probabilities(bundle: Bundle, engine: Engine, texts: Sequence[str]) -> NDArray[np.float64]:
    """Calibrated label probabilities, shape (n_texts, n_labels); each row sums to 1."""
    return bundle.calibration.apply(log_scores(bundle, engine, texts))
