"""What everyone who asks a server shares, whatever the client: its key, and several questions in flight.

Needs no client library. The key comes from the environment and from nowhere else. Questions are asked by daemon
threads, which keep no process from ending: a server that answers nothing for minutes can be left by Ctrl-C.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TypeVar

from labelwright.engines.native.in_flight import InFlight

KEYS = ("LABELWRIGHT_API_KEY", "OPENAI_API_KEY")

Item = TypeVar("Item")
Answer = TypeVar("Answer")


def key_of_environment() -> str:
    """The first of ``KEYS`` that is set; empty where none is."""
    return next((os.environ[name] for name in KEYS if os.environ.get(name)), "")


def in_order(ask: Callable[[Item], Answer], items: Sequence[Item], at_once: int) -> list[Answer]:
    """Ask for every item, some at a time; answers in the items' order.

    The first error ends it: no more are asked, those in flight are waited for, since what they say may be kept, and it
    is raised. An interrupt, of which this thread hears, waits for nobody.

    Examples
    --------
    >>> in_order(str.upper, ["a", "b", "c"], at_once=2)
    ['A', 'B', 'C']
    """
    asked = InFlight(ask, items, at_once, "asking")
    try:
        return asked.answers()
    except Exception:
        for thread in asked.threads:
            thread.join()
        raise
