"""Rows with many options in several passes, of which the backward pass computes one at a time again.

What a training step keeps for its backward pass grows with the tokens that it feeds, and a row feeds its whole option
tree: a thousand labels are thousands of tokens a row. Beyond a bound the rows of a pass, and the options of a row whose
tree alone is larger, are cut into chunks. Of each only the log-probabilities are kept; the gradient is that of the
whole pass, and the memory that of one chunk with the prefix, which each reads anew. Below the bound nothing is cut and
nothing is computed twice. A row's nodes attend to each other, so a part is bounded a second time, far below a chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from labelwright.engines.options.tree import OptionTree
from labelwright.engines.packed.edges import tree_log_probs
from labelwright.engines.packed.lower import LowerLayers
from labelwright.engines.packed.memory import give_back, kind_of
from labelwright.engines.packed.packing import Row

# Tokens of rows and trees whose activations are held at once: some gigabytes of a model of 0.1 to 0.6 billion weights.
# A number and not a share of what is free, so that a training continued elsewhere adds up in the same order.
CHUNK_TOKENS = {"cpu": 4096, "accelerator": 16384}
# What attention holds of a row is its nodes squared, a chunk's other activations are its tokens: so where rows do not
# fit into one chunk, no part of a row has more nodes than a quarter of a chunk's tokens; but as many as this, whose
# square is nothing beside the rest.
_PART, _LEAST_PART = 4, 256


@dataclass(frozen=True)
class _Part:
    """A row with some of its options.

    Attributes
    ----------
    row : int
        Which of the rows.
    tree : OptionTree
        Of these options.
    edges : int64 array (n_edges of the part,)
        What each edge is in the row's whole tree.
    """

    row: int
    tree: OptionTree
    edges: NDArray[np.int64]


def chunk_tokens(device: torch.device) -> int:
    """How many tokens are held at once on a device."""
    return CHUNK_TOKENS[kind_of(device)]


def log_probs_in_chunks(
    model: Any,
    prefix_tokens: Sequence[int],
    rows: Sequence[Row],
    entropy: bool = False,
    lower: LowerLayers | None = None,
    most_tokens: int | None = None,
    agreed: Callable[[int], int] | None = None,
) -> tuple[Tensor, Tensor | None]:
    """``tree_log_probs``, with the activations of at most so many tokens of rows and trees held at a time.

    Parameters
    ----------
    model, prefix_tokens, rows, entropy, lower
        As there.
    most_tokens : int, optional
        The device's by default (``CHUNK_TOKENS``). A row with one option is a chunk however long it is; the prefix,
        which every chunk reads, does not count.
    agreed : callable, optional
        From how many chunks there are to how many are computed, which are as many or more: processes that share a
        model's layers run them equally often. The last one is repeated then, and counts once.
    """
    here = torch.empty(0, device=next(model.parameters()).device)
    chunks = [*_chunks(rows, most_tokens or chunk_tokens(here.device))]
    n_chunks = agreed(len(chunks)) if agreed else len(chunks)
    if n_chunks == 1:
        return tree_log_probs(model, prefix_tokens, rows, entropy, lower)
    chunks += chunks[-1:] * (n_chunks - len(chunks))
    starts = np.cumsum([0, *(row.tree.n_edges for row in rows)])
    found: list[Tensor] = []
    entropies: list[Tensor] = []
    places = []
    for chunk in chunks:
        batch = [replace(rows[part.row], tree=part.tree, nodes=None) for part in chunk]
        given = (model, prefix_tokens, batch, entropy, lower)
        log_probs, spread = (
            checkpoint(_recomputed, here, *given, use_reentrant=False)
            if torch.is_grad_enabled()
            else tree_log_probs(*given)
        )
        found.append(log_probs)
        entropies += [] if spread is None else [spread]
        places.append(np.concatenate([starts[part.row] + part.edges for part in chunk]))
    # An edge that options of two chunks share is computed in both, alike; the first is taken.
    _, first = np.unique(np.concatenate(places), return_index=True)
    order = torch.as_tensor(first, device=found[0].device)
    return torch.cat(found)[order], torch.cat(entropies)[order] if entropy else None


def _recomputed(here: Tensor, *given: Any) -> tuple[Tensor, Tensor | None]:
    """As ``tree_log_probs``. What is dropped out is the same the second time on the devices of tensors that are given
    alone: torch keeps their random states, and those of no others.

    What the chunk before has freed goes back first: blocks of main memory that the C library keeps do not fit the next
    one's, whose shapes are others, so that the process would grow with the number of chunks.
    """
    if here.device.type == "cpu":
        give_back(here.device)
    return tree_log_probs(*given)


def _chunks(rows: Sequence[Row], most: int) -> Iterator[list[_Part]]:
    """Parts of rows, in order, whose tokens and nodes are at most so many together; one part at least."""
    chunk: list[_Part] = []
    total = 0
    for part in _parts(rows, most):
        size = len(rows[part.row].tokens) + part.tree.n_nodes
        if chunk and total + size > most:
            yield chunk
            chunk, total = [], 0
        chunk.append(part)
        total += size
    yield chunk


def _parts(rows: Sequence[Row], most: int) -> Iterator[_Part]:
    # Of all rows of a tree the longest says how it is cut, so that it is cut once.
    longest: dict[int, int] = {}
    for row in rows:
        longest[id(row.tree)] = max(longest.get(id(row.tree), 0), len(row.tokens))
    cut: dict[int, list[tuple[OptionTree, NDArray[np.int64]]]] = {}
    most_nodes = max(most // _PART, _LEAST_PART)
    for number, row in enumerate(rows):
        if row.n_new <= most and row.tree.n_nodes <= most_nodes:
            yield _Part(number, row.tree, np.arange(row.tree.n_edges))
            continue
        if id(row.tree) not in cut:
            cut[id(row.tree)] = [*_subtrees(row.tree, min(most - longest[id(row.tree)], most_nodes))]
        for tree, edges in cut[id(row.tree)]:
            yield _Part(number, tree, edges)


def _subtrees(tree: OptionTree, most_nodes: int) -> Iterator[tuple[OptionTree, NDArray[np.int64]]]:
    """Trees of some options each, of so many nodes at most where one option has no more, with their edges' numbers."""
    # Options that begin alike stand side by side, and share what they begin with.
    order = sorted(range(len(tree.options)), key=lambda k: tree.options[k])
    some: list[int] = []
    n_nodes = 0
    for k in order:
        option = tree.options[k]
        shared = _n_alike(tree.options[some[-1]], option) if some else 0
        if some and n_nodes + len(option) - 1 - shared > most_nodes:
            yield _subtree(tree, some)
            some, n_nodes, shared = [], 0, 0
        some.append(k)
        n_nodes += len(option) - 1 - shared
    yield _subtree(tree, some)


def _subtree(tree: OptionTree, some: Sequence[int]) -> tuple[OptionTree, NDArray[np.int64]]:
    part = OptionTree.build([tree.options[k] for k in some])
    edges = np.empty(part.n_edges, dtype=np.int64)
    for line, k in enumerate(some):
        # A parent comes before its children in a tree, so a path's edges are in the order of its tokens in both.
        edges[np.flatnonzero(part.incidence[line])] = np.flatnonzero(tree.incidence[k])
    return part, edges


def _n_alike(one: Sequence[int], other: Sequence[int]) -> int:
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
