"""What a row costs that several members are asked about: their sum, an encoder that they share counted once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from labelwright.bundle.types import Bundle
from labelwright.files import folder_bytes
from labelwright.models.weights import Predictor
from labelwright.predictors import store as predictors


@dataclass(frozen=True)
class Prices:
    """Milliseconds a row by member, as its own job was timed, or money; called with members, what they cost together.

    Attributes
    ----------
    ms : mapping of member to float
    encoders : mapping of member to str
        What reads the row for it; those of one encoder share its pass, so that the dearest of them counts.
    """

    ms: Mapping[str, float]
    encoders: Mapping[str, str]

    def __call__(self, names: Sequence[str]) -> float:
        dearest: dict[str, float] = {}
        for name in names:
            key = self.encoders[name]
            dearest[key] = max(dearest.get(key, 0.0), self.ms[name])
        return sum(dearest.values())


def encoder_of(name: str, bundle: Bundle) -> str:
    """The encoder behind a small classifier; its own name where it has none, or asks a model of its own."""
    if not isinstance(bundle.weights, Predictor):
        return name
    kind, _ = predictors.kind_and_labels(bundle.weights.folder)
    naming = predictors.KINDS[kind].naming
    shared = naming is not None and naming[0] == "encoder.json"
    return f"encoder {predictors.external_model(bundle.weights.folder)}" if shared else name


def size_bytes(members: Mapping[str, Bundle], sizes: Mapping[str, float | None]) -> int:
    """Bytes of what members bring, and of the models outside of them, each once.

    Parameters
    ----------
    sizes : mapping of member to float or None
        Of each alone, what is outside included.
    """
    own = 0
    outside: dict[str, int] = {}
    for name, bundle in members.items():
        weights = bundle.weights
        brought = folder_bytes(weights.folder) if weights.folder else 0
        external = predictors.external_model(weights.folder) if isinstance(weights, Predictor) else weights.base
        outside[external] = max(outside.get(external, 0), int(sizes[name] or 0) - brought)
        own += brought
    return own + sum(max(0, one) for one in outside.values())
