"""Which weights answer: a base model, what tuning made of it, or what answers in a model's place.

Plain types, which ``labelwright.engines`` and ``models.loading`` open. All have a ``base``, by which they are
called, and a ``folder`` with what training wrote; which of them it is, is asked of the type.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar


@dataclass(frozen=True)
class Base:
    """An untuned model: "smollm2", a Hugging Face id, or a local folder."""

    base: str
    folder: ClassVar[None] = None


@dataclass(frozen=True)
class Adapter:
    """A PEFT adapter folder, to be merged into the base."""

    base: str
    folder: Path


@dataclass(frozen=True)
class Full:
    """A folder with a whole tuned model; the base is then only a name."""

    base: str
    folder: Path


@dataclass(frozen=True)
class Predictor:
    """A folder of ``labelwright.predictors.store.save_predictor``; the base is then only a name, "sgd-ngrams" say."""

    base: str
    folder: Path


@dataclass(frozen=True)
class Together:
    """Several bundles that answer as one, a folder each, with ``labelwright.engines.together.document``'s file.

    The base is only a name, "ensemble" say.
    """

    base: str
    folder: Path


Weights = Base | Adapter | Full | Predictor | Together


def is_language_model(weights: Weights) -> bool:
    """Whether one language model answers, which has a prompt, a base, and answers to other questions."""
    return isinstance(weights, Base | Adapter | Full)
