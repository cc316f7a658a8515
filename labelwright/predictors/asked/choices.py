"""Multiple choice without a language model: how close each choice is to its question, as lettered texts.

Takes texts as ``labelwright.data.choices`` letters them; the columns are letters.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from labelwright.data.asked.classes import letters_of
from labelwright.data.choices import split_lettered
from labelwright.data.task import LETTERS
from labelwright.errors import BundleError
from labelwright.predictors.encoders.long_texts import LongTexts
from labelwright.predictors.encoders.sentence_encoder import DEFAULT, open_encoder
from labelwright.predictors.protocol import softmax
from labelwright.reading import AGAIN, read_object

_FILE = "choices.json"
_ENCODER = "encoder.json"
N_FEATURES = 5
Question = tuple[str, tuple[str, ...]]


@dataclass
class Choices:
    """Softmax over a row's own choices of weights times features.

    Attributes
    ----------
    n_letters : int
        Columns; 0 for letters that a row does not use.
    weights : tuple of float
        One for each of ``features``; empty for all choices alike, where no encoder is asked.
    encoder : str
        As in ``sentence_encoder.open_encoder``.
    long_texts : LongTexts
        What becomes of texts that the encoder does not read whole; set by whoever opens it.
    """

    n_letters: int
    weights: tuple[float, ...] = ()
    encoder: str = DEFAULT
    long_texts: LongTexts = field(default_factory=LongTexts, compare=False)

    kind: ClassVar[str] = "choices"

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Shape (n_texts, n_letters). Raises DataError for a text with more choices, or none."""
        scores = np.where(letters_of(texts, self.n_letters), 0.0, -np.inf)
        if self.weights:
            values = features([split_lettered(text) for text in texts], self.encoder, self.long_texts)
            for row, one in zip(scores, values, strict=True):
                row[: len(one)] = one @ np.array(self.weights)
        return softmax(scores)

    def save(self, folder: Path) -> None:
        """Write the numbers and the encoder's name."""
        about = {"n_letters": self.n_letters, "weights": self.weights}
        (folder / _FILE).write_text(json.dumps(about) + "\n", encoding="utf-8")
        (folder / _ENCODER).write_text(json.dumps({"encoder": self.encoder}) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Choices:
        """Read them. Raises BundleError where they are damaged."""
        about = read_object(folder / _FILE)
        n_letters, weights = about.get("n_letters"), about.get("weights", ())
        if type(n_letters) is not int or not 2 <= n_letters <= len(LETTERS) or not _are_weights(weights):
            raise BundleError(f"{folder / _FILE}: not as a classifier of choices writes it; {AGAIN}")
        return cls(n_letters, tuple(weights), read_object(folder / _ENCODER)["encoder"])

    def external_bytes(self) -> int:
        """Bytes of the encoder's files, where it is asked."""
        return open_encoder(self.encoder).size_bytes() if self.weights else 0


def features(
    rows: Sequence[Question], encoder: str = DEFAULT, long_texts: LongTexts | None = None
) -> list[NDArray[np.float64]]:
    """(n_choices, 5) a row: cosine, cosine above the row's mean, shared words, words, words above the row's mean."""
    found = []
    for (question, choices), cosine in zip(rows, _cosines(rows, encoder, long_texts), strict=True):
        asked = set(question.lower().split())
        shared = np.array([len(asked & set(choice.lower().split())) for choice in choices], dtype=np.float64)
        length = np.array([len(choice.split()) for choice in choices], dtype=np.float64)
        found.append(np.stack([cosine, cosine - cosine.mean(), shared, length, length - length.mean()], axis=1))
    return found


def _are_weights(value: Any) -> bool:
    """One number for each of ``features``, or none at all."""
    return (
        isinstance(value, list) and len(value) in (0, N_FEATURES) and all(isinstance(one, int | float) for one in value)
    )


def _cosines(rows: Sequence[Question], encoder: str, long_texts: LongTexts | None = None) -> list[NDArray[np.float64]]:
    opened = open_encoder(encoder)
    questions = opened.embed([question for question, _ in rows], long_texts=long_texts).astype(np.float64)
    each = [choice for _, choices in rows for choice in choices]
    choices = opened.embed(each, long_texts=long_texts).astype(np.float64)
    ends = np.cumsum([len(choices) for _, choices in rows])[:-1]
    return [part @ question for question, part in zip(questions, np.split(choices, ends), strict=True)]
