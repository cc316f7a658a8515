"""The packed attention as transformers calls it.

``tree_attention`` and ``tree_mask`` are registered with transformers under the name ``ATTENTION``; within ``laid_out``
they follow a layout, elsewhere they are ordinary attention.

What a layer may not look at besides (sliding windows, chunks) the model says itself: it asks transformers for a mask,
and ``tree_mask`` evaluates the mask function that comes with the request at positions along each token's path.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import causal_mask_function, sdpa_mask

from labelwright.engines.packed.attention import LAYOUT, Restricted, attend, attend_packed

ATTENTION = "label_tree"


def use_attention(model: Any, name: str) -> str:
    """Have a model's decoder attend by a registered name, and return the one before; what sees images keeps its own."""
    of = model.get_decoder() if hasattr(model.config, "vision_config") else model
    before = str(of.config._attn_implementation)
    if before != name:
        of.set_attn_implementation(name)
    return before


def tree_mask(mask_function: Callable[..., Any] = causal_mask_function, use_vmap: bool = False, **settings: Any) -> Any:
    """What transformers calls for a layer's mask: a ``Restricted``, None for "all that is before", or an ordinary mask.

    Raises
    ------
    NotImplementedError
        A mask that depends on more than the positions of query and key.
    """
    layout = LAYOUT.get()
    if layout is None:
        return sdpa_mask(mask_function=mask_function, use_vmap=use_vmap, **settings)
    if mask_function is causal_mask_function:
        return None
    if use_vmap:
        raise NotImplementedError("its attention mask depends on more than positions")
    device = layout.mask.device
    zero = torch.zeros((), dtype=torch.int64, device=device)

    def seen(query: NDArray[np.int64], key: NDArray[np.int64]) -> Tensor:
        places = (torch.as_tensor(x, device=device) for x in (query[:, None, :, None], key[:, None, None, :]))
        shape = (len(query), 1, query.shape[1], key.shape[1])
        return mask_function(zero, zero, *places).expand(shape)

    prefix = np.arange(layout.n_prefix)[None]
    lead = prefix if layout.prefix is None else prefix[:, :0]
    restricted = Restricted(
        layout.mask & seen(layout.query_at, layout.key_at),
        seen(layout.query_at, prefix),
        seen(lead, lead),
    )
    # Rows shorter than a window see everything, and take the shorter way.
    whole = restricted.prefix.all() and torch.equal(restricted.own, layout.mask)
    whole = whole and torch.equal(restricted.lead, torch.ones_like(restricted.lead).tril())
    return None if whole else restricted


def tree_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Any,
    scaling: float | None = None,
    dropout: float = 0.0,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention over a packed batch; ordinary scaled dot-product attention outside ``laid_out``.

    ``query`` is (1, n_heads, n_packed, head_dim), ``key`` and ``value`` (1, n_kv_heads, n_packed, head_dim), as
    transformers hands them over after the rotary embedding; the result is (1, n_packed, n_heads, head_dim).
    ``softcap`` and ``s_aux`` are transformers' names for what Gemma 2 and GPT-OSS do to the products of queries and
    keys; see ``attend_packed``.

    Raises
    ------
    NotImplementedError
        A mask that ``tree_mask`` did not make, or a bias on the products.
    """
    layout = LAYOUT.get()
    scale = scaling or query.shape[-1] ** -0.5
    if layout is None:
        if softcap is not None or s_aux is not None:
            return _attend_densely(query, key, value, attention_mask, scale, softcap, s_aux), None
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, dropout=dropout, **kwargs
        )
    if not isinstance(attention_mask, Restricted | None) or kwargs.get("position_bias") is not None:
        raise NotImplementedError("its attention has a mask or a bias of its own making")
    layer = int(module.layer_idx)  # type: ignore[arg-type]
    attended = attend_packed(layout, layer, query[0], key[0], value[0], scale, attention_mask, softcap, s_aux)
    return attended[None], None


def _attend_densely(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    scale: float,
    softcap: float | None,
    sinks: Tensor | None,
) -> Tensor:
    """Ordinary attention with what PyTorch's kernel lacks; arguments and result as in ``tree_attention``, any batch."""
    n_queries = query.shape[2]
    if mask is None:
        # What ``sdpa_mask`` leaves to the kernel: all keys for a single query, else causally from the first on.
        n_seen = n_queries if n_queries > 1 else key.shape[2]
        key, value = key[:, :, :n_seen], value[:, :, :n_seen]
        mask = torch.ones(1, 1, n_queries, n_seen, dtype=torch.bool, device=query.device).tril(n_seen - n_queries)
    n_groups, width = key.shape[1], query.shape[-1]
    stacked = (query * scale).unflatten(1, (n_groups, -1)).transpose(0, 1).reshape(n_groups, len(query), -1, width)
    own = (key.transpose(0, 1), value.transpose(0, 1))
    attended = attend(stacked, own, mask[..., : key.shape[2]], None, None, softcap, sinks)
    return attended.view(n_groups, len(query), -1, n_queries, value.shape[-1]).permute(1, 3, 0, 2, 4).flatten(2, 3)


AttentionInterface.register(ATTENTION, tree_attention)
AttentionMaskInterface.register(ATTENTION, tree_mask)
