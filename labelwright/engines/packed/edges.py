"""From a packed forward pass to the log-probabilities of a tree's edges, with or without gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from labelwright.engines.options.tree import OptionTree
from labelwright.engines.packed.decoder import HubDecoder
from labelwright.engines.packed.heads import Head, open_head
from labelwright.engines.packed.lower import LowerLayers
from labelwright.engines.packed.memory import kind_of, to_device
from labelwright.engines.packed.packing import Packed, Row, pack

# Positions whose logits over the whole vocabulary are held at once: on a processor so few that they stay in its cache,
# on an accelerator enough to keep it busy.
LOGIT_ROWS = {"cpu": 64, "accelerator": 512}
# Up to so many positions, logits are kept for the backward pass: at 50,000 words 50 and 200 MB. To compute them again
# is a third of their work.
KEPT_ROWS = {"cpu": 256, "accelerator": 1024}


def tree_log_probs(
    model: Any,
    prefix_tokens: Sequence[int],
    rows: Sequence[Row],
    entropy: bool = False,
    lower: LowerLayers | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Edge log-probabilities of many rows in one packed forward pass, differentiable.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        With the attention implementation of ``labelwright.engines.packed.packing``.
    prefix_tokens : sequence of int
        What every row begins with; fed once.
    rows : sequence of Row
        Each with its tokens and its option tree.
    entropy : bool
        Also return each edge's next-token entropy in nats (no gradient).
    lower : LowerLayers, optional
        The model's frozen layers, opened with the same prefix; without them nothing is kept.

    Returns
    -------
    log_probs : float32 tensor (n_edges of all rows, in row order)
    entropies : the same shape, or None
    """
    device = next(model.parameters()).device
    packed = pack(rows, prefix_tokens=prefix_tokens, device=device)
    hidden = HubDecoder(model.get_decoder())(packed) if lower is None else lower.decode(packed, rows)
    head = open_head(model)
    places = edge_places(packed, [row.tree for row in rows])
    tokens = np.concatenate([row.tree.edge_token for row in rows])
    log_probs = edge_log_probs(head, hidden, places, tokens)
    return log_probs, _entropies(head, hidden, places) if entropy else None


@torch.no_grad()
def _entropies(head: Head, hidden: Tensor, places: NDArray[np.int64]) -> Tensor:
    unique, inverse = np.unique(places, return_inverse=True)
    most = LOGIT_ROWS[kind_of(hidden.device)]
    parts = []
    for start in range(0, len(unique), most):
        rows = to_device(unique[start : start + most], hidden.device)
        log_probs = torch.log_softmax(head.logits(hidden[rows])[0].float(), dim=-1)
        parts.append(-(log_probs.exp() * log_probs).sum(-1))
    return torch.cat(parts)[to_device(inverse, hidden.device)]


def edge_log_probs(head: Head, hidden: Tensor, places: NDArray[np.int64], tokens: NDArray[np.int64]) -> Tensor:
    """log p(token | place) over the whole vocabulary, float32 (n_edges,), differentiable.

    Parameters
    ----------
    head : Head
        The model's, by ``labelwright.engines.packed.heads.open_head``.
    hidden : tensor (n_packed, hidden)
    places, tokens : int arrays (n_edges,)
        Where each edge is predicted, and what.

    Notes
    -----
    The vocabulary is large against the model's width, so the normaliser is computed once a place, in chunks.
    """
    unique, inverse = np.unique(places, return_inverse=True)
    device = hidden.device
    most = LOGIT_ROWS[kind_of(device)]
    n_chunks = -(-len(unique) // most)
    wanted = [np.flatnonzero(inverse // most == chunk) for chunk in range(n_chunks)]
    parts = []
    for chunk, edges in enumerate(wanted):
        rows = to_device(unique[chunk * most : (chunk + 1) * most], device)
        place = to_device(inverse[edges] - chunk * most, device)
        token = to_device(tokens[edges], device)
        if torch.is_grad_enabled() and len(unique) > KEPT_ROWS[kind_of(device)]:
            # Many logits are computed again in the backward pass: those of 77 labels would be a gigabyte.
            parts.append(checkpoint(_log_probs, head, hidden[rows], place, token, use_reentrant=False))
        else:
            parts.append(_log_probs(head, hidden[rows], place, token))
    order = to_device(np.argsort(np.concatenate(wanted)), device)
    return torch.cat(parts)[order]


def _log_probs(head: Head, hidden: Tensor, place: Tensor, token: Tensor) -> Tensor:
    """log p(token | hidden[place]), float32.

    In bfloat16 a logit of 20 is rounded to the nearest eighth, which alone would move a probability by 6 %. The few
    logits that count are therefore taken again in float32, and their share of the normaliser with them.
    """
    logits, is_rounded = head.logits(hidden)
    logits = logits.float()
    # x - log_softmax(x) is the normaliser in every column; the kernel reads the row once, where logsumexp makes copies.
    normaliser = (logits[:, 0] - torch.log_softmax(logits, dim=-1)[:, 0])[place]
    taken = logits[place, token]
    exact = head.exact(hidden, place, token) if is_rounded else None
    if exact is None:
        return taken - normaliser
    moved = torch.zeros(len(hidden), device=hidden.device)
    moved = moved.index_add(0, place, torch.exp(exact - normaliser) - torch.exp(taken - normaliser))
    return exact - normaliser - torch.log1p(moved[place].clamp(min=-0.99))


def edge_places(packed: Packed, trees: Sequence[OptionTree]) -> NDArray[np.int64]:
    """Packed index at which each edge of each row's tree is predicted, all rows in one array; whole trees only."""
    return np.concatenate(
        [
            np.where(tree.edge_node >= 0, start + tree.edge_node, end)
            for end, start, tree in zip(packed.row_end, packed.node_start, trees, strict=True)
        ]
    )
