"""Rollouts of a closed answer space, in TRL's formats: labels drawn instead of text written.

TRL thinks of a rollout as a prompt's tokens and a completion's, each padded to a rectangle. Here a completion is an
option, a path in its row's tree, and every distinct prompt is read once however often it was drawn for. These functions
go from one view to the other; no model is asked in them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from labelwright.engines.options.tree import OptionTree
from optimizers.training.rows import LabelRows

Tokens = tuple[int, ...]


def chances(n_draws: int, seed: int, step: int, rank: int = 0, n_processes: int = 1) -> NDArray[np.float64]:
    """A number in [0, 1) for each draw of a process at a step, (n_draws,).

    They are thrown for all processes at once, of which each takes its own, so that a step draws the same labels however
    many processes share its rows.
    """
    thrown = np.random.default_rng([seed, step]).random(n_processes * n_draws)
    return thrown[rank * n_draws : (rank + 1) * n_draws]


def draw_labels(rows: LabelRows, asked: Sequence[int], scores: Tensor, thrown: NDArray[np.float64]) -> dict[str, Any]:
    """One label for each asked row from P(k | x), as TRL's ``rollout_func`` returns them.

    Parameters
    ----------
    asked : sequence of int
        Training rows, as often as a label is wanted for them.
    scores : tensor (n_distinct, n_labels)
        s_k of the distinct rows of ``asked``, in the order in which they first occur.
    thrown : array (n_asked,)
        Of ``chances``.
    """
    up_to = np.cumsum(torch.softmax(scores, dim=-1).cpu().numpy().astype(np.float64), axis=-1)
    line = {row: number for number, row in enumerate(dict.fromkeys(asked))}
    output: dict[str, Any] = {"prompt_ids": [], "completion_ids": [], "logprobs": []}
    for row, chance in zip(asked, thrown, strict=True):
        edges = up_to[line[row]]
        k = int(np.searchsorted(edges, chance * edges[-1], side="right"))
        option = rows.tree.options[k]
        output["prompt_ids"].append([*rows.prefix, *rows.rows[row]])
        output["completion_ids"].append(list(option))
        # The draw's log-probability belongs to the whole label; TRL wants one number a token and only logs it.
        output["logprobs"].append([float(scores[line[row], k]) / len(option)] * len(option))
    return output


def unpadded(input_ids: Tensor, attention_mask: Tensor, width: int) -> list[tuple[Tokens, Tokens]]:
    """Each rollout's (prompt, answer) out of TRL's rectangle.

    Parameters
    ----------
    input_ids, attention_mask : tensors (n_rollouts, prompt width + width)
        The prompt padded on the left, the answer on the right.
    width : int
        Columns of answers.
    """
    ids, keep = input_ids.cpu(), attention_mask.bool().cpu()
    cut = ids.shape[1] - width
    return [
        (tuple(one[:cut][kept[:cut]].tolist()), tuple(one[cut:][kept[cut:]].tolist()))
        for one, kept in zip(ids, keep, strict=True)
    ]


def answers_by_prompt(rollouts: Sequence[tuple[Tokens, Tokens]]) -> dict[Tokens, list[Tokens]]:
    """Each distinct prompt and the distinct answers to it, in the order in which they first occur."""
    found: dict[Tokens, dict[Tokens, None]] = {}
    for prompt, answer in rollouts:
        found.setdefault(prompt, {})[answer] = None
    return {prompt: list(answers) for prompt, answers in found.items()}


def token_edges(rollouts: Sequence[tuple[Tokens, Tokens]], trees: Mapping[Tokens, OptionTree], width: int) -> Tensor:
    """Where each answer token's log-probability stands, int64 (n_rollouts, width), padding pointing at edge 0.

    Edges are numbered through the trees of all prompts, in the order of ``trees``.
    """
    first_edge = dict(zip(trees, np.cumsum([0, *(tree.n_edges for tree in trees.values())]), strict=False))
    edges = torch.zeros((len(rollouts), width), dtype=torch.long)
    for i, (prompt, answer) in enumerate(rollouts):
        tree = trees[prompt]
        # A parent comes before its children in a tree, so a path's edges are in the order of its tokens.
        path = np.flatnonzero(tree.incidence[tree.options.index(answer)])
        edges[i, : len(answer)] = torch.as_tensor(first_edge[prompt] + path)
    return edges


def over_mean(advantages: Tensor, rewards: Sequence[float], n_rollouts: int) -> Tensor:
    """(r_i - mean r) / mean r of every rollout: the estimate of ln E[r]'s gradient, of maximum-likelihood RL.

    With a 0/1 reward its expected value is the gradient of ln p = -sum_k (1 - p)^k / k up to the order n - 1 of a group
    of n, which is (1 - (1 - p)^(n - 1)) / p times that of p (after Tajwar et al. 2026, arXiv 2602.02710). It would be
    the order n if a group without a reward were pushed away from all that it drew; here such a group teaches nothing.

    Parameters
    ----------
    advantages : tensor (n_groups * n_rollouts,)
        r_i - mean r of the rollout's group.
    rewards : sequence of float, one a rollout
    n_rollouts : int
        Rollouts a group, which lie one behind the other.
    """
    means = torch.as_tensor(rewards, device=advantages.device).view(-1, n_rollouts).mean(-1, keepdim=True)
    scaled = advantages.view(-1, n_rollouts) / means
    return scaled.masked_fill(means == 0, 0.0).flatten()
