"""From TRL's padded rectangles to paths in trees and back, by hand."""

import torch

from labelwright.engines.options.tree import OptionTree
from optimizers.training.rollouts import answers_by_prompt, token_edges, unpadded

# Two prompts, of two tokens and of one; three rollouts with answers of two tokens and of one, padded with 0.
IDS = torch.tensor([[1, 2, 7, 8], [0, 3, 9, 0], [1, 2, 7, 8]])
MASK = torch.tensor([[1, 1, 1, 1], [0, 1, 1, 0], [1, 1, 1, 1]])


def test_padding_is_taken_off_both_ends():
    rollouts = unpadded(IDS, MASK, width=2)
    assert rollouts == [((1, 2), (7, 8)), ((3,), (9,)), ((1, 2), (7, 8))]
    assert answers_by_prompt(rollouts) == {(1, 2): [(7, 8)], (3,): [(9,)]}


def test_every_token_finds_the_edge_that_predicts_it():
    """Edges are numbered through all trees; in each, an answer's tokens lie along its path."""
    options = [(7, 5), (7, 8), (9,)]
    trees = {(1, 2): OptionTree.build(options), (3,): OptionTree.build(options)}
    tokens = [int(token) for tree in trees.values() for token in tree.edge_token]
    rollouts = unpadded(IDS, MASK, width=2)
    edges = token_edges(rollouts, trees, width=2)
    assert edges.shape == (3, 2)
    for line, (prompt, answer) in zip(edges.tolist(), rollouts, strict=True):
        assert tuple(tokens[edge] for edge in line[: len(answer)]) == answer
        first = 0 if prompt == (1, 2) else trees[1, 2].n_edges
        assert all(first <= edge < first + trees[prompt].n_edges for edge in line[: len(answer)])
