"""An image of a row as a decoder meets it: so many of its tokens, with embeddings and positions of their own.

What makes it of pixels is ``labelwright.engines.images.reader``; here it is put among packed tokens. Embeddings and
positions depend on nothing that stands before the image, so that one look at it serves every prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class SeenImage:
    """What the model makes of an image and the markup around it.

    Attributes
    ----------
    digest : str
        The image's hash.
    tokens : tuple of int
        The markup's tokens, with as many for the image as it takes up.
    places : int64 tensor (n_places,)
        Which of the tokens are the image's own.
    embeds : tensor (n_places, width)
        What enters the decoder there.
    positions : int64 tensor (n_axes, n_tokens), optional
        Counted from 0, where positions have several axes (M-RoPE; Wang et al. 2024, arXiv 2409.12191); None where
        tokens stand one after the other.
    span : int
        Positions that it takes up before the next token; of several axes fewer than tokens.
    layers : tuple of tensor (n_places, width)
        What is added at these places behind each of the lowest layers (DeepStack; Meng et al. 2024, arXiv 2406.04334).
    """

    digest: str
    tokens: tuple[int, ...]
    places: Tensor
    embeds: Tensor
    positions: Tensor | None
    span: int
    layers: tuple[Tensor, ...] = ()

    @property
    def shift(self) -> int:
        """How much later, by position, a token behind it stands than its place says; 0 or less."""
        return self.span - len(self.tokens)

    @property
    def n_bytes(self) -> int:
        """What is kept of it."""
        return self.embeds.nbytes + sum(layer.nbytes for layer in self.layers)


# Images among packed tokens, each with the index of its first token.
Images = Sequence[tuple[int, SeenImage]]


def embedded(embeddings: Any, input_ids: Tensor, images: Images) -> Tensor:
    """What enters a decoder: its embeddings of the tokens, (1, n_packed, width), those of images in their places."""
    hidden = embeddings(input_ids)
    if not images:
        return hidden
    values = torch.cat([seen.embeds for _, seen in images]).to(hidden)
    return hidden.index_copy(1, _places(images, hidden.device), values[None])


def added_below(images: Images, input_ids: Tensor) -> dict[str, Any]:
    """What a decoder that adds an image's features to its lowest layers is told, in transformers' words."""
    if not any(seen.layers for _, seen in images):
        return {}
    shown = torch.zeros_like(input_ids, dtype=torch.bool)
    shown[0, _places(images, input_ids.device)] = True
    layers = zip(*(seen.layers for _, seen in images), strict=True)
    return {"visual_pos_masks": shown, "deepstack_visual_embeds": [torch.cat(layer) for layer in layers]}


def _places(images: Images, device: Any) -> Tensor:
    return torch.cat([start + seen.places for start, seen in images]).to(device)
