"""Predictors as folders: which kinds there are, and how one is written and read.

A folder holds ``predictor.json`` (kind, labels) and whatever its kind writes: safetensors, JSON, or scikit-learn
estimators through skops. Importing this loads no library.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from labelwright.errors import BundleError, MissingExtraError
from labelwright.predictors.protocol import Predictor
from labelwright.reading import AGAIN, opening, read_object

FILE = "predictor.json"
# Where a classifier of several points keeps that of each, by number.
POINT_FOLDER = "point-{:03}"
_POINT_FOLDER = re.compile(r"point-\d{3,}")


class Kind(NamedTuple):
    """Where a kind of predictor lives, imported when one is loaded.

    Attributes
    ----------
    what : str
        What it is, for a bundle's card.
    extra : str
        Of the package, which brings what it needs; empty for none.
    naming : (file, key), optional
        Where its folder names a model outside of it.
    on_gpu : bool
        It computes on a GPU where there is one.
    """

    module: str
    predictor: str
    what: str
    extra: str = ""
    naming: tuple[str, str] | None = None
    on_gpu: bool = False


_ENCODER = ("encoder.json", "encoder")
_ASKED = ("zero_shot.json", "model")
KINDS = {
    "prior": Kind(
        "labelwright.predictors.prior",
        "Prior",
        "answers every text with the same probabilities, the shares of the labels among the training rows",
    ),
    "ngrams": Kind("labelwright.predictors.ngrams", "Ngrams", "a linear model on n-grams of words or characters"),
    "pipeline": Kind("labelwright.predictors.pipeline", "TextPipeline", "a scikit-learn pipeline", "sklearn"),
    "embeddings": Kind(
        "labelwright.predictors.embeddings",
        "EmbeddingHead",
        "a scikit-learn classifier on sentence embeddings",
        "embeddings",
        _ENCODER,
    ),
    "nearest-label": Kind(
        "labelwright.predictors.embeddings",
        "NearestLabel",
        "the label whose text is nearest to the message, by sentence embeddings",
        "embeddings",
        _ENCODER,
    ),
    "finetuned": Kind(
        "labelwright.predictors.finetuned",
        "FineTuned",
        "a fine-tuned transformer with a classification head",
        "transformers",
        on_gpu=True,
    ),
    "onnx": Kind(
        "labelwright.predictors.onnx",
        "Onnx",
        "a transformer with a classification head, as an ONNX graph",
        "onnx",
    ),
    "entailment": Kind(
        "labelwright.predictors.zero_shot",
        "Entailment",
        "a model of natural language inference, asked whether the message is about a label",
        "transformers",
        _ASKED,
        on_gpu=True,
    ),
    "gliclass": Kind(
        "labelwright.predictors.zero_shot",
        "Gliclass",
        "a GLiClass model, which reads the message together with the labels",
        "gliclass",
        _ASKED,
        on_gpu=True,
    ),
    "ordinal": Kind(
        "labelwright.predictors.asked.ordinal",
        "Ordinal",
        "a logistic regression for each boundary between two levels, on sentence embeddings",
        "embeddings",
        _ENCODER,
    ),
    "tree": Kind(
        "labelwright.predictors.asked.tree",
        "LocalTree",
        "a classifier at each inner node of the tree of labels, multiplied down each label's path",
    ),
    "points": Kind(
        "labelwright.predictors.asked.points",
        "PerPoint",
        "a classifier for each of the points that are asked of a row",
    ),
    "choices": Kind(
        "labelwright.predictors.asked.choices",
        "Choices",
        "picks the choice that is nearest to its question, by sentence embeddings and shared words",
        "embeddings",
        _ENCODER,
    ),
}


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
    known = KINDS[kind]
    try:
        cls = getattr(importlib.import_module(known.module), known.predictor)
    except ImportError as error:
        raise MissingExtraError(f'{folder}: needs more ({error}): pip install "labelwright[{known.extra}]"') from error
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
    naming = KINDS[kind].naming
    if kind == "points":
        named = {external_model(one) for one in point_folders(folder)} - {""}
        if len(named) > 1:
            raise BundleError(f"{folder}: its points name the models {', '.join(sorted(named))}; expected one; {AGAIN}")
        return next(iter(named), "")
    if naming is None:
        return ""
    file, key = naming
    path = folder / file
    # Those that name no encoder take the default.
    name = read_object(path).get(key) if path.exists() else "minilm"
    if not isinstance(name, str) or not name:
        raise BundleError(f"{path}: expected the name of a model under {key!r}; {AGAIN}")
    return name


def encoder_name(folder: Path) -> str:
    """The sentence encoder that reads the texts of a predictor; empty for none. Raises as ``external_model``."""
    kind, _ = kind_and_labels(folder)
    if kind == "points":
        return next(filter(None, map(encoder_name, point_folders(folder))), "")
    return external_model(folder) if KINDS[kind].naming == _ENCODER else ""


def takes_gpu(folder: Path) -> bool:
    """Whether a predictor, or a part of it, computes on a GPU where there is one. Raises as ``kind_and_labels``."""
    kind, _ = kind_and_labels(folder)
    return KINDS[kind].on_gpu or any(map(takes_gpu, point_folders(folder)))


def point_folders(folder: Path) -> list[Path]:
    """Where a classifier of several points keeps that of each, in order; none for one of another kind."""
    return sorted(one for one in folder.iterdir() if one.is_dir() and _POINT_FOLDER.fullmatch(one.name))


def _is_label(value: Any) -> bool:
    return isinstance(value, str | int | float | bool)
