"""A scikit-learn pipeline from texts to probabilities, whatever is in it. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from labelwright.predictors import skops_file


class TextPipeline:
    """Texts through a fitted pipeline.

    Parameters
    ----------
    pipeline : sklearn.pipeline.Pipeline
        Fitted on texts and label positions 0 … n_labels - 1, with ``predict_proba``.
    """

    kind: ClassVar[str] = "pipeline"

    def __init__(self, pipeline: Any) -> None:
        self.pipeline = pipeline

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Shape (n_texts, n_labels)."""
        probs: NDArray[np.float64] = np.asarray(self.pipeline.predict_proba(list(texts)), dtype=np.float64)
        return probs

    def save(self, folder: Path) -> None:
        """Write the pipeline."""
        skops_file.dump(self.pipeline, folder)

    @classmethod
    def load(cls, folder: Path) -> TextPipeline:
        """Read it. Raises BundleError and MissingExtraError as ``skops_file.load``."""
        return cls(skops_file.load(folder))

    def external_bytes(self) -> int:
        """Nothing else is needed."""
        return 0
