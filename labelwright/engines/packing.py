"""Packed forward passes over rows and option trees, with the shared prefix held once.

A batch is one long sequence without padding: every linear layer sees only real tokens. Attention, which must keep
rows apart, is the one place where the packed tokens are laid out as a padded block a row: each row's tokens attend to
the prefix, to the row itself, and, for tree nodes, to their ancestors. The prefix is the same for all, so all queries
meet it in one product and nobody copies it. ``tree_attention`` and ``tree_mask`` are registered with transformers under
the name ``ATTENTION``; within ``laid_out`` they follow a layout, elsewhere they are ordinary attention.

What a layer may not look at besides (sliding windows, chunks) the model says itself: it asks transformers for a mask,
and ``tree_mask`` evaluates the mask function that comes with the request at positions along each token's path.

The same code serves the scorer (prefix cached, no gradient) and GRPO's packed forward (prefix part of the sequence,
gradients through everything).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import causal_mask_function, sdpa_mask

from labelwright.tree import OptionTree

ATTENTION = "label_tree"

# One (keys, values) a layer, each (n_kv_heads, n_tokens, head_dim).
KeyValues = list[tuple[Tensor, Tensor]]

# Packed lengths are rounded up to a multiple of this, short ones to that of the second. The matrix library compiles a
# kernel for every new shape; with lengths at random it would compile all day.
PACK_MULTIPLE = 64
SHORT_MULTIPLE = 8

_NOTHING: NDArray[np.int64] = np.empty(0, dtype=np.int64)
# The tree of one option of one token: it is predicted at the row's end and feeds nothing.
NO_NODES = OptionTree.build([[0]])


@dataclass
class Layout:
    """Where the packed tokens stand when attention lays them out as padded blocks.

    B rows in the batch, L the longest run of new tokens, M the longest row with what was fed before, T packed row
    tokens, N tokens of ``past``.

    Attributes
    ----------
    query_BL : int64 (B, L)
        Packed index of each block position; padding points at 0 and is dropped.
    key_BM : int64 (B, M)
        What each row may look at: below N a token of ``past``, from N on packed token ``key_BM - N``. Padding points
        at 0 and is masked.
    flat_T : int64 (T,)
        Position of each packed token in the flattened (B * L) block.
    mask : bool (B, 1, L, M)
        True where a query may look. The prefix, which every query sees whole, is not part of it.
    query_at : int64 (B, L)
    key_at : int64 (B, M)
        Position of each query and key on its path. Padding stands where the row's first key does.
    n_prefix : int
        Length of the prefix, whether it is in ``prefix`` or leads the packed sequence.
    prefix : KeyValues, optional
        The cached prefix; without it the first ``n_prefix`` packed tokens are the prefix.
    past : KeyValues, optional
        Keys and values of row tokens and nodes that earlier passes fed.
    kept : KeyValues, optional
        If a list, each layer appends the packed keys and values to it, for a later pass.
    n_filler : int
        Packed tokens at the end that belong to no row and that nothing looks at.
    dense : bool
        All rows are of one length, so that the packed tokens are the block as they stand.
    """

    query_BL: Tensor  # noqa: N815
    key_BM: Tensor  # noqa: N815
    flat_T: Tensor  # noqa: N815
    mask: Tensor
    query_at: NDArray[np.int64]
    key_at: NDArray[np.int64]
    n_prefix: int = 0
    prefix: KeyValues | None = None
    past: KeyValues | None = None
    kept: KeyValues | None = None
    n_filler: int = 0
    dense: bool = False


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


@dataclass
class Packed:
    """What goes into the model, and where its answers come out.

    Attributes
    ----------
    input_ids, position_ids : int64 (1, n_packed)
    layout : Layout
    row_start, row_end, node_start : int64 (B,)
        Packed index of each row's first token, of its last token, where every first option token is predicted, and of
        its first tree node (the last two meaningless for a row without tokens, or without nodes).
    """

    input_ids: Tensor
    position_ids: Tensor
    layout: Layout
    row_start: NDArray[np.int64]
    row_end: NDArray[np.int64]
    node_start: NDArray[np.int64]


@dataclass
class Row:
    """One row of a batch: what to feed, and what earlier passes have fed.

    Attributes
    ----------
    tokens : sequence of int
        The row's tokens; empty if they are in ``past_tokens``.
    tree : OptionTree
    nodes : int64 array, optional
        Which of the tree's nodes to feed, in ascending order; all of them by default.
    past_tokens : int64 array
        Where in ``Layout.past`` the row's own tokens are.
    past_nodes, past_nodes_at : int64 arrays
        Tree nodes fed before, and where in ``Layout.past`` they are.
    """

    tokens: Sequence[int] = ()
    tree: OptionTree = NO_NODES
    nodes: NDArray[np.int64] | None = None
    past_tokens: NDArray[np.int64] = field(default_factory=lambda: _NOTHING)
    past_nodes: NDArray[np.int64] = field(default_factory=lambda: _NOTHING)
    past_nodes_at: NDArray[np.int64] = field(default_factory=lambda: _NOTHING)

    def __post_init__(self) -> None:
        if self.nodes is None:
            self.nodes = np.arange(self.tree.n_nodes)

    @property
    def n_new(self) -> int:
        """Tokens that this row adds to the pass."""
        return len(self.tokens) + len(self.nodes)  # type: ignore[arg-type]


def pack(
    rows: Sequence[Row],
    *,
    prefix_tokens: Sequence[int] = (),
    prefix: KeyValues | None = None,
    past: KeyValues | None = None,
    device: Any = "cpu",
) -> Packed:
    """Lay rows out one after the other.

    Parameters
    ----------
    rows : sequence of Row
        Each with something to feed.
    prefix_tokens : sequence of int
        Put at the front of the packed sequence (training).
    prefix : KeyValues, optional
        The cached prefix, instead.
    past : KeyValues, optional
        What ``Row.past_tokens`` and ``Row.past_nodes_at`` point into.
    """
    n_lead = len(prefix_tokens)
    n_prefix = prefix[0][0].shape[1] if prefix else n_lead
    n_past = past[0][0].shape[1] if past else 0
    n_block = max(row.n_new for row in rows)
    n_keys = max(row.n_new + len(row.past_tokens) + len(row.past_nodes) for row in rows)
    query = np.zeros((len(rows), n_block), dtype=np.int64)
    key = np.zeros((len(rows), n_keys), dtype=np.int64)
    mask = np.zeros((len(rows), n_block, n_keys), dtype=bool)
    query_at = np.zeros((len(rows), n_block), dtype=np.int64)
    key_at = np.zeros((len(rows), n_keys), dtype=np.int64)
    ids: list[int] = list(prefix_tokens)
    positions: list[int] = list(range(n_lead))
    flat, starts = [], []
    for b, row in enumerate(rows):
        start, n_new, n_row = len(ids) - n_lead, row.n_new, len(row.past_tokens) + len(row.tokens)
        new = np.arange(start, start + n_new)
        query[b, :n_new] = new
        keys = np.concatenate([row.past_tokens, row.past_nodes_at, new + n_past])
        key[b, : len(keys)] = keys
        _fill_mask(mask[b], row)
        flat.append(b * n_block + np.arange(n_new))
        ids += list(row.tokens) + row.tree.node_token[row.nodes].tolist()
        first = n_prefix + len(row.past_tokens)
        at = np.concatenate(
            [np.arange(first, first + len(row.tokens)), n_prefix + n_row - 1 + row.tree.node_depth[row.nodes]]
        )
        positions += at.tolist()
        past_at = np.concatenate(
            [np.arange(n_prefix, first), n_prefix + n_row - 1 + row.tree.node_depth[row.past_nodes]]
        )
        key_at[b, : len(keys)] = np.concatenate([past_at, at])
        query_at[b, :n_new], query_at[b, n_new:] = at, key_at[b, 0]
        starts.append(n_lead + start)

    n_filler = -len(ids) % (SHORT_MULTIPLE if len(ids) <= 2 * PACK_MULTIPLE else PACK_MULTIPLE)
    ids += [0] * n_filler
    positions += [0] * n_filler

    def tensor(values: Any) -> Tensor:
        return torch.as_tensor(values, device=device)

    layout = Layout(
        tensor(query),
        tensor(key),
        tensor(np.concatenate(flat)),
        tensor(mask[:, None]),
        query_at,
        key_at,
        n_prefix,
        prefix,
        past,
        n_filler=n_filler,
        dense=all(row.n_new == n_block for row in rows),
    )
    row_start = np.array(starts)
    node_start = row_start + [len(row.tokens) for row in rows]
    return Packed(tensor([ids]), tensor([positions]), layout, row_start, node_start - 1, node_start)


def _fill_mask(mask: NDArray[np.bool_], row: Row) -> None:
    """One row's (L, M) block: tokens causally, nodes by ancestry."""
    n_past, n_past_nodes = len(row.past_tokens), len(row.past_nodes)
    n_tokens, n_new = len(row.tokens), row.n_new
    own = n_past + n_past_nodes
    mask[:n_new, :n_past] = True
    mask[:n_tokens, own : own + n_tokens] = np.tri(n_tokens, dtype=bool)
    mask[n_tokens:n_new, own : own + n_tokens] = True
    if n_new > n_tokens:
        above = row.tree.ancestors[row.nodes]
        mask[n_tokens:n_new, n_past:own] = above[:, row.past_nodes]
        mask[n_tokens:n_new, own + n_tokens : own + n_new] = above[:, row.nodes]
    # Padding must look somewhere: a softmax over nothing is NaN, and NaN times a zero gradient is still NaN.
    mask[n_new:, 0] = True


_LAYOUT: ContextVar[Layout | None] = ContextVar("layout", default=None)


@contextmanager
def laid_out(layout: Layout) -> Iterator[None]:
    """Within this, a forward pass with ``ATTENTION`` is one over the packed tokens of a layout."""
    token = _LAYOUT.set(layout)
    try:
        yield
    finally:
        _LAYOUT.reset(token)


def tree_mask(mask_function: Callable[..., Any] = causal_mask_function, use_vmap: bool = False, **settings: Any) -> Any:
    """What transformers calls for a layer's mask: a ``Restricted``, None for "all that is before", or an ordinary mask.

    Raises
    ------
    NotImplementedError
        A mask that depends on more than the positions of query and key.
    """
    layout = _LAYOUT.get()
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
    layout = _LAYOUT.get()
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
    attended = _attend(stacked, (own_key, own_value), mask, prefix, on_prefix, softcap, sinks)
    flat = attended.view(n_groups, n_rows, -1, n_block, value.shape[-1]).permute(1, 3, 0, 2, 4)
    rows = flat.reshape(n_tokens, -1, value.shape[-1])  # (tokens, heads, width)
    rows = rows if layout.dense else rows[layout.flat_T]
    return F.pad(torch.cat([*lead, rows]) if lead else rows, (0, 0, 0, 0, 0, layout.n_filler))


def _attend(
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
    attended = _attend(stacked, (keys[:, None], values[:, None]), seen, None, None, softcap, sinks)
    return attended.reshape(-1, n_prefix, values.shape[-1]).transpose(0, 1)


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
    attended = _attend(stacked, own, mask[..., : key.shape[2]], None, None, softcap, sinks)
    return attended.view(n_groups, len(query), -1, n_queries, value.shape[-1]).permute(1, 3, 0, 2, 4).flatten(2, 3)


AttentionInterface.register(ATTENTION, tree_attention)
AttentionMaskInterface.register(ATTENTION, tree_mask)
