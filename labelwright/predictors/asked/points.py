"""A small classifier for each point of a task: one against the rest where a question takes any of its labels.

Its columns are the classes of all points. Each point has the same share of a row's probability, so that a row still
adds up to 1, and what a row cannot be asked falls away where everything else does (``labelwright.decide``).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from labelwright.errors import BundleError
from labelwright.predictors.asked.parts import OfParts
from labelwright.predictors.encoders.sentence_encoder import one_pass
from labelwright.predictors.store import load_predictor, point_folders
from labelwright.reading import AGAIN


class PerPoint(OfParts):
    """Predictors side by side, each of other labels.

    Parameters
    ----------
    parts : sequence of (Predictor, labels)
        Of each point; columns are the labels of all of them, in order.
    """

    kind: ClassVar[str] = "points"

    @property
    def labels(self) -> list[Any]:
        """What the columns stand for."""
        return [label for _, labels in self.parts for label in labels]

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Shape (n_texts, n_labels): each point's probabilities over the number of points."""
        # An encoder that several of them share reads each text once.
        with one_pass():
            found = [predictor.probabilities(texts) for predictor, _ in self.parts]
        return np.asarray(np.concatenate(found, axis=1) / len(self.parts))

    @classmethod
    def load(cls, folder: Path) -> PerPoint:
        """Read them. Raises BundleError where there are none, or as each does."""
        if not (folders := point_folders(folder)):
            raise BundleError(f"{folder}: no classifiers of points; {AGAIN}")
        return cls([load_predictor(one) for one in folders])
