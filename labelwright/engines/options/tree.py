"""Answer options as a token tree, so that options with a common beginning share it.

Pure bookkeeping on token ids: no torch, no tokenizer. Engines and the GRPO stage lay the tree out after a row and
read the options' log-probabilities off its edges.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

ROOT = -1


@dataclass(frozen=True)
class OptionTree:
    """The prefix tree of K token sequences.

    An *edge* is one token predicted at one place in the tree; an option's log-probability is the sum over the edges on
    its path. A *node* is a place whose token must be fed to the model because something follows it; the root, where
    the row ends, is not a node and is written ``ROOT``. Leaves (ends of turn) are predicted and never fed.

    Attributes
    ----------
    options : tuple of tuple of int
        The token sequences, none the beginning of another.
    node_token, node_parent, node_depth : int64 arrays of shape (n_nodes,)
        Parents stand before their children; the depth of the root's children is 1.
    edge_node, edge_token : int64 arrays of shape (n_edges,)
        Where each edge starts (a node or ``ROOT``) and the token that it predicts.
    incidence : float64 array of shape (n_options, n_edges)
        1 where the edge is on the option's path.
    first_edge : int64 array of shape (n_options,)
        The edge of each option's first token.
    """

    options: tuple[tuple[int, ...], ...]
    node_token: NDArray[np.int64] = field(repr=False)
    node_parent: NDArray[np.int64] = field(repr=False)
    node_depth: NDArray[np.int64] = field(repr=False)
    edge_node: NDArray[np.int64] = field(repr=False)
    edge_token: NDArray[np.int64] = field(repr=False)
    incidence: NDArray[np.float64] = field(repr=False)
    first_edge: NDArray[np.int64] = field(repr=False)

    @classmethod
    def build(cls, options: Sequence[Sequence[int]]) -> OptionTree:
        """Build the tree.

        Raises
        ------
        ValueError
            If an option is empty, repeated, or the beginning of another one (then its probability would count the
            other's too).

        Examples
        --------
        >>> tree = OptionTree.build([[5, 6, 0], [5, 7, 0], [8, 0]])
        >>> tree.n_nodes, tree.n_edges
        (4, 7)
        """
        sequences = tuple(tuple(int(token) for token in option) for option in options)
        nodes: dict[tuple[int, ...], int] = {(): ROOT}
        edges: dict[tuple[int, ...], int] = {}
        _refuse_prefixes(sequences)
        for sequence in sequences:
            for end in range(1, len(sequence) + 1):
                edges.setdefault(sequence[:end], len(edges))
                if end < len(sequence):
                    nodes.setdefault(sequence[:end], len(nodes) - 1)
        inner = [path for path in nodes if path]
        incidence = np.zeros((len(sequences), len(edges)))
        for k, sequence in enumerate(sequences):
            for end in range(1, len(sequence) + 1):
                incidence[k, edges[sequence[:end]]] = 1.0
        return cls(
            options=sequences,
            node_token=_ints(path[-1] for path in inner),
            node_parent=_ints(nodes[path[:-1]] for path in inner),
            node_depth=_ints(len(path) for path in inner),
            edge_node=_ints(nodes[path[:-1]] for path in edges),
            edge_token=_ints(path[-1] for path in edges),
            incidence=incidence,
            first_edge=_ints(edges[sequence[:1]] for sequence in sequences),
        )

    @property
    def n_nodes(self) -> int:
        """Tokens to feed after the row."""
        return len(self.node_token)

    @property
    def n_edges(self) -> int:
        """Log-probabilities to read."""
        return len(self.edge_token)

    @cached_property
    def node_edge(self) -> NDArray[np.int64]:
        """(n_nodes,): the edge that predicts each node's token."""
        edges = {(int(n), int(t)): e for e, (n, t) in enumerate(zip(self.edge_node, self.edge_token, strict=True))}
        return _ints(edges[int(p), int(t)] for p, t in zip(self.node_parent, self.node_token, strict=True))

    @cached_property
    def last_edge(self) -> NDArray[np.int64]:
        """(n_options,): the edge with which each option ends."""
        on_path = np.arange(self.n_edges) * (self.incidence > 0)
        depth = np.where(self.edge_node == ROOT, 0, self.node_depth[self.edge_node] if self.n_nodes else 0)
        return on_path[np.arange(len(self.options)), ((self.incidence > 0) * (depth + 1)).argmax(axis=1)]

    @cached_property
    def ancestors(self) -> NDArray[np.bool_]:
        """(n_nodes, n_nodes): row i is True at i itself and at every node above it. A node attends to just these."""
        seen = np.eye(self.n_nodes, dtype=bool)
        for node, parent in enumerate(self.node_parent):
            if parent != ROOT:
                seen[node] |= seen[parent]
        return seen


def prefix_free(sequences: Sequence[tuple[int, ...]]) -> bool:
    """Whether no sequence is the beginning of another one.

    >>> prefix_free([(5, 6), (5, 7)]), prefix_free([(5,), (5, 7)])
    (True, False)
    """
    paths = set(sequences)
    return not any(sequence[:end] in paths for sequence in sequences for end in range(1, len(sequence)))


def _refuse_prefixes(sequences: tuple[tuple[int, ...], ...]) -> None:
    paths = set(sequences)
    if len(paths) != len(sequences) or () in paths:
        raise ValueError("options must be different, non-empty token sequences")
    if not prefix_free(sequences):
        raise ValueError("an option is the beginning of another one; end each with the end of turn")


def _ints(values: object) -> NDArray[np.int64]:
    return np.fromiter(values, dtype=np.int64)  # type: ignore[call-overload]
