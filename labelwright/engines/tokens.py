"""Text to tokens, with template markup kept apart from everything that a user or an owner wrote."""

from __future__ import annotations

import json
from typing import Any

from tokenizers import Tokenizer

from labelwright.errors import ModelError


class TextTokens:
    """Tokenises template markup with special tokens, and everything else as plain text."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise ModelError("the tokenizer is a slow one: expected a fast tokenizer (tokenizer.json)")
        self._plain = _without_added_tokens(backend)

    def markup(self, text: str) -> list[int]:
        """Tokens of template text; special-token strings become special tokens."""
        return self._tokenizer.encode(text, add_special_tokens=False) if text else []

    def plain(self, text: str) -> list[int]:
        """Tokens of instructions and rows; ``<|im_end|>`` in a row is nine ordinary characters."""
        return self._plain.encode(text, add_special_tokens=False).ids if text else []


def _without_added_tokens(backend: Tokenizer) -> Tokenizer:
    """The same tokenizer with no string singled out as special, so that no text can forge markup."""
    spec = json.loads(backend.to_str())
    spec["added_tokens"] = []
    spec["post_processor"] = None
    return Tokenizer.from_str(json.dumps(spec))
