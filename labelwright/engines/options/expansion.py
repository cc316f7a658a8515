"""Which parts of an option tree must be looked at, and when to stop: scores of a closed set with a certified bound.

An option's log-probability is a sum along its path, each term at most 0. So the probability with which a path is
reached bounds every option below it from above, and all of them together: they share it. While the paths that were not
followed cannot hold more than a stated share of the options' probability, nothing that follows them can matter.

That share is one of the probabilities that decide, the calibrated ones. A temperature above 1 raises what is unlikely,
a bias what it favours: what looks negligible before can be several hundredths afterwards.

Pure numpy and bookkeeping: whoever can tell the log-probability of given next tokens after a given path (a model in
this process, a server) feeds it in here, so that the same bound holds everywhere.
"""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from labelwright.engines.options.tree import ROOT, OptionTree
from labelwright.errors import ModelError
from labelwright.statistics.calibration import UNCALIBRATED, Calibration

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]
# Stands for log 0 where it is multiplied by 0.
_NEVER = -1e300


def bounded_mass(unexpanded_mass: float, calibration: Calibration | None) -> float:
    """The share that may stay unexpanded: none where it is not known how the scores will be calibrated.

    Nor where the bound does not hold for what will be done with them: means over rotations, numbers beyond all measure.
    """
    if calibration is None or calibration.rotations:
        return 0.0
    numbers = (1 / calibration.temperature if calibration.temperature else math.inf, *calibration.bias)
    return unexpanded_mass if numbers[0] > 0 and all(map(math.isfinite, numbers)) else 0.0


class Expansion:
    """The state of a batch of rows over one option tree.

    A *place* is where tokens are predicted: place 0 is the root, where the row ends, place 1 + j is node j. A place is
    *open* when its path has been predicted and it has not been fed.

    The options' weights are w_k p_k^a, with a = 1/T and w_k = exp(b_k): softmax of the calibrated scores divides them
    by their sum. Those behind a place that is reached with probability m have p_k that add up to m at most, so their
    weights add up to at most

        m^a max_k w_k                               for a >= 1, a convex function's maximum being at a corner
        m^a (sum_k w_k^(1/(1-a)))^(1-a)             for a < 1, by Hölder's inequality

    With E the weight of the options that are known to their end and U the sum of the open places' bounds, the options
    behind open places hold at most the share U / (U + E). A row is done when that is at most ``unexpanded_mass``. Then
    the total variation between the calibrated probabilities and those of full expansion is at most that, too: what
    ``scores`` gives the open options is within the same bounds, and two mixtures of the same known part with at most a
    share u of anything else differ by u at most.

    Parameters
    ----------
    tree : OptionTree
    n_rows : int
    unexpanded_mass : float
        In [0, 1). 0 follows every path.
    calibration : Calibration, optional
        What will be applied to the scores; its bias, if any, one an option. None: not known, every path is followed.

    Raises
    ------
    ValueError
        If the bias does not fit the options.

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

    def __init__(
        self,
        tree: OptionTree,
        n_rows: int,
        unexpanded_mass: float = 1e-4,
        calibration: Calibration | None = UNCALIBRATED,
    ) -> None:
        self.tree = tree
        self.unexpanded_mass = bounded_mass(unexpanded_mass, calibration)
        self._scale = 1 / calibration.temperature if calibration and self.unexpanded_mass else 1.0
        self._bias = np.zeros(len(tree.options))
        if calibration and calibration.bias:
            if len(calibration.bias) != len(tree.options):
                raise ValueError(f"a bias for {len(calibration.bias)} options, not for {len(tree.options)}")
            self._bias = np.array(calibration.bias)
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
        chosen = self.open()
        if self.unexpanded_mass:
            mass, known = self._masses(chosen)
            # From the least bound up, what would be left unfed if everything from there down stayed so.
            order = np.argsort(mass, axis=1)
            ascending = np.take_along_axis(mass, order, axis=1).cumsum(axis=1)
            left = np.empty_like(mass)
            np.put_along_axis(left, order, ascending, axis=1)
            # Feeding a place can only lower what it holds at most, so the total is one from above as well.
            total = ascending[:, -1:] + known[:, None]
            chosen = chosen & (left > self.unexpanded_mass * total)
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

        Raises
        ------
        ModelError
            If something that is read is NaN or +inf: no probability, and nothing that may become an answer.
        """
        self.fed |= places
        for edges, starts, above in self._levels:
            new = places[:, starts]
            read = edge_log_probs[:, edges]
            if not (read[new] < np.inf).all():
                raise ModelError(
                    "the model's log-probabilities are not numbers: its weights or its adapter are damaged"
                )
            path = self._path[:, above] + np.minimum(read, 0.0)
            self._path[:, 1 + edges] = np.where(new, path, self._path[:, 1 + edges])

    def scores(self) -> Floats:
        """(n_rows, n_options): log-probability of each option, uncalibrated.

        An option that was not followed to its end gets an equal part of its open place's probability. That is one of
        the ways in which they could share it, so that however they are calibrated, they stay within their bound.
        """
        scores = self._path[:, 1 + self.tree.last_edge]
        if not np.isnan(scores).any():
            return scores
        # The last predicted place on each option's path is the one that stayed open.
        open_ = self.open()
        n_below = np.concatenate([[len(self.tree.options)], self.tree.incidence.sum(axis=0)[self.tree.node_edge]])
        reached = np.maximum(self._path[:, self._own_edge], _NEVER)
        guess = np.where(open_, reached - np.log(n_below), 0.0) @ self._through.T
        return np.where(np.isnan(scores), np.where(guess <= _NEVER, -np.inf, guess), scores)

    @cached_property
    def _through(self) -> Floats:
        """(n_options, places): 1 where the option's path leads through the place."""
        return np.concatenate([np.ones((len(self.tree.options), 1)), self.tree.incidence[:, self.tree.node_edge]], 1)

    @cached_property
    def _log_capacity(self) -> Floats:
        """(places,): log of the most that the options below a place can weigh together, were it reached for certain."""
        spread = 1 - self._scale
        if not self._bias.any():
            return max(spread, 0.0) * np.log(self._through.sum(axis=0))
        bias = np.where(self._through > 0, self._bias[:, None], -np.inf)
        most = bias.max(axis=0)
        if spread <= 0:
            return most
        return most + spread * np.log(np.exp((bias - most) / spread).sum(axis=0))

    @property
    def _below(self) -> NDArray[np.float32]:
        """(places, places): 1 where the column's place lies below the row's."""
        n = self.fed.shape[1]
        below = np.ones((n, n), dtype=np.float32)
        below[1:, 0] = 0
        below[1:, 1:] = self.tree.ancestors.T
        return below

    def _masses(self, open_: Mask) -> tuple[Floats, Floats]:
        """Bound of each open place (n_rows, places) and weight of all known options (n_rows,), in one unit a row."""
        reach = np.where(open_, self._path[:, self._own_edge], -np.inf)
        last = self._path[:, 1 + self.tree.last_edge]
        known = np.where(np.isnan(last), -np.inf, last)
        # Twice, so that no scale, however large, makes all of them nothing or beyond all measure.
        reach, known = _in_one_unit(reach, known)
        reach, known = _in_one_unit(self._scale * reach + self._log_capacity, self._scale * known + self._bias)
        return np.exp(reach), np.exp(known).sum(axis=1)


def _in_one_unit(reach: Floats, known: Floats) -> tuple[Floats, Floats]:
    """Logarithms (n_rows, …), the largest of each row moved to 0; where all are those of 0 they stay."""
    most = np.maximum(reach.max(axis=1), known.max(axis=1))[:, None]
    unit = np.where(np.isneginf(most), 0.0, most)
    return reach - unit, known - unit


def _levels(tree: OptionTree) -> list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
    """Edges from the root down, a level at a time: their numbers, the places they start at, the paths above them."""
    starts = tree.edge_node + 1
    above = np.where(tree.edge_node == ROOT, 0, 1 + tree.node_edge[tree.edge_node] if tree.n_nodes else 0)
    depth = np.where(tree.edge_node == ROOT, 0, tree.node_depth[tree.edge_node] if tree.n_nodes else 0)
    return [(edges, starts[edges], above[edges]) for d in np.unique(depth) for edges in [np.flatnonzero(depth == d)]]
