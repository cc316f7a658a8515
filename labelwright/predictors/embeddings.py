"""Sentence embeddings as classifiers: a trained head on them, or the nearest label text without training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from labelwright.errors import BundleError
from labelwright.predictors import skops_file
from labelwright.predictors.encoders.long_texts import LongTexts
from labelwright.predictors.encoders.sentence_encoder import open_encoder
from labelwright.predictors.protocol import softmax
from labelwright.reading import AGAIN, read_object, read_tensors

_FILE = "encoder.json"
_VECTORS = "labels.safetensors"
_COLDEST = 1e-9
_KERNEL_ROWS = 1000


class EmbeddingHead:
    """A scikit-learn classifier on sentence embeddings.

    Parameters
    ----------
    encoder : str
        As in ``sentence_encoder.open_encoder``.
    head : scikit-learn classifier
        Fitted on unit vectors and label positions 0 … n_labels - 1.
    """

    kind: ClassVar[str] = "embeddings"

    def __init__(self, encoder: str, head: Any) -> None:
        self.encoder = encoder
        self.head = head
        self.long_texts = LongTexts()

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Shape (n_texts, n_labels)."""
        return head_probabilities(self.head, open_encoder(self.encoder).embed(texts, long_texts=self.long_texts))

    def save(self, folder: Path) -> None:
        """Write the head and the encoder's name."""
        skops_file.dump(self.head, folder)
        (folder / _FILE).write_text(json.dumps({"encoder": self.encoder}) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> EmbeddingHead:
        """Read them. Raises BundleError and MissingExtraError as ``skops_file.load``."""
        return cls(read_object(folder / _FILE)["encoder"], skops_file.load(folder))

    def external_bytes(self) -> int:
        """Bytes of the encoder's files."""
        return open_encoder(self.encoder).size_bytes()


class NearestLabel:
    """Zero-shot: softmax(cosine(text, label text) / temperature).

    Parameters
    ----------
    encoder : str
        As in ``sentence_encoder.open_encoder``.
    vectors : float32 array (n_labels, n_dimensions)
        Unit vectors of the label texts.
    temperature : float, above 0
    """

    kind: ClassVar[str] = "nearest-label"

    def __init__(self, encoder: str, vectors: NDArray[np.float32], temperature: float) -> None:
        self.encoder = encoder
        self.long_texts = LongTexts()
        self.vectors = vectors
        self.temperature = temperature

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Shape (n_texts, n_labels)."""
        vectors = open_encoder(self.encoder).embed(texts, long_texts=self.long_texts).astype(np.float64)
        return softmax(vectors @ self.vectors.T / self.temperature)

    def save(self, folder: Path) -> None:
        """Write the label vectors and the encoder's name."""
        save_file({"labels": np.ascontiguousarray(self.vectors)}, folder / _VECTORS)
        about = {"encoder": self.encoder, "temperature": self.temperature}
        (folder / _FILE).write_text(json.dumps(about) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> NearestLabel:
        """Read them. Raises BundleError where they are damaged."""
        about = read_object(folder / _FILE)
        temperature = about["temperature"]
        if not isinstance(temperature, int | float) or not _COLDEST <= temperature <= 1 / _COLDEST:
            raise BundleError(f"{folder / _FILE}: temperature is {temperature!r}, expected a number above 0; {AGAIN}")
        return cls(about["encoder"], read_tensors(folder / _VECTORS, {"labels": 2})["labels"], temperature)

    def external_bytes(self) -> int:
        """Bytes of the encoder's files."""
        return open_encoder(self.encoder).size_bytes()


def head_probabilities(head: Any, vectors: NDArray[Any]) -> NDArray[np.float64]:
    """What a fitted scikit-learn classifier says of vectors, (n_rows, n_labels).

    Without ``predict_proba`` its decision values are taken for logits, or the numbers that a regression of every label
    predicts. To the votes of nearest neighbours one is added,
    spread evenly over all labels: a label that none of them has is unlikely, not impossible.
    """
    if not hasattr(head, "predict_proba"):
        return softmax(_margins(head, vectors))
    probs: NDArray[np.float64] = np.asarray(head.predict_proba(vectors), dtype=np.float64)
    n_votes = getattr(head, "n_neighbors", None)
    if n_votes is not None:
        probs = (n_votes * probs + 1 / probs.shape[1]) / (n_votes + 1)
    # Those of float32 heads sum to 1 in float32.
    return probs / probs.sum(axis=1, keepdims=True)


def _margins(head: Any, vectors: NDArray[Any]) -> NDArray[np.float64]:
    """Decision values as logits; scikit-learn gives one column where there are two labels."""
    if not hasattr(head, "decision_function"):
        # A kernel's rows by the rows it was fitted on, some at a time.
        parts = [head.predict(vectors[i : i + _KERNEL_ROWS]) for i in range(0, max(1, len(vectors)), _KERNEL_ROWS)]
        return np.concatenate(parts).astype(np.float64)
    values = np.asarray(head.decision_function(vectors), dtype=np.float64)
    return np.stack([-values / 2, values / 2], axis=1) if values.ndim == 1 else values
