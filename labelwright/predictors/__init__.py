"""What answers in place of a language model: fitted small classifiers as files, without pickle.

Owns the protocol and the folder's outer layout. Each kind is one file beside this one; ``baselines`` trains them, and
a bundle may hold one in place of a prompt and weights. Importing this loads no library.

A predictor's folder holds ``predictor.json`` (kind, labels) and whatever its kind writes: safetensors, JSON, or
scikit-learn estimators through skops.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from labelwright.errors import BundleError

FILE = "predictor.json"
# Where each kind lives; imported when one is loaded, and not before.
KINDS = {
    "prior": ("labelwright.predictors.prior", "Prior"),
    "ngrams": ("labelwright.predictors.ngrams", "Ngrams"),
    "pipeline": ("labelwright.predictors.pipeline", "TextPipeline"),
    "embeddings": ("labelwright.predictors.embeddings", "EmbeddingHead"),
    "nearest-label": ("labelwright.predictors.embeddings", "NearestLabel"),
    "finetuned": ("labelwright.predictors.finetuned", "FineTuned"),
    "entailment": ("labelwright.predictors.zero_shot", "Entailment"),
    "gliclass": ("labelwright.predictors.zero_shot", "Gliclass"),
    "choices": ("labelwright.predictors.choices", "Choices"),
}
# The extra of the package that brings what a kind needs; what is not named here needs none.
EXTRAS = {
    "pipeline": "sklearn",
    "embeddings": "embeddings",
    "nearest-label": "embeddings",
    "finetuned": "transformers",
    "entailment": "transformers",
    "gliclass": "gliclass",
    "choices": "embeddings",
}


class Predictor(Protocol):
    """Texts to probabilities.

    Attributes
    ----------
    kind : str
        Its name in ``KINDS``.
    """

    kind: ClassVar[str]

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Shape (n_texts, n_labels), rows in order, each summing to 1; columns in the order of the saved labels."""
        ...

    def save(self, folder: Path) -> None:
        """Write what ``load`` needs into an existing folder."""
        ...

    @classmethod
    def load(cls, folder: Path) -> Predictor:
        """Read what ``save`` wrote. Raises LabelwrightError where a file or a package is missing."""
        ...

    def external_bytes(self) -> int:
        """Bytes of the files that it needs besides its own folder: a shared encoder, a model by id."""
        ...


def save_predictor(predictor: Predictor, labels: Iterable[Any], folder: Path) -> None:
    """Write a predictor and its labels into a folder, which is made if it is not there.

    Raises
    ------
    BundleError
        Labels that JSON cannot hold.
    """
    folder.mkdir(parents=True, exist_ok=True)
    predictor.save(folder)
    values = [one.item() if isinstance(one, np.generic) else one for one in labels]
    if not all(isinstance(one, str | int | float | bool) for one in values):
        raise BundleError(f"labels such as {values[0]!r} cannot be saved: expected text or numbers")
    written = {"kind": predictor.kind, "labels": values}
    (folder / FILE).write_text(json.dumps(written, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def load_predictor(folder: Path) -> tuple[Predictor, list[Any]]:
    """A predictor and its labels.

    Raises
    ------
    BundleError
        If the folder holds none, or one of a kind that this version does not know.
    """
    kind, labels = kind_and_labels(folder)
    module, name = KINDS[kind]
    return getattr(importlib.import_module(module), name).load(folder), labels


def kind_and_labels(folder: Path) -> tuple[str, list[Any]]:
    """What a predictor's folder says of itself. Loads and imports nothing. Raises BundleError as ``load_predictor``."""
    path = folder / FILE
    if not path.is_file():
        raise BundleError(f"{folder}: no {FILE}; expected a folder written by save_predictor")
    try:
        written = json.loads(path.read_text(encoding="utf-8"))
        kind, labels = str(written["kind"]), list(written["labels"])
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{path}: not as save_predictor writes it ({error!r}); export again") from error
    if kind not in KINDS:
        raise BundleError(f"{path}: kind {kind!r}; this version knows {', '.join(KINDS)}")
    return kind, labels


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows of probabilities from rows of logits, in float64."""
    weights = np.exp(np.asarray(logits, dtype=np.float64) - logits.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)
