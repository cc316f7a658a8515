"""Free text after rows, by transformers' own ``generate``: greedily, up to a string, or in the form of a pattern."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from labelwright.engines.options.free import FreeTokens
from labelwright.engines.tokens import PromptTokens

if TYPE_CHECKING:
    from transformers import DynamicCache

GENERATE_ROWS = 16


class Writing(NamedTuple):
    """How much is written, and what: up to a string, or in the form of a pattern."""

    max_new_tokens: int
    stop: Sequence[str]
    pattern: str


class Writer:
    """Writes with a model.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        A causal decoder, on its device.
    tokenizer : transformers fast tokenizer
        Reads what was written.
    tokens : PromptTokens
        Says what ends an answer.
    """

    def __init__(self, model: Any, tokenizer: Any, tokens: PromptTokens) -> None:
        self._model, self._tokenizer, self._end = model, tokenizer, tokens.end_of_turn[-1]

    def after_rows(self, prefix: tuple[int, ...], rows: Sequence[tuple[int, ...]], how: Writing) -> list[str]:
        """What is written after each row behind a prefix, which is read once."""
        cache = self.prefix_cache(prefix)
        texts: list[str] = []
        for start in range(0, len(rows), GENERATE_ROWS):
            texts += self._batch(prefix, rows[start : start + GENERATE_ROWS], cache, how)
        return texts

    def _batch(
        self,
        prefix: tuple[int, ...],
        rows: Sequence[tuple[int, ...]],
        cache: DynamicCache | None,
        how: Writing,
    ) -> list[str]:
        # What is padded stands between the prefix, whose keys and values the rows share, and the row.
        shared, own = (prefix, rows) if cache else ((), [prefix + row for row in rows])
        width, end = max(map(len, own)), self._end
        ids = torch.tensor([[*shared, *[end] * (width - len(row)), *row] for row in own], device=self._model.device)
        mask = torch.ones_like(ids)
        for line, row in zip(mask, own, strict=True):
            line[len(shared) : len(shared) + width - len(row)] = 0
        if cache:
            cache = copy.deepcopy(cache)
            cache.batch_repeat_interleave(len(own))
        given = {"input_ids": ids, "attention_mask": mask, "past_key_values": cache}
        return self.after(given, how)

    def after(self, given: dict[str, Any], how: Writing) -> list[str]:
        """What the model writes, greedily, behind sequences of one length."""
        ids, end, stop = given["input_ids"], self._end, how.stop
        more: dict[str, Any] = {"stop_strings": list(stop), "tokenizer": self._tokenizer} if stop else {}
        if how.pattern:
            more["logits_processor"] = [self._free_tokens.allowing(how.pattern, len(ids))]
        output = self._model.generate(
            **given,
            max_new_tokens=how.max_new_tokens,
            do_sample=False,
            use_cache=True,
            eos_token_id=end,
            pad_token_id=end,
            **more,
        )
        if how.pattern:
            return [self._free_tokens.text(line[ids.shape[1] :].tolist()) for line in output]
        texts = [self._tokenizer.decode(line[ids.shape[1] :], skip_special_tokens=True) for line in output]
        return [text[: min((text.index(s) for s in stop if s in text), default=len(text))] for text in texts]

    @cached_property
    def _free_tokens(self) -> FreeTokens:
        """What keeps answers to a pattern."""
        return FreeTokens(self._tokenizer, self._end)

    def prefix_cache(self, prefix: tuple[int, ...]) -> DynamicCache | None:
        """A prefix as transformers keeps it for generating, of one row; None where rows cannot share it.

        A window counts places, and would count the padding behind the prefix; what is kept of a recurrent layer
        would have read the padding.
        """
        from transformers.cache_utils import DynamicCache, DynamicLayer

        cache = DynamicCache(config=self._model.config)
        if not prefix or any(type(layer) is not DynamicLayer for layer in cache.layers):
            return None
        ids = torch.tensor([prefix], device=self._model.device)
        self._model.get_decoder()(input_ids=ids, past_key_values=cache, use_cache=True)
        # Layers that keep something of their own leave this one empty.
        return cache if cache.get_seq_length() == len(prefix) else None
