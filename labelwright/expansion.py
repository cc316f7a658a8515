"""Which parts of an option tree must be looked at, and when to stop: scores of a closed set with a certified bound.

An option's log-probability is a sum along its path, each term at most 0. So the probability with which a path is
reached bounds every option below it from above, and all of them together: they share it. While the paths that were not
followed cannot hold more than a stated share of the options' probability, nothing that follows them can matter.

Pure numpy and bookkeeping: whoever can tell the log-probability of given next tokens after a given path (a model in
this process, a server) feeds it in here, so that the same bound holds everywhere.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from labelwright.tree import ROOT, OptionTree

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]


class Expansion:
    """The state of a batch of rows over one option tree.

    A *place* is where tokens are predicted: place 0 is the root, where the row ends, place 1 + j is node j. A place is
    *open* when its path has been predicted and it has not been fed. With E the probability of the options that are
    known to their end and U that of the open places, all options behind open places hold at most U, hence at most the
    share U / (U + E) of the options' probability. A row is done when that is at most ``unexpanded_mass``.

    Parameters
    ----------
    tree : OptionTree
    n_rows : int
    unexpanded_mass : float
        In [0, 1). 0 follows every path.

    Examples
    --------
    >>> tree = OptionTree.build([[5, 0], [6, 0]])
    >>> rows = Expansion(tree, n_rows=1, unexpanded_mass=0.1)
    >>> rows.wanted()                                    # the root first
    array([[ True, False, False]])
    >>> rows.feed(rows.wanted(), np.log([[0.5, 0.9, 0.01, 0.9]]))      # 5 is likely, 6 is not
    >>> rows.wanted()
    array([[False,  True, False]])
    >>> rows.feed(rows.wanted(), np.log([[0.5, 0.9, 0.01, 0.9]]))
    >>> bool(rows.wanted().any()), np.exp(rows.scores()).round(3)
    (False, array([[0.45, 0.01]]))
    """

    def __init__(self, tree: OptionTree, n_rows: int, unexpanded_mass: float = 1e-4) -> None:
        self.tree = tree
        self.unexpanded_mass = unexpanded_mass
        self.fed: Mask = np.zeros((n_rows, 1 + tree.n_nodes), dtype=bool)
        # log p of every path that was predicted; NaN where it was not. Column 0 is the empty path, the others edges.
        self._path: Floats = np.full((n_rows, 1 + tree.n_edges), np.nan)
        self._path[:, 0] = 0.0
        self._own_edge = np.concatenate([[0], 1 + tree.node_edge])  # column of _path that leads to each place
        self._levels = _levels(tree)

    def open(self) -> Mask:
        """(n_rows, 1 + n_nodes): places that were predicted and not fed."""
        return ~self.fed & ~np.isnan(self._path[:, self._own_edge])

    def wanted(self, deep: bool = False) -> Mask:
        """(n_rows, 1 + n_nodes): the places to feed next; nowhere True when every row is done.

        They are the fewest that could be enough: the most probable open places, until those left hold no more than
        their share even if everything fed now turned out to be options in full. So nothing is fed in vain, and a row
        may want more in the next round.

        Parameters
        ----------
        deep : bool
            With them everything below them, in one go: more places, fewer rounds.
        """
        open_ = self.open()
        mass, known = self._masses(open_)
        # From the least probable place up, what would be left unfed if everything from there down stayed so.
        order = np.argsort(mass, axis=1)
        ascending = np.take_along_axis(mass, order, axis=1).cumsum(axis=1)
        left = np.empty_like(mass)
        np.put_along_axis(left, order, ascending, axis=1)
        total = ascending[:, -1:] + known[:, None]
        chosen = open_ & (left > self.unexpanded_mass * total) if self.unexpanded_mass else open_
        if deep:
            chosen = chosen | ((chosen.astype(np.float32) @ self._below) > 0)
        return chosen

    def feed(self, places: Mask, edge_log_probs: Floats) -> None:
        """Take in what was predicted at some places.

        Parameters
        ----------
        places : bool array of shape (n_rows, 1 + n_nodes)
            Places fed now; a place may be fed only with or after the one above it.
        edge_log_probs : array of shape (n_rows, n_edges)
            log p of each edge's token where the edge starts at such a place; what stands elsewhere is not read.
        """
        self.fed |= places
        for edges, starts, above in self._levels:
            new = places[:, starts]
            path = self._path[:, above] + np.minimum(edge_log_probs[:, edges], 0.0)
            self._path[:, 1 + edges] = np.where(new, path, self._path[:, 1 + edges])

    def scores(self) -> Floats:
        """(n_rows, n_options): log-probability of each option.

        An option that was not followed to its end gets an equal part of its open place's probability. So the options
        behind open places are never given more than the bound that they were left with.
        """
        scores = self._path[:, 1 + self.tree.last_edge]
        if not np.isnan(scores).any():
            return scores
        # The last predicted place on each option's path is the one that stayed open.
        open_ = self.open()
        n_below = np.concatenate([[len(self.tree.options)], self.tree.incidence.sum(axis=0)[self.tree.node_edge]])
        share = np.where(open_, self._path[:, self._own_edge] - np.log(n_below), 0.0)
        through = np.concatenate([np.ones((len(self.tree.options), 1)), self.tree.incidence[:, self.tree.node_edge]], 1)
        return np.where(np.isnan(scores), share @ through.T, scores)

    def unexpanded_share(self) -> Floats:
        """(n_rows,): U / (U + E), the most that options behind open places can hold of the options' probability."""
        mass, known = self._masses(self.open())
        unknown = mass.sum(axis=1)
        return unknown / (unknown + known)

    @property
    def _below(self) -> NDArray[np.float32]:
        """(places, places): 1 where the column's place lies below the row's."""
        n = self.fed.shape[1]
        below = np.ones((n, n), dtype=np.float32)
        below[1:, 0] = 0
        below[1:, 1:] = self.tree.ancestors.T
        return below

    def _masses(self, open_: Mask) -> tuple[Floats, Floats]:
        """Probability of each open place (n_rows, places) and of all known options (n_rows,), in one unit a row."""
        reach = np.where(open_, self._path[:, self._own_edge], -np.inf)
        known = np.nan_to_num(self._path[:, 1 + self.tree.last_edge], nan=-np.inf)
        unit = np.maximum(reach.max(axis=1), known.max(axis=1))[:, None]
        return np.exp(reach - unit), np.exp(known - unit).sum(axis=1)


def _levels(tree: OptionTree) -> list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
    """Edges from the root down, a level at a time: their numbers, the places they start at, the paths above them."""
    starts = tree.edge_node + 1
    above = np.where(tree.edge_node == ROOT, 0, 1 + tree.node_edge[tree.edge_node] if tree.n_nodes else 0)
    depth = np.where(tree.edge_node == ROOT, 0, tree.node_depth[tree.edge_node] if tree.n_nodes else 0)
    return [(edges, starts[edges], above[edges]) for d in np.unique(depth) for edges in [np.flatnonzero(depth == d)]]
