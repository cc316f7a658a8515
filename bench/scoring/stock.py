"""What everybody has: the model as transformers loads it, asked with ``model.generate``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from bench.setting import Setting
from labelwright.models.loading import load_model
from labelwright.prompt import Rendered

BATCH_ROWS = 16


class StockModel:
    """A model of its own, with PyTorch's own attention and linear layers: nothing here is the scorer's."""

    def __init__(self, setting: Setting) -> None:
        engine = setting.engine
        dtype = str(engine.model.dtype).removeprefix("torch.")
        self._model: Any = load_model(setting.weights, str(engine.device), dtype)
        self._model.set_attn_implementation("sdpa")
        self._engine = engine

    @torch.inference_mode()
    def generate(self, prompts: Sequence[Rendered], max_new_tokens: int, batch_rows: int = BATCH_ROWS) -> list[str]:
        """Greedy text after each prompt, in batches, the whole prompt read for each row, padded on the left."""
        tokens, tokenizer, device = self._engine.tokens, self._engine.tokenizer, self._engine.device
        end = tokens.end_of_turn[-1]
        texts: list[str] = []
        for start in range(0, len(prompts), batch_rows):
            batch = [[*tokens.prefix(one), *tokens.row(one)] for one in prompts[start : start + batch_rows]]
            width = max(map(len, batch))
            ids = torch.tensor([[end] * (width - len(row)) + row for row in batch], device=device)
            mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in batch], device=device)
            output = self._model.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=max_new_tokens,
                do_sample=False,
                eos_token_id=end,
                pad_token_id=end,
            )
            texts += [tokenizer.decode(row[width:], skip_special_tokens=True) for row in output]
        return texts
