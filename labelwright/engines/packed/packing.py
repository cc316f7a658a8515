"""Rows and option trees as one long sequence without padding, with the shared prefix held once.

Every linear layer then sees only real tokens. Attention, which must keep rows apart, is the one place where the packed
tokens are laid out as a padded block a row: each row's tokens attend to the prefix, to the row itself, and, for tree
nodes, to their ancestors. Here the sequence and its layout are made; ``labelwright.engines.packed.attention`` follows
it. Two rows, of three tokens and of two, with a tree of two nodes after each:

    prefix (cached, or leading the sequence) | t t t n n | t t n n | filler up to a multiple of 64

The same code serves the scorer (prefix cached, no gradient) and GRPO's packed forward (prefix part of the sequence,
gradients through everything).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from labelwright.engines.options.tree import OptionTree
from labelwright.engines.packed.memory import to_device
from labelwright.engines.packed.seen import SeenImage

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
    fused : dict of (int, torch.dtype) to (Tensor, Tensor)
        What ``labelwright.engines.packed.attention`` makes of all this for a fused kernel, once a pass, by the number
        of query heads that share a key head, and their number format.
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
    fused: dict[tuple[int, Any], tuple[Tensor, Tensor]] = field(default_factory=dict)


@dataclass
class Packed:
    """What goes into the model, and where its answers come out.

    Attributes
    ----------
    input_ids : int64 (1, n_packed)
    position_ids : int64 (1, n_packed), or (n_axes, 1, n_packed)
        Of several axes only where an image has such.
    layout : Layout
    row_start, row_end, node_start : int64 (B,)
        Packed index of each row's first token, of its last token, where every first option token is predicted, and of
        its first tree node (the last two meaningless for a row without tokens, or without nodes).
    images : sequence of (int, SeenImage)
        Images that are fed, each with the packed index of its first token.
    """

    input_ids: Tensor
    position_ids: Tensor
    layout: Layout
    row_start: NDArray[np.int64]
    row_end: NDArray[np.int64]
    node_start: NDArray[np.int64]
    images: Sequence[tuple[int, SeenImage]] = ()


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
    seen : SeenImage, optional
        The image that the row begins with, whether its tokens are fed now or were before.
    """

    tokens: Sequence[int] = ()
    tree: OptionTree = NO_NODES
    nodes: NDArray[np.int64] | None = None
    past_tokens: NDArray[np.int64] = field(default_factory=lambda: _NOTHING)
    past_nodes: NDArray[np.int64] = field(default_factory=lambda: _NOTHING)
    past_nodes_at: NDArray[np.int64] = field(default_factory=lambda: _NOTHING)
    seen: SeenImage | None = None

    def __post_init__(self) -> None:
        if self.nodes is None:
            self.nodes = np.arange(self.tree.n_nodes)

    @property
    def n_new(self) -> int:
        """Tokens that this row adds to the pass."""
        return len(self.tokens) + len(self.nodes)  # type: ignore[arg-type]

    @property
    def content(self) -> tuple[tuple[int, ...], str]:
        """What tells the row's own part from others': images of one size have the same tokens."""
        return tuple(self.tokens), self.seen.digest if self.seen else ""


def pack(
    rows: Sequence[Row],
    *,
    prefix_tokens: Sequence[int] = (),
    prefix: KeyValues | None = None,
    past: KeyValues | None = None,
    shift: int = 0,
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
    shift : int
        ``SeenImage.shift`` of an image that the prefix holds.
    """
    n_lead = len(prefix_tokens)
    n_prefix = prefix[0][0].shape[1] if prefix else n_lead
    n_past = past[0][0].shape[1] if past else 0
    # Axes as in Layout: (B, n_block) queries, (B, n_keys) keys, (B, n_block, n_keys) who looks at whom.
    n_block = max(row.n_new for row in rows)
    n_keys = max(row.n_new + len(row.past_tokens) + len(row.past_nodes) for row in rows)
    query = np.zeros((len(rows), n_block), dtype=np.int64)
    key = np.zeros((len(rows), n_keys), dtype=np.int64)
    mask = np.zeros((len(rows), n_block, n_keys), dtype=bool)
    query_at = np.zeros((len(rows), n_block), dtype=np.int64)
    key_at = np.zeros((len(rows), n_keys), dtype=np.int64)
    ids: list[int] = list(prefix_tokens)
    positions: list[int] = list(range(n_lead))
    flat, starts, images = [], [], []
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
        positions += (at + shift + _shifts(row)).tolist()
        if row.seen is not None and len(row.tokens):
            images.append((n_lead + start, row.seen))
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
        return to_device(values, device)

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
    position_ids = tensor([positions])
    if any(seen.positions is not None for _, seen in images):
        position_ids = _on_axes(position_ids, images, n_prefix + shift)
    return Packed(tensor([ids]), position_ids, layout, row_start, node_start - 1, node_start, images)


def _shifts(row: Row) -> NDArray[np.int64]:
    """What is added to the place of each of a row's new tokens and nodes for its image, (n_new,)."""
    shifts = np.zeros(row.n_new, dtype=np.int64)
    if row.seen is not None:
        shifts[min(len(row.tokens), len(row.seen.tokens)) :] = row.seen.shift
    return shifts


def _on_axes(position_ids: Tensor, images: Sequence[tuple[int, SeenImage]], before: int) -> Tensor:
    """Positions (1, n_packed) as (n_axes, 1, n_packed): all axes alike, but within images."""
    n_axes = next(len(seen.positions) for _, seen in images if seen.positions is not None)
    turned = position_ids.expand(n_axes, -1).clone()
    for start, seen in images:
        if seen.positions is not None:
            turned[:, start : start + len(seen.tokens)] = before + seen.positions.to(turned.device)
    return turned[:, None]


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
