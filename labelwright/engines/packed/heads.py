"""From last hidden states to logits, as the model itself does it.

Most models multiply by the output matrix and are done. Others scale the logits (Granite, Cohere), cap them (Gemma 2) or
scale the hidden states first (MiniCPM). No list of these is kept: ``open_head`` asks the model's own forward pass, with
the decoder's answer put in its place, and takes the short way only where that gives the very same logits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

# Whether a model's logits are its output matrix and nothing else; found once a model.
_PLAIN: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()


class Head(Protocol):
    """What turns last hidden states into logits."""

    def logits(self, hidden: Tensor) -> tuple[Tensor, bool]:
        """Logits (n, vocabulary) of hidden states (n, hidden), and whether they were rounded to less than float32."""
        ...

    def exact(self, hidden: Tensor, place: Tensor, token: Tensor) -> Tensor | None:
        """The logit of ``token`` at ``hidden[place]``, float32 (n_edges,); None where only ``logits`` can tell."""
        ...


def open_head(model: Any) -> Head:
    """The head of a transformers causal model, or of what training wraps around one."""
    matrix = model.get_output_embeddings()
    if model not in _PLAIN:
        _PLAIN[model] = isinstance(matrix, nn.Module) and _is_plain(model, matrix)
    return PlainHead(matrix) if _PLAIN[model] else OwnHead(model)


class PlainHead:
    """The output matrix (and its bias) alone."""

    def __init__(self, matrix: Any) -> None:
        self._matrix = matrix

    def logits(self, hidden: Tensor) -> tuple[Tensor, bool]:
        """See ``Head``."""
        logits = self._matrix(hidden)
        return logits, logits.dtype != torch.float32

    def exact(self, hidden: Tensor, place: Tensor, token: Tensor) -> Tensor | None:
        """See ``Head``."""
        return _products(self._matrix, hidden, place, token)


class OwnHead:
    """The model's own way from hidden states to logits, whatever that is.

    The model's forward pass runs with its decoder, and for ``exact`` its output matrix, replaced by what they would
    answer; all that it does before and after them is its own code.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._matrix = model.get_output_embeddings()

    def logits(self, hidden: Tensor) -> tuple[Tensor, bool]:
        """See ``Head``."""
        if not isinstance(self._matrix, nn.Module):
            logits = self._forward(hidden)
            return logits, logits.dtype != torch.float32
        # Some models round in the product and call what comes out float32.
        dtypes: list[torch.dtype] = []
        watch = self._matrix.register_forward_hook(lambda _module, _given, product: dtypes.append(product.dtype))
        try:
            logits = self._forward(hidden)
        finally:
            watch.remove()
        return logits, any(dtype != torch.float32 for dtype in dtypes)

    def exact(self, hidden: Tensor, place: Tensor, token: Tensor) -> Tensor | None:
        """See ``Head``. Holds for what is done to each logit by itself, such as scaling and capping."""
        if getattr(self._matrix, "weight", None) is None:
            return None

        def products(given: Tensor) -> Tensor:
            return _products(self._matrix, given.flatten(0, -2), place, token)[None, :, None]

        with answering(self._matrix, products):
            logits = self._forward(hidden)
        return logits.flatten() if logits.numel() == len(token) else None

    def _forward(self, hidden: Tensor) -> Tensor:
        decoder = self._model.get_decoder()
        ids = torch.zeros((1, len(hidden)), dtype=torch.int64, device=hidden.device)
        with answering(decoder, lambda *_, **__: _Answer(hidden[None])):
            return self._model(input_ids=ids, use_cache=False).logits[0]


class _Answer:
    """A decoder's output; whatever else a model looks for in it is not there."""

    def __init__(self, hidden: Tensor) -> None:
        self.last_hidden_state = hidden

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)

    def __getitem__(self, which: Any) -> Any:
        return (self.last_hidden_state,)[which]


@contextmanager
def answering(module: Any, forward: Callable[..., Any]) -> Iterator[None]:
    """Within this a module answers with a function of ours."""
    before = vars(module).get("forward")
    module.forward = forward
    try:
        yield
    finally:
        del module.forward
        if before is not None:
            module.forward = before


def _products(matrix: Any, hidden: Tensor, place: Tensor, token: Tensor) -> Tensor:
    """Rows of the output matrix times hidden states, float32 (n_edges,)."""
    products = (hidden.float()[place] * matrix.weight[token].float()).sum(-1)
    bias = getattr(matrix, "bias", None)
    return products if bias is None else products + bias[token].float()


@torch.no_grad()
def _is_plain(model: Any, matrix: Any) -> bool:
    if getattr(matrix, "weight", None) is None:
        return False
    probe = torch.linspace(-2, 2, 2 * matrix.weight.shape[1], device=matrix.weight.device).view(2, -1)
    probe = probe.to(matrix.weight.dtype)
    return torch.equal(OwnHead(model).logits(probe)[0].float(), matrix(probe).float())
