"""The slow ways to score rows: the model's own forward pass, as its authors call it. What the fast way is held to.

``score_whole`` runs one pass for each row and option, pixels included, over the whole sequence: right for every model,
and the reference. ``score_cached`` runs the row once, and each option behind a copy of what the model keeps of it:
models whose layers are no plain attention (recurrent ones) can be scored so.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

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
    device = next(model.parameters()).device
    forget_positions(model)
    output = model(**row.inputs((), device), use_cache=True)
    first = torch.log_softmax(output.logits[0, -1:].float(), dim=-1)
    found = []
    for option in options:
        log_probs = first
        if len(option) > 1:
            ids = torch.tensor([option[:-1]], device=device)
            kept = copy.deepcopy(output.past_key_values)
            rest = model(input_ids=ids, past_key_values=kept, use_cache=True).logits[0]
            log_probs = torch.cat([first, torch.log_softmax(rest.float(), dim=-1)])
        found.append(_sum_at(log_probs, option))
    return found


def _sum_at(log_probs: Tensor, option: Sequence[int]) -> float:
    return float(log_probs[torch.arange(len(option)), torch.tensor(option)].double().sum())
