"""What predictors that are made of several have in common: a folder a part, and how long texts are read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from labelwright.predictors.encoders.long_texts import LongTexts
from labelwright.predictors.protocol import Predictor
from labelwright.predictors.store import POINT_FOLDER, save_predictor


class OfParts:
    """Predictors side by side.

    Parameters
    ----------
    parts : sequence of (Predictor, labels)
        Each with what its columns are.
    """

    def __init__(self, parts: Sequence[tuple[Predictor, Sequence[Any]]]) -> None:
        self.parts = [(predictor, list(labels)) for predictor, labels in parts]

    @property
    def long_texts(self) -> LongTexts:
        """What becomes of texts that an encoder does not read whole: one for all parts."""
        found = (getattr(predictor, "long_texts", None) for predictor, _ in self.parts)
        return next((one for one in found if one is not None), LongTexts())

    @long_texts.setter
    def long_texts(self, given: LongTexts) -> None:
        """The same for all of them."""
        for predictor, _ in self.parts:
            if hasattr(predictor, "long_texts"):
                predictor.long_texts = given

    def save(self, folder: Path) -> None:
        """Write each into a folder of its own."""
        for number, (predictor, labels) in enumerate(self.parts):
            save_predictor(predictor, labels, folder / POINT_FOLDER.format(number))

    def external_bytes(self) -> int:
        """Of what they need besides, once where they share it: the most that any of them needs."""
        return max(predictor.external_bytes() for predictor, _ in self.parts)
