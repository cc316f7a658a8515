"""How many tokens go into one forward pass, and into what is kept between passes: as many as are fast, and fit.

On a processor that is a number. Of an accelerator's memory a pass is measured to take no more than a share
(``labelwright.engines.packed.memory``); and where a pass does not fit after all, later ones are at most half of it.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import numpy as np
import torch

from labelwright.engines.packed.decoder import encode_prefix
from labelwright.engines.packed.edges import edge_log_probs
from labelwright.engines.packed.memory import Meter, fitting_tokens, is_out_of_memory, kind_of, meter_of
from labelwright.engines.packed.packing import KeyValues, Row, pack
from labelwright.engines.passes.rounds import Feeding
from labelwright.engines.tokens import PromptTokens
from labelwright.errors import ModelError

# Packed tokens in one forward pass: enough for the matrix products to run at full rate, little enough to stay in cache.
PACK_TOKENS = {"cpu": 1024, "accelerator": 16384}
# Tokens of a row of the pass that is measured.
TRIAL_ROW = 32
# Bytes of keys and values kept between the rounds of one group of rows.
KEPT_BYTES = 128 * 2**20
# Tokens that were measured to fit, of a model by device: a model in training is given an engine at each look at dev.
_FITTING: WeakKeyDictionary[Any, dict[torch.device, int]] = WeakKeyDictionary()


class Measured(Feeding, Protocol):
    """An engine, with a token to try passes of."""

    tokens: PromptTokens


class Room:
    """What is known of an engine's room. The engine is given with each question: it is its owner.

    Attributes
    ----------
    most_tokens : int, optional
        Of a pass and of a group, once more of them did not fit into memory.
    """

    def __init__(self) -> None:
        self.most_tokens: int | None = None
        self._token_bytes = 0

    def pass_tokens(self, engine: Measured) -> int:
        """Tokens of one forward pass, a row at least: as many as are fast, fit, and were not too many before."""
        meter = meter_of(engine.device)
        most = PACK_TOKENS[kind_of(engine.device)] if meter is None else _fitting(engine, meter)
        return min(most, self.most_tokens or most)

    def group_tokens(self, engine: Measured) -> int:
        """Row tokens whose keys and values may be kept at a time."""
        if not self._token_bytes:
            # Asked of the model, since layers may differ.
            self._token_bytes = n_bytes(encode_prefix(engine.decoder, engine.tokens.end_of_turn[:1], engine.device))
        most = max(self.pass_tokens(engine), KEPT_BYTES // self._token_bytes)
        return min(most, self.most_tokens or most)

    def keep_below(self, engine: Measured, n_tokens: int) -> None:
        """So many were too many: from now on at most half of them. Said once."""
        if self.most_tokens is None:
            warnings.warn(
                f"{engine.name}: {engine.device} has no memory for a pass of {n_tokens} tokens; from now on passes are "
                "smaller and slower, with the same scores within rounding",
                RuntimeWarning,
                stacklevel=2,
            )
        self.most_tokens = max(min(self.most_tokens or n_tokens, n_tokens // 2), 1)


def _fitting(engine: Measured, meter: Meter) -> int:
    """What is measured once of a model and its device."""
    known = _FITTING.setdefault(engine.model, {})
    if engine.device not in known:
        most = PACK_TOKENS[kind_of(engine.device)]
        known[engine.device] = fitting_tokens(meter, lambda n_tokens: try_tokens(engine, n_tokens), most)
    return known[engine.device]


@torch.inference_mode()
def try_tokens(engine: Measured, n_tokens: int) -> None:
    """A pass of so many tokens, in rows of ``TRIAL_ROW``, of which every end is read."""
    row = Row((engine.tokens.end_of_turn * TRIAL_ROW)[:TRIAL_ROW])
    packed = pack([row] * max(n_tokens // TRIAL_ROW, 1), device=engine.device)
    hidden = engine.decoder(packed, torch.as_tensor(packed.row_end, device=engine.device))
    edge_log_probs(engine.head, hidden, np.arange(len(hidden)), np.zeros(len(hidden), dtype=np.int64))


@contextmanager
def of_memory(device: torch.device, what: str) -> Iterator[None]:
    """Where a device has no memory left within this, a line says for what."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise ModelError(f"{device} has no memory left for {what}: use a smaller model") from error


def n_bytes(cached: KeyValues) -> int:
    """Bytes of keys and values."""
    return sum(keys.nbytes + values.nbytes for keys, values in cached)
