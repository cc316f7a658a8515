"""Metrics of labels that are leaves of a tree: how far down an answer is right.

Beside the label that is said, the one is measured that is found level by level: at each node the child that has the
most probability, its labels' summed. The likeliest label may lie under a node that is not the likeliest one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwright.statistics.metrics import Answers, Floats, Ints, Metric, answers, answers_of


@dataclass(frozen=True)
class Paths(Answers):
    """What the metrics of this file need, besides what all answers have.

    Attributes
    ----------
    said, down : tuple of (right, shared, n_said)
        Of the label that is said, and of the one found level by level. ``right`` is a bool ndarray (n_rows, depth):
        whether it is right down to each depth; ``shared`` and ``n_said`` (n_rows,) count the nodes on its path, all of
        them and those on the right one, the label itself among them; 0 where there is no answer.
    n_right : float64 ndarray of shape (n_rows,)
        Nodes on the right label's path.
    """

    said: tuple[NDArray[np.bool_], Floats, Floats]
    down: tuple[NDArray[np.bool_], Floats, Floats]
    n_right: Floats


def paths_of(
    probs: Floats,
    gold: Ints,
    at: Sequence[Sequence[int]],
    lengths: Sequence[int],
    said: Ints | None = None,
) -> Paths:
    """What the metrics need of probabilities over the leaves of a tree.

    Parameters
    ----------
    probs : ndarray of shape (n_rows, n_labels)
        Each row sums to 1, or is 0 throughout where there is no answer.
    gold : int ndarray of shape (n_rows,)
    at : sequence of depth sequences of n_labels int
        The node that each label lies under, as ``labelwright.data.asked.tree.Tree.at`` has it.
    lengths : sequence of n_labels int
        Parts of each label's path.
    said : int ndarray of shape (n_rows,), optional
        The labels that are said, where a decision takes others than the likeliest ones; -1 for no answer.
    """
    said = answers(probs) if said is None else said
    down = top_down(probs, at)
    read = answers_of(probs, gold)
    known = (said, read.confidence, read.at_gold, read.square, read.n_labels)
    nodes, sizes = np.array(at, dtype=np.int64), np.array(lengths, dtype=np.int64)
    as_said, as_found = _compared(said, gold, nodes, sizes), _compared(down, gold, nodes, sizes)
    return Paths(*known, as_said, as_found, sizes[gold].astype(np.float64))


def node_sums(probs: Floats, nodes: Sequence[int]) -> Floats:
    """The probability of each node of a depth, that of the labels under it: (n_rows, n_nodes).

    Parameters
    ----------
    nodes : sequence of n_labels int
        The node that each label lies under.

    >>> node_sums(np.array([[0.5, 0.25, 0.25]]), [0, 0, 1])
    array([[0.75, 0.25]])
    """
    return np.asarray(probs @ np.eye(max(nodes) + 1)[list(nodes)])


def top_down(probs: Floats, at: Sequence[Sequence[int]]) -> Ints:
    """The label found level by level, (n_rows,): at each node the child of most probability; -1 without an answer."""
    within = np.ones(probs.shape, dtype=bool)
    for nodes in at:
        sums = node_sums(np.where(within, probs, 0.0), nodes)
        within &= np.array(nodes) == sums.argmax(axis=1)[:, None]
    return np.where((probs > 0).any(axis=1), within.argmax(axis=1), -1)


def right_at(
    paths: Paths, gold: Ints, weights: Floats | None = None, *, depth: int, level_by_level: bool = False
) -> Any:
    """Share of rows whose answer lies under the right node at a depth, from 1, in [0, 1]."""
    right, _, _ = paths.down if level_by_level else paths.said
    return _mean(right[:, depth - 1].astype(np.float64), weights)


def hierarchical_precision(
    paths: Paths, gold: Ints, weights: Floats | None = None, level_by_level: bool = False
) -> Any:
    """Of the nodes on the answers' paths the share that is on the right ones, over all rows, in [0, 1].

    sum |said and right| / sum |said|, each label's path being the set of it and what is above it but the root
    (Kiritchenko, Matwin and Famili 2005, "Functional Annotation of Genes Using Hierarchical Text Categorization").
    """
    _, shared, n_said = paths.down if level_by_level else paths.said
    return _ratio(_sum(shared, weights), _sum(n_said, weights))


def hierarchical_recall(paths: Paths, gold: Ints, weights: Floats | None = None, level_by_level: bool = False) -> Any:
    """Of the nodes on the right paths the share that is on the answers' ones, likewise."""
    _, shared, _ = paths.down if level_by_level else paths.said
    return _ratio(_sum(shared, weights), _sum(paths.n_right, weights))


def hierarchical_f1(paths: Paths, gold: Ints, weights: Floats | None = None, level_by_level: bool = False) -> Any:
    """The harmonic mean of both, likewise: 2 sum |said and right| / (sum |said| + sum |right|)."""
    _, shared, n_said = paths.down if level_by_level else paths.said
    return _ratio(2 * _sum(shared, weights), _sum(n_said, weights) + _sum(paths.n_right, weights))


def tree_metrics(depth: int) -> Mapping[str, Metric]:
    """Names, titles and measures for a tree of this depth, as ``labelwright.statistics.metrics.METRICS`` has them."""
    share: dict[str, Any] = {"is_share": True, "higher_is_better": True, "of_free_text": True}
    found = {
        f"right_at_{one}": Metric(partial(right_at, depth=one), f"right at depth {one} %", **share)
        for one in range(1, depth + 1)
    }
    found |= {
        "hierarchical_precision": Metric(hierarchical_precision, "hierarchical precision %", **share),
        "hierarchical_recall": Metric(hierarchical_recall, "hierarchical recall %", **share),
        "hierarchical_f1": Metric(hierarchical_f1, "hierarchical F1 %", **share),
    }
    found |= {
        f"level_by_level_at_{one}": Metric(
            partial(right_at, depth=one, level_by_level=True), f"level by level: right at depth {one} %", **share
        )
        for one in range(1, depth + 1)
    }
    f1 = Metric(partial(hierarchical_f1, level_by_level=True), "level by level: hierarchical F1 %", **share)
    return {**found, "level_by_level_f1": f1}


def _compared(said: Ints, gold: Ints, at: Ints, lengths: Ints) -> tuple[NDArray[np.bool_], Floats, Floats]:
    silent, label = said < 0, np.maximum(said, 0)
    right = (at[:, label] == at[:, gold]).T & ~silent[:, None]
    # Below its end a path has no nodes: what is equal there is counted above.
    is_node = np.arange(len(at)) < np.minimum(lengths[label], lengths[gold])[:, None]
    n_said = np.where(silent, 0, lengths[label]).astype(np.float64)
    return right, (right & is_node).sum(axis=1).astype(np.float64), n_said


def _sum(values: Floats, weights: Floats | None) -> Any:
    return values.sum() if weights is None else weights @ values


def _mean(values: Floats, weights: Floats | None) -> Any:
    return values.mean() if weights is None else (weights @ values) / weights.sum(axis=-1)


def _ratio(part: Any, whole: Any) -> Any:
    """0 where there is nothing to share."""
    return np.where(np.asarray(whole) > 0, part / np.where(np.asarray(whole) > 0, whole, 1.0), 0.0)
