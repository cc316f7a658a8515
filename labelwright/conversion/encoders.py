"""Encoders with their heads as plain parts: a transformer, how its states are pooled, and linear layers behind it.

What a bundle's predictor learned, fine-tuned networks and heads on sentence embeddings alike, in the one form that
targets write: logits = layers(unit vector of pooled states). Knows no target.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from labelwright.errors import BundleError
from labelwright.predictors.embeddings import EmbeddingHead, NearestLabel
from labelwright.predictors.encoders.sentence_encoder import open_encoder
from labelwright.predictors.finetuned import FineTuned, Network
from labelwright.predictors.store import load_predictor

_POOLINGS = {"mean": "mean", "cls": "first", "lasttoken": "last"}
_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "logistic": nn.Sigmoid}


class Parts(NamedTuple):
    """A classifier on a transformer.

    Attributes
    ----------
    network : torch.nn.Module
        From ids and mask (n_rows, n_tokens) to logits (n_rows, n_labels), float32.
    tokenizer : transformers fast tokenizer
    max_tokens : int
    ending : list of int
        Ids behind every text.
    filler : int
        The id that pads.
    labels : list
        What the columns stand for.
    """

    network: Any
    tokenizer: Any
    max_tokens: int
    ending: list[int]
    filler: int
    labels: list[Any]


def parts_of(folder: Path, name: str) -> Parts:
    """The parts of a saved predictor, on the CPU and in float32.

    Parameters
    ----------
    name : str
        What to call it in messages.

    Raises
    ------
    BundleError
        A predictor of another kind, an encoder of other modules, or a head that is not made of layers.
    """
    predictor, labels = load_predictor(folder)
    if isinstance(predictor, FineTuned):
        tokens = predictor.tokens
        ending = tokens.tokenizer.encode(tokens.ending, add_special_tokens=False) if tokens.ending else []
        network = predictor.network.float().cpu().eval()
        return Parts(network, tokens.tokenizer, tokens.max_tokens, ending, _filler(tokens.tokenizer), labels)
    if not isinstance(predictor, EmbeddingHead | NearestLabel):
        raise BundleError(f"{name} is no encoder with a head (a transformer, a linear layer): nothing to write as ONNX")
    model: Any = open_encoder(predictor.encoder)._model
    modules = [type(one).__name__ for one in model] if isinstance(model, nn.Sequential) else []
    if modules[:2] != ["Transformer", "Pooling"] or modules[2:] not in ([], ["Normalize"]):
        raise BundleError(f"{name}: its encoder is {' + '.join(modules) or 'static'}; expected Transformer + Pooling")
    pooling = model[1].pooling_mode
    if pooling not in _POOLINGS:
        raise BundleError(f"{name}: its encoder pools by {pooling!r}; expected one of {', '.join(_POOLINGS)}")
    head = nn.Sequential(*_layers(predictor, name))
    network = Network(model[0].auto_model.float().cpu(), head, _POOLINGS[pooling]).eval()  # type: ignore[arg-type]
    tokenizer = model.tokenizer
    return Parts(network, tokenizer, int(model.max_seq_length), [], _filler(tokenizer), labels)


def _layers(predictor: EmbeddingHead | NearestLabel, name: str) -> list[nn.Module]:
    if isinstance(predictor, NearestLabel):
        return [_linear(predictor.vectors / predictor.temperature, None)]
    head = predictor.head
    kind = type(head).__name__
    if kind == "MLPClassifier":
        found: list[nn.Module] = []
        for weights, bias in zip(head.coefs_, head.intercepts_, strict=True):
            found += [_linear(weights.T, bias), _ACTIVATIONS.get(head.activation, nn.Identity)()]
        return [*found[:-1], *_two(head.n_outputs_ == 1, halves=False)]
    if kind in ("LogisticRegression", "LinearSVC"):
        # Of two labels scikit-learn keeps one column: the logit of the second, or the margin between the two.
        return [_linear(head.coef_, head.intercept_), *_two(len(head.coef_) == 1, halves=kind == "LinearSVC")]
    raise BundleError(f"{name}: a {kind} is not made of layers, so it cannot be written; export another head")


class _Both(nn.Module):
    """Logits of two labels out of one column, as ``labelwright.predictors.embeddings`` has them."""

    def __init__(self, halves: bool) -> None:
        super().__init__()
        self.halves = halves

    def forward(self, column: Tensor) -> Tensor:
        """(n_rows, 1) to (n_rows, 2)."""
        return torch.cat([-column / 2, column / 2] if self.halves else [torch.zeros_like(column), column], dim=1)


def _two(is_one_column: bool, halves: bool) -> list[nn.Module]:
    return [_Both(halves)] if is_one_column else []


def _linear(weights: NDArray[Any], bias: NDArray[Any] | None) -> nn.Linear:
    layer = nn.Linear(weights.shape[1], weights.shape[0], bias=bias is not None)
    layer.weight.data = torch.from_numpy(np.ascontiguousarray(weights, dtype=np.float32))
    if bias is not None:
        layer.bias.data = torch.from_numpy(np.ascontiguousarray(bias, dtype=np.float32))
    return layer


def _filler(tokenizer: Any) -> int:
    return int(next(one for one in (tokenizer.pad_token_id, tokenizer.eos_token_id, 0) if one is not None))
