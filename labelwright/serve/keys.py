"""Who may ask: API keys from the environment, kept as hashes and compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Iterable

from labelwright.errors import RecipeError

VARIABLE = "LABELWRIGHT_API_KEYS"
_SHORTEST = 16


class Keys:
    """The keys of a server; none where everybody may ask.

    Only their hashes are kept, so that no message, log or traceback can hold a key.

    Parameters
    ----------
    keys : iterable of str

    Raises
    ------
    RecipeError
        If a key is so short that it can be guessed.
    """

    def __init__(self, keys: Iterable[str] = ()) -> None:
        keys = tuple(keys)
        if any(len(key) < _SHORTEST for key in keys):
            raise RecipeError(f"{VARIABLE} holds a key of fewer than {_SHORTEST} characters: expected longer ones")
        self._hashes = tuple(map(_hash, keys))

    @classmethod
    def from_environment(cls) -> Keys:
        """Those of ``LABELWRIGHT_API_KEYS``, separated by commas or space."""
        return cls(os.environ.get(VARIABLE, "").replace(",", " ").split())

    def __bool__(self) -> bool:
        return bool(self._hashes)

    def accept(self, authorization: str) -> bool:
        """Whether an Authorization header bears one of the keys.

        How long it takes tells nothing about how much of a key is right: all are compared, by hashes of one length.
        """
        scheme, _, given = authorization.partition(" ")
        hashed = _hash(given.strip()) if scheme.lower() == "bearer" else b""
        return sum(hmac.compare_digest(hashed, one) for one in self._hashes) > 0


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
