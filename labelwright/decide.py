"""A row's way: render, score, calibrate. Every stage, the classifier, the export and the server go through here."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from labelwright.bundle import Bundle
from labelwright.engine import Engine


def log_scores(bundle: Bundle, engine: Engine, texts: Sequence[str]) -> NDArray[np.float64]:
    """Uncalibrated option log-probabilities, shape (n_texts, n_labels)."""
    return engine.score(bundle.prompt.render_all(texts), bundle.prompt.options)


def probabilities(bundle: Bundle, engine: Engine, texts: Sequence[str]) -> NDArray[np.float64]:
    """Calibrated label probabilities, shape (n_texts, n_labels); each row sums to 1."""
    return bundle.calibration.apply(log_scores(bundle, engine, texts))
