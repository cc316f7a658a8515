"""Multiple choice without a language model: how close each choice is to its question, as lettered texts.

Takes texts as ``labelwright.choices`` letters them; the columns are letters.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from labelwright.choices import split_lettered
from labelwright.predictors import softmax
from labelwright.predictors.sentence_encoder import open_encoder

_FILE = "choices.json"
Question = tuple[str, tuple[str, ...]]


@dataclass(frozen=True)
class Choices:
    """Softmax over a row's own choices of weights times features.

    Attributes
    ----------
    n_letters : int
        Columns; 0 for letters that a row does not use.
    weights : tuple of float
        One for each of ``features``; empty for all choices alike.
    """

    n_letters: int
    weights: tuple[float, ...] = ()

    kind: ClassVar[str] = "choices"

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Shape (n_texts, n_letters)."""
        rows = [split_lettered(text) for text in texts]
        scores = np.full((len(rows), self.n_letters), -np.inf)
        values = [np.zeros((len(choices), 0)) for _, choices in rows] if not self.weights else features(rows)
        for row, one in zip(scores, values, strict=True):
            row[: len(one)] = one @ np.array(self.weights)
        return softmax(scores)

    def save(self, folder: Path) -> None:
        """Write the numbers."""
        (folder / _FILE).write_text(json.dumps(asdict(self)) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Choices:
        """Read them."""
        about = json.loads((folder / _FILE).read_text(encoding="utf-8"))
        return cls(about["n_letters"], tuple(about["weights"]))

    def external_bytes(self) -> int:
        """Bytes of the encoder's files, where it is asked."""
        return open_encoder().size_bytes() if self.weights else 0


def features(rows: Sequence[Question]) -> list[NDArray[np.float64]]:
    """(n_choices, 5) a row: cosine, cosine above the row's mean, shared words, words, words above the row's mean."""
    found = []
    for (question, choices), cosine in zip(rows, _cosines(rows), strict=True):
        asked = set(question.lower().split())
        shared = np.array([len(asked & set(choice.lower().split())) for choice in choices], dtype=np.float64)
        length = np.array([len(choice.split()) for choice in choices], dtype=np.float64)
        found.append(np.stack([cosine, cosine - cosine.mean(), shared, length, length - length.mean()], axis=1))
    return found


def _cosines(rows: Sequence[Question]) -> list[NDArray[np.float64]]:
    encoder = open_encoder()
    questions = encoder.embed([question for question, _ in rows]).astype(np.float64)
    choices = encoder.embed([choice for _, choices in rows for choice in choices]).astype(np.float64)
    ends = np.cumsum([len(choices) for _, choices in rows])[:-1]
    return [part @ question for question, part in zip(questions, np.split(choices, ends), strict=True)]
