"""The slow ways to score rows: the model's own forward pass, as its authors call it. What the fast way is held to.

``score_whole`` runs one pass for each row and option, pixels included, over the whole sequence: right for every model,
and the reference. ``score_cached`` runs the row once, and each option behind a copy of what the model keeps of it:
models whose layers are no plain attention (recurrent ones) can be scored so. ``score_batched`` runs these options in
one pass, padded behind, where the model keeps something that can be copied for each.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from labelwright.engines.images.reader import forget_positions, of_text


@dataclass(frozen=True)
class PlainRow:
    """A row as one sequence.

    Attributes
    ----------
    before, behind : tuple of int
        Tokens before the image, or before where it would be, and behind it.
    image : mapping of str to tensor
        What ``ImageReader.inputs`` gives for the image; empty without one.
    """

    before: tuple[int, ...]
    behind: tuple[int, ...] = ()
    image: dict[str, Any] = field(default_factory=dict)

    def inputs(self, more: Sequence[int], device: Any) -> dict[str, Any]:
        """What the model's forward pass takes for the row and more tokens behind it."""

        def ids(tokens: Sequence[int]) -> Tensor:
            return torch.tensor([list(tokens)], dtype=torch.int64, device=device)

        if not self.image:
            return {"input_ids": ids([*self.before, *self.behind, *more])}
        before, behind = ids(self.before), ids([*self.behind, *more])
        given = dict(self.image)
        for name, own in of_text(self.image).items():
            if name == "input_ids":
                parts = [before, own, behind]
            else:
                # A mask sees all tokens; other kinds say 0 of text.
                fill = 1 if name == "attention_mask" else 0
                parts = [torch.full_like(before, fill), own.to(torch.int64), torch.full_like(behind, fill)]
            given[name] = torch.cat(parts, dim=1)
        return given


@torch.inference_mode()
def score_whole(model: Any, row: PlainRow, options: Sequence[tuple[int, ...]]) -> list[float]:
    """Log-probability of each option behind a row: one forward pass each."""
    device = next(model.parameters()).device
    found = []
    for option in options:
        forget_positions(model)
        logits = model(**row.inputs(option, device), use_cache=False).logits[0]
        log_probs = torch.log_softmax(logits[-1 - len(option) : -1].float(), dim=-1)
        found.append(_sum_at(log_probs, option))
    return found


@torch.inference_mode()
def score_cached(model: Any, row: PlainRow, options: Sequence[tuple[int, ...]]) -> list[float]:
    """The same with the row run once, and each option behind what the model keeps of it."""
    first, kept = _run(model, row)
    found = []
    for option in options:
        log_probs = first
        if len(option) > 1:
            ids = torch.tensor([option[:-1]], device=first.device)
            rest = model(input_ids=ids, past_key_values=copy.deepcopy(kept), use_cache=True).logits[0]
            log_probs = torch.cat([first, torch.log_softmax(rest.float(), dim=-1)])
        found.append(_sum_at(log_probs, option))
    return found


@torch.inference_mode()
def score_batched(model: Any, row: PlainRow, options: Sequence[tuple[int, ...]]) -> list[float]:
    """``score_cached`` with all options in one pass."""
    first, kept = _run(model, row)
    longer = [option for option in options if len(option) > 1]
    rest: dict[tuple[int, ...], Tensor] = {}
    if longer:
        width = max(map(len, longer)) - 1
        # What comes after a token cannot reach it, so that an option may repeat its last one.
        ids = torch.tensor([[*option[:-1], *option[-1:] * (width + 1 - len(option))] for option in longer])
        kept.batch_repeat_interleave(len(longer))
        logits = model(input_ids=ids.to(first.device), past_key_values=kept, use_cache=True).logits
        rest = dict(zip(longer, torch.log_softmax(logits.float(), dim=-1), strict=True))
    return [_sum_at(torch.cat([first, *([rest[one]] if one in rest else [])]), one) for one in options]


def _run(model: Any, row: PlainRow) -> tuple[Tensor, Any]:
    """Log-probabilities of the token behind a row, (1, vocabulary), and what the model keeps of the row."""
    forget_positions(model)
    output = model(**row.inputs((), next(model.parameters()).device), use_cache=True)
    return torch.log_softmax(output.logits[0, -1:].float(), dim=-1), output.past_key_values


def _sum_at(log_probs: Tensor, option: Sequence[int]) -> float:
    # Not torch's float64, which not every accelerator has.
    return float(log_probs[torch.arange(len(option)), torch.tensor(option)].cpu().numpy().sum(dtype=np.float64))
