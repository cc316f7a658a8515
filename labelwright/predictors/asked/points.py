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
from labelwright.predictors.encoders.long_texts import LongTexts
from labelwright.predictors.encoders.sentence_encoder import one_pass
from labelwright.predictors.protocol import Predictor
from labelwright.predictors.store import POINT_FOLDER, load_predictor, point_folders, save_predictor
from labelwright.reading import AGAIN


class PerPoint:
    """Predictors side by side, each of other labels.

    Parameters
    ----------
    parts : sequence of (Predictor, labels)
        Of each point; columns are the labels of all of them, in order.
    """

    kind: ClassVar[str] = "points"

    def __init__(self, parts: Sequence[tuple[Predictor, Sequence[Any]]]) -> None:
        self.parts = [(predictor, list(labels)) for predictor, labels in parts]

    @property
    def labels(self) -> list[Any]:
        """What the columns stand for."""
        return [label for _, labels in self.parts for label in labels]

    @property
    def long_texts(self) -> LongTexts:
        """What becomes of texts that an encoder does not read whole: one for all points."""
        found = (getattr(predictor, "long_texts", None) for predictor, _ in self.parts)
        return next((one for one in found if one is not None), LongTexts())

    @long_texts.setter
    def long_texts(self, given: LongTexts) -> None:
        """The same for all of them."""
        for predictor, _ in self.parts:
            if hasattr(predictor, "long_texts"):
                predictor.long_texts = given

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Shape (n_texts, n_labels): each point's probabilities over the number of points."""
        # An encoder that several of them share reads each text once.
        with one_pass():
            found = [predictor.probabilities(texts) for predictor, _ in self.parts]
        return np.asarray(np.concatenate(found, axis=1) / len(self.parts))

    def save(self, folder: Path) -> None:
        """Write each into a folder of its own."""
        for number, (predictor, labels) in enumerate(self.parts):
            save_predictor(predictor, labels, folder / POINT_FOLDER.format(number))

    @classmethod
    def load(cls, folder: Path) -> PerPoint:
        """Read them. Raises BundleError where there are none, or as each does."""
        if not (folders := point_folders(folder)):
            raise BundleError(f"{folder}: no classifiers of points; {AGAIN}")
        return cls([load_predictor(one) for one in folders])

    def external_bytes(self) -> int:
        """Of what they need besides, once where they share it: the most that any of them needs."""
        return max(predictor.external_bytes() for predictor, _ in self.parts)
