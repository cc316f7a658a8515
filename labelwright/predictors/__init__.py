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

from labelwright.errors import BundleError, MissingExtraError
from labelwright.reading import AGAIN, opening, read_object

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
# File and key by which a kind names a model outside its folder.
_NAMING = {
    "embeddings": ("encoder.json", "encoder"),
    "nearest-label": ("encoder.json", "encoder"),
    "choices": ("encoder.json", "encoder"),
    "entailment": ("zero_shot.json", "model"),
    "gliclass": ("zero_shot.json", "model"),
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
    if not all(map(_is_label, values)):
        raise BundleError(f"labels such as {values[0]!r} cannot be saved: expected text or numbers")
    written = {"kind": predictor.kind, "labels": values}
    (folder / FILE).write_text(json.dumps(written, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def load_predictor(folder: Path) -> tuple[Predictor, list[Any]]:
    """A predictor and its labels.

    Raises
    ------
    BundleError
        If the folder holds none, one of a kind that this version does not know, or damaged files.
    MissingExtraError
        If what the kind needs is not installed.
    """
    kind, labels = kind_and_labels(folder)
    module, name = KINDS[kind]
    try:
        cls = getattr(importlib.import_module(module), name)
    except ImportError as error:
        extra = EXTRAS.get(kind, "")
        raise MissingExtraError(f'{folder}: needs more ({error}): pip install "labelwright[{extra}]"') from error
    with opening(folder):
        return cls.load(folder), labels


def kind_and_labels(folder: Path) -> tuple[str, list[Any]]:
    """What a predictor's folder says of itself. Loads and imports nothing. Raises BundleError as ``load_predictor``."""
    path = folder / FILE
    if not path.exists():
        raise BundleError(f"{folder}: no {FILE}; expected a folder written by save_predictor")
    try:
        written = read_object(path)
    except BundleError as error:
        raise BundleError(f"{error}: not as save_predictor writes it") from error
    kind, labels = written.get("kind"), written.get("labels")
    if isinstance(kind, str) and kind not in KINDS:
        raise BundleError(f"{path}: kind {kind!r}; this version knows {', '.join(KINDS)}")
    if not isinstance(kind, str) or not isinstance(labels, list) or not labels or not all(map(_is_label, labels)):
        raise BundleError(f"{path}: not as save_predictor writes it: expected a kind, and a list of labels; {AGAIN}")
    return kind, labels


def external_model(folder: Path) -> str:
    """The model outside its folder that a predictor needs: its sentence encoder, or the one it asks; empty for none.

    Raises
    ------
    BundleError
        As ``kind_and_labels``; or where the file that names the model is damaged.
    """
    kind, _ = kind_and_labels(folder)
    if kind not in _NAMING:
        return ""
    file, key = _NAMING[kind]
    path = folder / file
    # Those that name no encoder take the default.
    name = read_object(path).get(key) if path.exists() else "minilm"
    if not isinstance(name, str) or not name:
        raise BundleError(f"{path}: expected the name of a model under {key!r}; {AGAIN}")
    return name


def _is_label(value: Any) -> bool:
    return isinstance(value, str | int | float | bool)


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows of probabilities from rows of logits, in float64."""
    weights = np.exp(np.asarray(logits, dtype=np.float64) - logits.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)
