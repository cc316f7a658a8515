"""TRL's DPO loss over label trees: TRL's own function is given what the packed pass found, and what it found first.

TRL repeats a prompt for the chosen and for the rejected completion, pads both, and asks a second model (or the first
without its adapter) for the reference. Here one pass over a row has the log-probability of every label, of all its
pairs therefore, and the reference is the starting point, which is written down once. What remains of TRL is the loss
itself, ``DPOTrainer._compute_loss``: it asks "the model" for the log-probabilities of completion tokens, and gets them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from trl import DPOTrainer

from labelwright.engines.options.tree import OptionTree
from optimizers.training.settings import Preferences

# Of TRL's numbers those that are made of log-probabilities; the others are of logits and texts that there are not.
LOGGED = (
    *("rewards/chosen", "rewards/rejected", "rewards/accuracies", "rewards/margins"),
    *("logps/chosen", "logps/rejected"),
)


class PairLoss:
    """The loss of a training's pairs. It stands in for the ``DPOTrainer`` whose loss it asks for.

    Parameters
    ----------
    preferences : Preferences
    tree : OptionTree
        Over all labels.
    accelerator : accelerate.Accelerator
        The trainer's, which TRL asks to gather its numbers.
    """

    def __init__(self, preferences: Preferences, tree: OptionTree, accelerator: Any) -> None:
        self._of_row: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for row, chosen, rejected in preferences.pairs:
            self._of_row[row].append((chosen, rejected))
        # A parent comes before its children in a tree, so a path's edges are in the order of its tokens.
        paths = [np.flatnonzero(line) for line in tree.incidence]
        width = max(map(len, paths))
        device = accelerator.device
        self._edges = torch.tensor([[*path, *[0] * (width - len(path))] for path in paths], device=device)
        self._has = torch.tensor([[1] * len(path) + [0] * (width - len(path)) for path in paths], device=device)
        # From here on what TRL's loss reads of a trainer, by TRL's names.
        self.accelerator = accelerator
        self.model = SimpleNamespace(training=True)
        self.beta, self.label_smoothing = preferences.beta, preferences.label_smoothing
        self.loss_types, self.loss_weights = [preferences.loss_type], [1.0]
        if preferences.sft_weight:
            self.loss_types.append("sft")
            self.loss_weights.append(preferences.sft_weight)
        self.f_divergence_type = "reverse_kl"
        self.precompute_ref_logps = True
        self.aux_loss_enabled = self.use_weighting = False
        self.ld_alpha = None
        self._total_train_tokens, self._tp_size = 0, 1
        self._metrics: dict[str, dict[str, list[float]]] = {"train": defaultdict(list)}

    def n_pairs(self, rows: Sequence[int]) -> int:
        """How many pairs these train rows have."""
        return sum(len(self._of_row[row]) for row in rows)

    def __call__(self, edges: Tensor, reference: Tensor, rows: Sequence[int]) -> tuple[Tensor, dict[str, float]]:
        """TRL's loss, a mean over the rows' pairs, and the numbers that TRL logs of them (``LOGGED``).

        Parameters
        ----------
        edges, reference : tensors (n_rows, n_edges)
            Log-probabilities of the tree's edges under the live and under the starting weights.
        rows : sequence of int
            Train rows, one a line; each has a pair at least.
        """
        pairs = [(line, *pair) for line, row in enumerate(rows) for pair in self._of_row[row]]
        lines, chosen, rejected = torch.tensor(pairs, device=edges.device).T
        labels = torch.cat([chosen, rejected])  # TRL's order: all that was chosen, then all that was rejected
        has = self._has[labels]

        def of_tokens(values: Tensor) -> Tensor:
            return values[lines.repeat(2)].gather(1, self._edges[labels]) * has

        log_probs = of_tokens(edges)
        first = of_tokens(reference).sum(1).chunk(2)
        # TRL predicts a token from the place before it, so there is one more place than tokens.
        mask = torch.nn.functional.pad(has, (1, 0))
        inputs = {"input_ids": mask, "attention_mask": mask, "completion_mask": mask}
        inputs |= {"ref_chosen_logps": first[0], "ref_rejected_logps": first[1]}
        nothing = torch.zeros_like(log_probs)
        outputs = SimpleNamespace(log_probs=log_probs, entropy=nothing, mean_logits=nothing, is_top1=nothing.bool())
        self._metrics["train"].clear()
        loss = DPOTrainer._compute_loss(cast(Any, self), lambda **_: outputs, inputs, return_outputs=False)
        return cast(Tensor, loss), {name: self._metrics["train"][name][-1] for name in LOGGED}
