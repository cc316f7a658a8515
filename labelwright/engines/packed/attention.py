"""Attention over packed rows and option trees.

The prefix is the same for all rows, so all queries meet it in one product and nobody copies it; what each row holds by
itself is laid out as a padded block (``labelwright.engines.packed.packing``). ``labelwright.engines.packed.interface``
offers it to transformers.

On a GPU that is a score for each pair of tokens, written and read again by half a dozen kernels. Where nothing is
learnt, and no model wants something of its own, a kernel that never writes them is called instead
(``_attend_fused``). It knows no shared keys, so each row gets the prefix copied in front of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from labelwright.engines.packed.packing import Layout


@dataclass
class Restricted:
    """What the queries of a layer may look at where that is less than everything before them.

    Attributes
    ----------
    own : bool (B, 1, L, M)
        As ``Layout.mask``, which it narrows.
    prefix : bool (B, 1, L, P)
        Of the prefix.
    lead : bool (1, 1, P, P)
        Of the prefix by itself, where it leads the packed sequence.
    """

    own: Tensor
    prefix: Tensor
    lead: Tensor


# Devices whose fused kernel is faster than products and a softmax, and what it wants the number of keys to divide by.
FUSED = {"cuda"}
KEY_MULTIPLE = 16
# Of a layer's copies for it; beyond that, of a long prefix in front of many rows, the plain way needs less.
FUSED_BYTES = 2**30

LAYOUT: ContextVar[Layout | None] = ContextVar("layout", default=None)


@contextmanager
def laid_out(layout: Layout) -> Iterator[None]:
    """Within this, a forward pass through transformers is one over the packed tokens of a layout."""
    token = LAYOUT.set(layout)
    try:
        yield
    finally:
        LAYOUT.reset(token)


def attend_packed(
    layout: Layout,
    layer: int,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scale: float,
    restricted: Restricted | None = None,
    softcap: float | None = None,
    sinks: Tensor | None = None,
) -> Tensor:
    """One layer's attention over a packed batch.

    Parameters
    ----------
    query : (n_heads, n_packed, head_dim), rotated
    key, value : (n_kv_heads, n_packed, head_dim), keys rotated
    scale : float
        What the products of queries and keys are multiplied by.
    restricted : Restricted, optional
        What this layer may look at, where that is not everything.
    softcap : float, optional
        The products x become softcap * tanh(x / softcap).
    sinks : (n_heads,), optional
        What each head's softmax has besides, and which leads nowhere.

    Returns
    -------
    (n_packed, n_heads, head_dim)
    """
    lead: list[Tensor] = []
    prefix: tuple[Tensor, Tensor] | None = None
    if layout.prefix is not None:
        prefix = layout.prefix[layer]
    elif layout.n_prefix:
        p = layout.n_prefix
        prefix = (key[:, :p], value[:, :p])
        lead.append(_attend_causally(query[:, :p], *prefix, scale, restricted, softcap, sinks))
        query, key, value = query[:, p:], key[:, p:], value[:, p:]
    if layout.kept is not None:
        layout.kept.append((key, value))
    usual = restricted is None and softcap is None and sinks is None
    if usual and query.device.type in FUSED and _may_be_fused(layout, query, key, value):
        rows = _attend_fused(layout, layer, query, key, value, prefix, scale)
        return _with_lead_and_filler(layout, lead, rows)
    if layout.past is not None:
        key = torch.cat([layout.past[layer][0], key], dim=1)
        value = torch.cat([layout.past[layer][1], value], dim=1)

    n_groups, _, width = key.shape
    n_rows, n_block = layout.query_BL.shape
    n_tokens = n_rows * n_block
    # The query heads that share a key head are stacked: (groups, rows, heads a group x block, width).
    heads = (query * scale).unflatten(0, (n_groups, -1))
    block = heads[:, :, :n_tokens].unflatten(2, (n_rows, n_block)) if layout.dense else heads[:, :, layout.query_BL]
    stacked = block.transpose(1, 2).reshape(n_groups, n_rows, -1, width)
    if layout.dense and layout.past is None:
        own_key, own_value = (x[:, :n_tokens].unflatten(1, (n_rows, n_block)) for x in (key, value))
    else:
        own_key, own_value = key[:, layout.key_BM], value[:, layout.key_BM]
    mask, on_prefix = (layout.mask, None) if restricted is None else (restricted.own, restricted.prefix)
    attended = attend(stacked, (own_key, own_value), mask, prefix, on_prefix, softcap, sinks)
    flat = attended.view(n_groups, n_rows, -1, n_block, value.shape[-1]).permute(1, 3, 0, 2, 4)
    rows = flat.reshape(n_tokens, -1, value.shape[-1])  # (tokens, heads, width)
    return _with_lead_and_filler(layout, lead, rows if layout.dense else rows[layout.flat_T])


def _with_lead_and_filler(layout: Layout, lead: list[Tensor], rows: Tensor) -> Tensor:
    return F.pad(torch.cat([*lead, rows]) if lead else rows, (0, 0, 0, 0, 0, layout.n_filler))


def _may_be_fused(layout: Layout, query: Tensor, key: Tensor, value: Tensor) -> bool:
    """Whether nothing is learnt from a pass and what the fused kernel wants copied is not too large."""
    if any(x.requires_grad for x in (query, key, value)):
        return False
    n_rows, n_block = layout.query_BL.shape
    n_keys = layout.n_prefix + layout.key_BM.shape[1]
    n_stacked = len(query) // len(key)
    copied = len(key) * (key.shape[-1] + value.shape[-1]) + n_stacked * n_block
    return n_rows * n_keys * copied * query.element_size() <= FUSED_BYTES


def _attend_fused(
    layout: Layout,
    layer: int,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    prefix: tuple[Tensor, Tensor] | None,
    scale: float,
) -> Tensor:
    """The rows' attention by PyTorch's ``scaled_dot_product_attention``; arguments as in ``attend_packed``.

    Returns
    -------
    (n_row_tokens, n_heads, head_dim)
    """
    n_heads, n_groups = len(query), len(key)
    n_stacked = n_heads // n_groups
    n_rows, n_block = layout.query_BL.shape
    kind = n_stacked, query.dtype
    if kind not in layout.fused:
        layout.fused[kind] = _fused_mask(layout, *kind)
    keys_at, bias = layout.fused[kind]
    past = layout.past[layer] if layout.past is not None else None
    # Tokens come first, so that what belongs to one is read in one piece.
    own_key, own_value = (
        torch.cat([x.transpose(0, 1) for x in parts]).flatten(1).index_select(0, keys_at)
        for parts in zip(*(part for part in (prefix, past, (key, value)) if part is not None), strict=True)
    )
    blocks = query.transpose(0, 1).index_select(0, layout.query_BL.flatten())
    stacked = blocks.view(n_rows, n_block, n_groups, n_stacked, -1).permute(0, 2, 3, 1, 4)
    attended = F.scaled_dot_product_attention(
        stacked.reshape(n_rows, n_groups, n_stacked * n_block, -1),
        own_key.view(n_rows, -1, n_groups, key.shape[-1]).transpose(1, 2),
        own_value.view(n_rows, -1, n_groups, value.shape[-1]).transpose(1, 2),
        attn_mask=bias.expand(-1, n_groups, -1, -1),
        scale=scale,
    )
    flat = attended.unflatten(2, (n_stacked, n_block)).permute(0, 3, 1, 2, 4).reshape(-1, n_heads, value.shape[-1])
    return flat if layout.dense else flat.index_select(0, layout.flat_T)


def _fused_mask(layout: Layout, n_stacked: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """What every layer of a pass needs: where each row's keys are, the prefix first, and what may be seen of them.

    Returns
    -------
    keys_at : int64 (B * K,)
        In the prefix, the past and the pass, one behind the other; what fills up to K points at 0.
    bias : (B, 1, n_stacked * L, K)
        0 or -inf, added to the scores; query heads that share a key head are stacked.
    """
    n_prefix = layout.n_prefix
    n_rows, n_own = layout.key_BM.shape
    n_filler = -(n_prefix + n_own) % KEY_MULTIPLE
    own = F.pad(layout.key_BM + n_prefix, (0, n_filler))
    shared = torch.arange(n_prefix, device=own.device).expand(n_rows, -1)
    seen = F.pad(F.pad(layout.mask, (n_prefix, 0), value=True), (0, n_filler), value=False)
    bias = torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(~seen, -torch.inf)
    stacked = bias.repeat(1, 1, n_stacked, 1)
    return torch.cat([shared, own], dim=1).flatten(), stacked


def attend(query: Tensor, *others: Any) -> Tensor:
    """``_softmax_attention``, whose weights are not kept for the backward pass.

    A weight for each pair of tokens is much of what a training step holds, and little to compute: it is made again.
    """
    if query.requires_grad:
        return cast(
            "Tensor", checkpoint(_softmax_attention, query, *others, use_reentrant=False, preserve_rng_state=False)
        )
    return _softmax_attention(query, *others)


def _softmax_attention(
    query: Tensor,
    own: tuple[Tensor, Tensor],
    mask: Tensor,
    prefix: tuple[Tensor, Tensor] | None,
    prefix_mask: Tensor | None = None,
    softcap: float | None = None,
    sinks: Tensor | None = None,
) -> Tensor:
    """Softmax attention to a row's own tokens and to the prefix that all rows share.

    Parameters
    ----------
    query : (G, B, H * L, D)
        Scaled; H query heads a group.
    own : keys (G, B, M, D) and values (G, B, M, E)
    mask : bool (B, 1, L, M)
    prefix : keys (G, P, D) and values (G, P, E)
    prefix_mask : bool (B, 1, L, P), optional
        What may be seen of the prefix; all of it by default.
    softcap, sinks
        As in ``attend_packed``.

    Returns
    -------
    (G, B, H * L, E)
    """
    n_groups, n_rows, n_queries, width = query.shape
    keys, values = own
    if prefix is not None and n_rows == 1:
        # One row is the prefix's only reader: laid end to end they take half as many products.
        keys, values = (torch.cat([p[:, None], x], dim=2) for p, x in zip(prefix, own, strict=True))
        on_prefix = F.pad(mask, (prefix[0].shape[1], 0), value=True)
        mask = on_prefix if prefix_mask is None else torch.cat([prefix_mask, mask], dim=-1)
        prefix = None
    scores = _masked(_capped(query @ keys.transpose(2, 3), softcap), mask)
    if sinks is not None:
        column = sinks.view(n_groups, 1, -1, 1).expand(-1, n_rows, -1, mask.shape[2]).reshape(*scores.shape[:3], 1)
        scores, values = torch.cat([scores, column.to(scores.dtype)], dim=-1), F.pad(values, (0, 0, 0, 1))
    # In bfloat16 the softmax kernel still sums in float32, and only what the backward pass needs is kept, in half.
    if prefix is None:
        return torch.softmax(scores, dim=-1) @ values
    everyone = query.reshape(n_groups, n_rows * n_queries, width)
    n_prefix = prefix[0].shape[1]
    shared = _capped(everyone @ prefix[0].transpose(1, 2), softcap).view(n_groups, n_rows, n_queries, n_prefix)
    if prefix_mask is not None:
        shared = _masked(shared, prefix_mask)
    weights = torch.softmax(torch.cat([shared, scores], dim=-1), dim=-1)
    met = weights[..., :n_prefix].reshape(n_groups, -1, n_prefix) @ prefix[1]
    return met.view(*query.shape[:3], -1) + weights[..., n_prefix:] @ values


def _capped(scores: Tensor, softcap: float | None) -> Tensor:
    return scores if softcap is None else softcap * torch.tanh(scores / softcap)


def _masked(scores: Tensor, mask: Tensor) -> Tensor:
    """Scores (G, B, H * L, M) under a mask (B, 1, L, M)."""
    split = scores.view(*scores.shape[:2], -1, *mask.shape[2:])
    return split.masked_fill(~mask, torch.finfo(scores.dtype).min).view(scores.shape)


def _attend_causally(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    scale: float,
    restricted: Restricted | None,
    softcap: float | None,
    sinks: Tensor | None,
) -> Tensor:
    """The prefix to itself: query (heads, P, D), keys and values (groups, P, D); returns (P, heads, D)."""
    n_groups, n_prefix, width = keys.shape
    stacked = (query * scale).reshape(n_groups, 1, -1, width)
    seen = torch.ones(1, 1, n_prefix, n_prefix, dtype=torch.bool, device=query.device).tril()
    if restricted is not None:
        seen = seen & restricted.lead
    attended = attend(stacked, (keys[:, None], values[:, None]), seen, None, None, softcap, sinks)
    return attended.reshape(-1, n_prefix, values.shape[-1]).transpose(0, 1)
