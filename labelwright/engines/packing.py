"""Packed forward passes over rows and option trees, with the shared prefix held once.

A batch is one long sequence without padding: every linear layer sees only real tokens. Attention, which must keep
rows apart, is the one place where the packed tokens are laid out as a padded block a row: each row's tokens attend to
the prefix, to the row itself, and, for tree nodes, to their ancestors. The layout travels through the model as a
keyword argument; ``tree_attention`` is registered with transformers under the name ``ATTENTION``.

The same code serves the scorer (prefix cached, no gradient) and GRPO's packed forward (prefix part of the sequence,
gradients through everything).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from labelwright.tree import OptionTree

ATTENTION = "label_tree"

KeyValues = list[
    tuple[Tensor, Tensor]
]  # one (keys, values) a layer, each (n_rows or 1, n_kv_heads, n_tokens, head_dim)


@dataclass
class Layout:
    """Where the packed tokens stand when attention lays them out as padded blocks.

    B rows in the batch, L the longest block, T packed row tokens, P prefix tokens, R tokens of each row that an
    earlier pass left in ``past``.

    Attributes
    ----------
    block_TL : int64 (B, L)
        Packed index of each block position; padding points at 0 and is masked.
    flat_T : int64 (T,)
        Position of each packed token in the flattened (B * L) block.
    mask : bool (B, 1, L, P + R + L)
        True where a query may look.
    n_prefix : int
        P, whether the prefix is in ``prefix`` or leads the packed sequence.
    prefix : KeyValues, optional
        The cached prefix; without it the first P packed tokens are the prefix.
    past : KeyValues, optional
        The rows' own earlier tokens, padded to R.
    kept : KeyValues, optional
        If a list, each layer appends the block's keys and values to it, for a later pass.
    n_filler : int
        Packed tokens at the end that belong to no row and that nothing looks at.
    """

    block_TL: Tensor  # noqa: N815
    flat_T: Tensor  # noqa: N815
    mask: Tensor
    n_prefix: int = 0
    prefix: KeyValues | None = None
    past: KeyValues | None = None
    kept: KeyValues | None = None
    n_filler: int = 0


@dataclass
class Packed:
    """What goes into the model, and where its answers come out.

    Attributes
    ----------
    input_ids, position_ids : int64 (1, n_packed)
    layout : Layout
    row_end : int64 (B,)
        Packed index of each row's last token, where every first option token is predicted.
    node_start : int64 (B,)
        Packed index of each row's first tree node (meaningless for a row without nodes).
    """

    input_ids: Tensor
    position_ids: Tensor
    layout: Layout
    row_end: Tensor
    node_start: Tensor


# The tree of one option of one token: it is predicted at the row's end and feeds nothing.
NO_NODES = OptionTree.build([[0]])


@dataclass
class Row:
    """One row of a batch: the tokens to feed, the option tree after them, and how many of its tokens are cached."""

    tokens: Sequence[int] = ()
    tree: OptionTree = NO_NODES
    n_past: int = 0


# Packed lengths are rounded up to a multiple of this. The matrix library compiles a kernel for every new shape; with
# lengths at random it would compile all day.
PACK_MULTIPLE = 64


def pack(rows: Sequence[Row], *, prefix_tokens: Sequence[int] = (), n_prefix: int = 0, device: Any = "cpu") -> Packed:
    """Lay rows out one after the other.

    Parameters
    ----------
    rows : sequence of Row
    prefix_tokens : sequence of int
        Put at the front of the packed sequence (training). Empty where the prefix is cached.
    n_prefix : int
        Length of the cached prefix; ignored if ``prefix_tokens`` are given.
    """
    n_lead = len(prefix_tokens)
    n_prefix = n_lead or n_prefix
    n_past = max((row.n_past for row in rows), default=0)
    lengths = [len(row.tokens) + row.tree.n_nodes for row in rows]
    n_block = max(lengths)
    block = np.zeros((len(rows), n_block), dtype=np.int64)
    mask = np.zeros((len(rows), n_block, n_prefix + n_past + n_block), dtype=bool)
    ids: list[int] = list(prefix_tokens)
    positions: list[int] = list(range(n_lead))
    flat, row_end, node_start = [], [], []
    for b, (row, length) in enumerate(zip(rows, lengths, strict=True)):
        start, n_tokens = len(ids), len(row.tokens)
        block[b, :length] = np.arange(start - n_lead, start - n_lead + length)
        flat.append(b * n_block + np.arange(length))
        _fill_mask(mask[b], row, n_prefix, n_past)
        ids += list(row.tokens) + row.tree.node_token.tolist()
        first = n_prefix + row.n_past
        positions += range(first, first + n_tokens)
        positions += (first + n_tokens - 1 + row.tree.node_depth).tolist()
        row_end.append(start + n_tokens - 1)
        node_start.append(start + n_tokens)

    n_filler = -len(ids) % PACK_MULTIPLE
    ids += [0] * n_filler
    positions += [0] * n_filler

    def tensor(values: Any) -> Tensor:
        return torch.as_tensor(values, device=device)

    layout = Layout(tensor(block), tensor(np.concatenate(flat)), tensor(mask[:, None]), n_prefix, n_filler=n_filler)
    return Packed(tensor([ids]), tensor([positions]), layout, tensor(row_end), tensor(node_start))


def _fill_mask(mask: np.ndarray, row: Row, n_prefix: int, n_past: int) -> None:
    """One row's (L, P + R + L) block: prefix and own past in full, own tokens causally, nodes by ancestry."""
    n_tokens, n_nodes = len(row.tokens), row.tree.n_nodes
    own = n_prefix + n_past
    mask[: n_tokens + n_nodes, : n_prefix + row.n_past] = True
    mask[:n_tokens, own : own + n_tokens] = np.tri(n_tokens, dtype=bool)
    mask[n_tokens : n_tokens + n_nodes, own : own + n_tokens] = True
    mask[n_tokens : n_tokens + n_nodes, own + n_tokens : own + n_tokens + n_nodes] = row.tree.ancestors()
    # Padding must look somewhere: a softmax over nothing is NaN, and NaN times a zero gradient is still NaN.
    mask[n_tokens + n_nodes :, 0] = True


def tree_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    tree_layout: Layout | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention over a packed batch; ordinary scaled dot-product attention where no layout is given.

    ``query`` is (1, n_heads, n_packed, head_dim), ``key`` and ``value`` (1, n_kv_heads, n_packed, head_dim), as
    transformers hands them over after the rotary embedding; the result is (1, n_packed, n_heads, head_dim).
    """
    if tree_layout is None:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, dropout=dropout, **kwargs
        )
    layout = tree_layout
    layer = int(module.layer_idx)  # type: ignore[arg-type]
    # PyTorch's fused attention is slow on the CPU for blocks this small, twice as slow to differentiate.
    attend = _attend_by_products if query.device.type == "cpu" else _attend_fused
    lead: list[Tensor] = []
    if layout.prefix is None and layout.n_prefix:
        p = layout.n_prefix
        prefix = (key[:, :, :p], value[:, :, :p])
        lead.append(attend(query[:, :, :p], *prefix, _causal(p, query.device), scaling)[0].transpose(0, 1))
        query, key, value = query[:, :, p:], key[:, :, p:], value[:, :, p:]
    else:
        prefix = layout.prefix[layer] if layout.prefix is not None else (key[:, :, :0], value[:, :, :0])
    n_rows, n_block = layout.block_TL.shape

    def blocks(x: Tensor) -> Tensor:
        return x[0][:, layout.block_TL].transpose(0, 1)  # (B, heads, L, D)

    def with_context(own: Tensor, which: int) -> Tensor:
        parts = [prefix[which].expand(n_rows, -1, -1, -1)]
        if layout.past is not None:
            parts.append(layout.past[layer][which])
        return torch.cat([*parts, own], dim=2)

    own_key, own_value = blocks(key), blocks(value)
    if layout.kept is not None:
        layout.kept.append((own_key, own_value))
    attended = attend(blocks(query), with_context(own_key, 0), with_context(own_value, 1), layout.mask, scaling)
    flat = attended.transpose(1, 2).reshape(n_rows * n_block, *attended.shape[1::2])
    rows = torch.cat([*lead, flat[layout.flat_T]], dim=0)  # (packed, heads, D)
    return F.pad(rows, (0, 0, 0, 0, 0, layout.n_filler))[None], None


def _attend_fused(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scaling: float | None) -> Tensor:
    """(B, n_heads, L, D) by PyTorch's own kernel; ``mask`` is True where a query may look."""
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scaling, enable_gqa=True)


def _attend_by_products(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scaling: float | None) -> Tensor:
    """The same by two matrix products and a softmax; the query heads that share a key head are stacked, not copied."""
    n_rows, n_heads, n_queries, width = query.shape
    n_groups = key.shape[1]
    stacked = (query * (scaling or width**-0.5)).reshape(n_rows, n_groups, -1, width)
    scores = (stacked @ key.transpose(2, 3)).view(n_rows, n_groups, n_heads // n_groups, n_queries, -1)
    scores = scores.masked_fill(~mask[:, :, None], torch.finfo(scores.dtype).min)
    # In bfloat16 the kernel still sums in float32, and only what the backward pass needs is kept, in half the size.
    weights = torch.softmax(scores, dim=-1)
    return (weights.view(n_rows, n_groups, -1, key.shape[2]) @ value).view(query.shape)


def _causal(n: int, device: torch.device) -> Tensor:
    return torch.ones(1, 1, n, n, dtype=torch.bool, device=device).tril()


AttentionInterface.register(ATTENTION, tree_attention)
# Ordinary calls (generate, a padded forward) go through SDPA and need its mask.
AttentionMaskInterface.register(ATTENTION, sdpa_mask)


def encode_prefix(decoder: torch.nn.Module, tokens: Sequence[int], device: Any = "cpu") -> KeyValues:
    """Keys and values of the shared prefix, one pair a layer."""
    packed = pack([Row(tokens)], device=device)
    packed.layout.kept = []
    decoder(input_ids=packed.input_ids, position_ids=packed.position_ids, use_cache=False, tree_layout=packed.layout)
    return packed.layout.kept
