"""Which errors say that a candidate cannot be, and which that something was missing at the moment: one rule for all."""

from __future__ import annotations

import sys
from typing import Any

from labelwright.errors import DataError, MissingExtraError, RecipeError


def is_lasting(error: BaseException) -> bool:
    """Whether an error says that the candidate cannot be, not that something was missing at the moment.

    A recipe, rows or packages that do not allow it; not a model that could not be fetched, a server that did not
    answer, or anything behind which the system refused memory, a GPU's too, a file or time.
    """
    behind, seen = error, set()
    while id(behind) not in seen:
        seen.add(id(behind))
        if isinstance(behind, _of_the_moment()):
            return False
        behind = behind.__cause__ or behind.__context__ or behind
    return isinstance(error, RecipeError | DataError | MissingExtraError)


def _of_the_moment() -> tuple[type[BaseException], ...]:
    # Nobody who did not import torch has its errors.
    torch: Any = sys.modules.get("torch")
    of_torch = getattr(torch, "OutOfMemoryError", None)
    return (OSError, MemoryError, *([of_torch] if of_torch else []))
