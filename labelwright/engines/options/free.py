"""Answers that are no closed set: which tokens may come next, so that what a model writes has the form of a pattern.

The pattern is a regular expression of the house's own, and never a stranger's; what compiles it to masks over the
vocabulary is llguidance (docs/decisions.md). A special token has no text, so that none can be written.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from labelwright.errors import MissingExtraError, ModelError


class FreeTokens:
    """A tokenizer's vocabulary as bytes; made once, since it takes a second for a large one.

    Parameters
    ----------
    tokenizer : transformers fast tokenizer
    end : int
        The token that closes an answer.

    Raises
    ------
    MissingExtraError
        Without llguidance.
    ModelError
        A tokenizer whose tokens cannot be told as bytes.
    """

    def __init__(self, tokenizer: Any, end: int) -> None:
        try:
            from llguidance.hf import from_tokenizer
        except ImportError as error:
            raise MissingExtraError(
                f'free fields need a grammar ({error}): pip install "labelwright[extract]"'
            ) from error
        try:
            self._tokens = from_tokenizer(tokenizer, eos_token=end)
        except Exception as error:  # whatever the library's compiled part says of a tokenizer that it has no way with
            said = (str(error).splitlines() or [type(error).__name__])[0]
            raise ModelError(f"no grammar can be held over this tokenizer ({said}): choose another model") from error
        self.end = end
        self._matcher = cache(self._compiled)

    def allowing(self, pattern: str, n_rows: int) -> Allowing:
        """What keeps rows that are written side by side to a pattern, whole from its first character to its last."""
        return Allowing([self._matcher(pattern).deep_copy() for _ in range(n_rows)], self.end)

    def text(self, tokens: Sequence[int]) -> str:
        """What was written, up to the end of the answer."""
        own = list(tokens)
        if self.end in own:
            own = own[: own.index(self.end)]
        text: str = self._tokens.decode_str(own)
        return text

    def _compiled(self, pattern: str) -> Any:
        from llguidance import LLMatcher

        matcher = LLMatcher(self._tokens, LLMatcher.grammar_from_regex(pattern))
        if matcher.is_error():
            raise ModelError(f"the pattern {pattern!r} cannot be held to: {matcher.get_error().splitlines()[0]}")
        return matcher


class Allowing:
    """A logits processor of transformers' ``generate``: what may not come next gets -inf. For one call, greedy."""

    def __init__(self, matchers: Sequence[Any], end: int) -> None:
        self._matchers = matchers
        self._end = end
        self._is_first = True

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Logits (n_rows, n_vocabulary), those of tokens that the pattern has no place for -inf."""
        if not self._is_first:
            for matcher, token in zip(self._matchers, input_ids[:, -1].tolist(), strict=True):
                if not matcher.is_stopped():
                    matcher.consume_token(token)
        self._is_first = False
        allowed = np.stack([self._allowed(matcher, scores.shape[1]) for matcher in self._matchers])
        return scores.masked_fill(~torch.from_numpy(allowed).to(scores.device), -torch.inf)

    def _allowed(self, matcher: Any, n_vocabulary: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
        allowed = np.zeros(n_vocabulary, dtype=bool)
        if not matcher.is_stopped():
            bits = np.frombuffer(matcher.compute_bitmask(), dtype=np.uint8)
            known = np.unpackbits(bits, bitorder="little")[:n_vocabulary].astype(bool)
            allowed[: len(known)] = known
        # A finished row goes on as the others beside it are written; one with no way on ends, and is seen to be torn.
        if not allowed.any():
            allowed[self._end] = True
        return allowed
