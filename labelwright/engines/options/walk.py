"""Scoring with engines that are asked place by place: the log-probability of given tokens after a token sequence.

The walk through the option tree and its certified end are ``labelwright.engines.options.expansion``'s; what is asked of
the server is the caller's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from labelwright.engines.options.expansion import Expansion
from labelwright.engines.options.tree import ROOT, OptionTree
from labelwright.engines.tokens import PromptTokens
from labelwright.prompt import Rendered
from labelwright.statistics.calibration import Calibration


class Question(NamedTuple):
    """What is the log-probability of each of these tokens after this sequence?"""

    sequence: tuple[int, ...]
    tokens: tuple[int, ...]


Ask = Callable[[Sequence[Question]], Sequence[NDArray[np.float64]]]


def score_by_places(
    tokens: PromptTokens,
    prompts: Sequence[Rendered],
    options: Sequence[str],
    unexpanded_mass: float,
    calibration: Calibration | None,
    ask: Ask,
) -> NDArray[np.float64]:
    """``Engine.score`` in rounds of questions, one a row and place of the option tree.

    Parameters
    ----------
    ask : callable
        Questions -> for each of them the log-probabilities, (n_tokens,), over the whole vocabulary. Questions of one
        place follow each other, so that what is the same for them can be said once.
    """
    if not prompts:
        return np.empty((0, len(options)))
    tree = tokens.tree(options)
    depth = max(map(len, tree.options))
    sequences = tokens.sequences(prompts, reserved=depth)
    paths = _paths(tree)
    edges_at = [np.flatnonzero(tree.edge_node == place - 1) for place in range(1 + tree.n_nodes)]
    expansion = Expansion(tree, len(prompts), unexpanded_mass, calibration)
    while (places := expansion.wanted()).any():
        asked = [(int(place), int(row)) for place, row in np.argwhere(places.T)]
        questions = [
            Question(sequences[row] + paths[place], tuple(tree.edge_token[edges_at[place]].tolist()))
            for place, row in asked
        ]
        edges = np.zeros((len(prompts), tree.n_edges))
        for (place, row), answer in zip(asked, ask(questions), strict=True):
            edges[row, edges_at[place]] = answer
        expansion.feed(places, edges)
    return expansion.scores()


def _paths(tree: OptionTree) -> list[tuple[int, ...]]:
    """The tokens that lead to each place."""
    paths: list[tuple[int, ...]] = [()]
    for token, parent in zip(tree.node_token.tolist(), tree.node_parent.tolist(), strict=True):
        paths.append((*paths[0 if parent == ROOT else parent + 1], token))
    return paths
