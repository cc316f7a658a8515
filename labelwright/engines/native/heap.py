"""The C library's heap: what is freed there it may keep for later."""

from __future__ import annotations

import ctypes
from contextlib import suppress


def give_back_heap() -> None:
    """Return to the system what nobody holds any more, where glibc keeps it; nothing elsewhere."""
    with suppress(OSError, AttributeError, TypeError):  # the last on Windows
        ctypes.CDLL(None).malloc_trim(0)
