"""Rows fed in rounds: first the rows, then those parts of their option trees that are asked for.

A round feeds places: the end of a row (place 0), or nodes of its option tree. What was fed in earlier rounds is looked
at through its kept keys and values, and is not fed again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from labelwright.engines.options.expansion import Mask
from labelwright.engines.options.tree import OptionTree
from labelwright.engines.packed.edges import edge_log_probs
from labelwright.engines.packed.memory import to_device
from labelwright.engines.packed.packing import KeyValues, Packed, Row, pack
from labelwright.engines.packed.seen import SeenImage
from labelwright.engines.passes.groups import cut
from labelwright.errors import ModelError


class Feeding(Protocol):
    """What passes are made with: an engine."""

    name: str
    model: Any
    decoder: Any
    head: Any

    @property
    def device(self) -> torch.device:
        """Where the model lives."""
        ...

    @property
    def pass_tokens(self) -> int:
        """Tokens of one pass, a row at least."""
        ...


class Lines(NamedTuple):
    """Rows behind one prefix.

    Attributes
    ----------
    rows : sequence of tuple of int
        Tokens, those of a row's own image first.
    seen : sequence of SeenImage or None
        A row's own image.
    shift : int
        ``SeenImage.shift`` of an image that the prefix holds.
    """

    rows: Sequence[tuple[int, ...]]
    seen: Sequence[SeenImage | None]
    prefix: KeyValues | None
    shift: int = 0

    def of(self, places: Sequence[int]) -> Lines:
        """Some of them."""
        return self._replace(rows=[self.rows[i] for i in places], seen=[self.seen[i] for i in places])


class Rounds:
    """A group of rows between rounds: which of their tokens and nodes were fed, and the keys and values of these."""

    def __init__(self, engine: Feeding, lines: Lines, tree: OptionTree) -> None:
        self._engine = engine
        self._rows, self._seen, self._prefix, self._shift = lines
        self._tree = tree
        self._past: KeyValues | None = None
        n_places = 1 + tree.n_nodes
        # Where in the past each row's first token and each of its nodes are; -1 where they were not fed.
        self._at = np.full((len(self._rows), n_places), -1, dtype=np.int64)

    def feed(self, places: Mask) -> NDArray[np.float64]:
        """Feed places (n_rows, 1 + n_nodes) and return log p of the edges that start there, (n_rows, n_edges)."""
        edges = np.zeros((len(self._rows), self._tree.n_edges))
        members = np.flatnonzero(places.any(axis=1))
        packable = {i: self._row(i, places[i]) for i in members.tolist()}
        n_past = self._past[0][0].shape[1] if self._past else 0
        kept: list[KeyValues] = []
        read = []
        at = self._at.copy()
        # Rows of one size side by side: attention pads each pass to its longest row.
        members = np.array(sorted(packable, key=lambda i: packable[i].n_new))
        sizes = [packable[i].n_new for i in members.tolist()]
        for batch in cut(sizes, lambda: self._engine.pass_tokens):
            numbers = members[batch]
            packed = pack(
                [packable[i] for i in numbers.tolist()],
                prefix=self._prefix,
                past=self._past,
                shift=self._shift,
                device=self._engine.device,
            )
            # Only what a later round may look at is worth keeping.
            packed.layout.kept = [] if not places[numbers, 1:].all() else None
            index = self._index(numbers, places[numbers], packed)
            read.append((numbers, *self._read(packed, index)))
            if packed.layout.kept is not None:
                new = index >= 0
                new[:, 0] &= self._at[numbers, 0] < 0
                starts = np.concatenate([packed.row_start[:, None], index[:, 1:]], axis=1)
                at[numbers] = np.where(new, starts + n_past, at[numbers])
                n_past += packed.input_ids.shape[1]
                kept.append(packed.layout.kept)
        self._at = at
        parts = ([self._past] if self._past else []) + kept
        if kept:
            self._past = [
                (torch.cat([k for k, _ in layer], dim=1), torch.cat([v for _, v in layer], dim=1))
                for layer in zip(*parts, strict=True)
            ]
        # Only here, so that an accelerator computes a pass while the next one is laid out.
        for numbers, rows, of_tree, values in read:
            # Not torch's float64, which not every accelerator has.
            edges[numbers[rows], of_tree] = values.cpu().numpy()
        if not np.isfinite(edges).all():
            raise ModelError(
                f"{self._engine.name}: its logits are not finite; its weights or its adapter are damaged, "
                f"or too large for {self._engine.model.dtype}"
            )
        return edges

    def _row(self, i: int, places: NDArray[np.bool_]) -> Row:
        nodes = np.flatnonzero(places[1:])
        if self._at[i, 0] < 0:
            return Row(self._rows[i], self._tree, nodes, seen=self._seen[i])
        past_nodes = np.flatnonzero(self._at[i, 1:] >= 0)
        past_tokens = np.arange(self._at[i, 0], self._at[i, 0] + len(self._rows[i]))
        return Row((), self._tree, nodes, past_tokens, past_nodes, self._at[i, 1 + past_nodes], self._seen[i])

    def _index(self, numbers: NDArray[np.int64], places: Mask, packed: Packed) -> NDArray[np.int64]:
        """Packed index at which each place is predicted, (rows of the pass, 1 + n_nodes); -1 where it is not fed."""
        rank = places[:, 1:].cumsum(axis=1) - 1
        nodes = np.where(places[:, 1:], packed.node_start[:, None] + rank, -1)
        root = np.where(places[:, 0], packed.row_end, -1)
        return np.concatenate([root[:, None], nodes], axis=1)

    def _read(self, packed: Packed, index: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], Tensor]:
        """Rows of a pass and edges of the tree, (n,) each, and their log p on the device, float32 (n,)."""
        starts = index[:, 1 + self._tree.edge_node]
        rows, edges = np.nonzero(starts >= 0)
        read, place = np.unique(starts[rows, edges], return_inverse=True)
        hidden = self._engine.decoder(packed, to_device(read, self._engine.device))
        return rows, edges, edge_log_probs(self._engine.head, hidden, place, self._tree.edge_token[edges])


def in_two_rounds(rounds: Rounds, n_rows: int, tree: OptionTree) -> NDArray[np.float64]:
    """log p of every edge (n_rows, n_edges): the rows in one round, their trees in another."""
    ends = np.zeros((n_rows, 1 + tree.n_nodes), dtype=bool)
    ends[:, 0] = True
    return rounds.feed(ends) + rounds.feed(~ends)
