"""What a recipe may set of each baseline, and within which ranges. Defaults are the estimators' own.

Stands apart from the estimators so that a recipe is refused when it is read, without importing torch or scikit-learn.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from labelwright.engines.settings import BACKENDS, device_fault
from labelwright.settings import ABOVE_ZERO, SHARE, Check, Choice, Items, Range, Text, read_value

Settings = Mapping[str, Any]

# Shortest and longest run of words, or of characters, that the linear baselines look at.
LENGTHS: Mapping[str, tuple[int, int]] = {"sgd-ngrams": (1, 2), "sgd-chars": (2, 5)}

# What can stand at the nodes of a tree: linear, or a head on embeddings.
FAMILIES = ("sgd-ngrams", "sgd-chars", "minilm-logreg", "minilm-svm", "minilm-mlp", "minilm-knn", "minilm-kernel",
            "static-logreg")  # fmt: skip

_NAME = Annotated[str, Text(least=1)]
_RATE = Annotated[float, Range(0, 10, "(]")]
_COUNT = Annotated[int, Range(1, 1_000_000)]
_DEVICE = Annotated[str, Check(device_fault)]
_DTYPE = Annotated[str, Choice(BACKENDS["transformers"].dtypes)]
_DESCRIPTIONS = Mapping[str, str]

NONE: Settings = {}
LINEAR: Settings = {
    "analyzer": Literal["word", "char"],
    "shortest": Annotated[int, Range(1, 50)],
    "longest": Annotated[int, Range(1, 50)],
    "n_features": Annotated[int, Range(0, 2**26)],
    "alpha": Annotated[float, ABOVE_ZERO],
    "max_iter": _COUNT,
}
EMBEDDINGS: Settings = {
    "head": Literal["logreg", "svm", "mlp", "knn", "kernel"],
    "encoder": _NAME,
    "strengths": Annotated[tuple[Annotated[float, ABOVE_ZERO], ...], Items(least=1)],
    "widths": Annotated[tuple[Annotated[float, ABOVE_ZERO], ...], Items(least=1)],
}
ORDINAL: Settings = {key: EMBEDDINGS[key] for key in ("encoder", "strengths")}
LOCAL: Settings = {"family": Annotated[str, Choice(FAMILIES)], "encoder": _NAME}
NEAREST: Settings = {
    "descriptions": _DESCRIPTIONS,
    "encoder": _NAME,
    "temperature": Annotated[float, ABOVE_ZERO],
}
FINETUNED: Settings = {
    "model": _NAME,
    "pooling": Literal["mean", "first", "last"],
    "contrast": Annotated[float, SHARE],
    "temperature": Annotated[float, ABOVE_ZERO],
    "lora_rank": Annotated[int, Range(0, 4096)],
    "epochs": Annotated[int, Range(0, 10_000)],
    "patience": _COUNT,
    "learning_rate": _RATE,
    "head_learning_rate": _RATE,
    "batch_rows": _COUNT,
    "warmup_share": Annotated[float, SHARE],
    "weight_decay": Annotated[float, Range(0, 10)],
    "max_tokens": _COUNT,
    "ending": Annotated[str, Text(lines=True)],
    "device": _DEVICE,
    "dtype": _DTYPE,
}
PAIRS: Settings = {
    "model": _NAME,
    "n_pairs": _COUNT,
    "max_pairs": _COUNT,
    "learning_rate": _RATE,
    "batch_pairs": _COUNT,
    "max_tokens": _COUNT,
    "device": _DEVICE,
    "dtype": _DTYPE,
}


def _template_fault(template: str) -> str:
    return "" if "{}" in template else "a sentence with {} where the label goes"


ENTAILMENT: Settings = {
    "model": _NAME,
    "template": Annotated[str, Text(least=1), Check(_template_fault)],
    "descriptions": _DESCRIPTIONS,
}
GLICLASS: Settings = {"model": _NAME, "descriptions": _DESCRIPTIONS}
OF_CHOICES: Settings = {"encoder": _NAME}


def read_settings(name: str, known: Settings, given: Mapping[str, Any], faults: list[str]) -> dict[str, Any]:
    """The settings of one baseline with their declared types; what is wrong with them is added to ``faults``."""
    read = {}
    for key, value in given.items():
        if key in known:
            read[key] = read_value(value, known[key], key, faults)
        else:
            faults.append(f"{name} has no setting {key!r}; it has {', '.join(known) or 'none'}")
    if not faults and name in LENGTHS:
        shortest, longest = (read.get(key, LENGTHS[name][n]) for n, key in enumerate(("shortest", "longest")))
        if shortest > longest:
            faults.append(f"shortest = {shortest} and longest = {longest}: expected them in order, set both")
    whole = all(strength == int(strength) for strength in read.get("strengths", ()) if not faults)
    if read.get("head", name.rpartition("-")[2]) == "knn" and not whole:
        faults.append("strengths: expected numbers of neighbours, whole numbers of 1 or more")
    return read
