"""Calls that may never return, several at a time, given up when none of them has come back for a while.

A thread within a compiled library cannot be ended. So calls are made by daemon threads, which keep no process from
ending, and whoever waits for them waits so long and no longer. What a lost call was made on is never freed again: to
free it would wait for the call. And no call begins while one is still under way that nobody waits for any more.
"""

from __future__ import annotations

import ctypes
import math
import os
import threading
import time
from collections.abc import Callable, Sequence
from queue import Empty
from typing import Any, TypeVar

from labelwright.engines.native.in_flight import InFlight
from labelwright.errors import ModelError

# Seconds without any answer after which calls are given up; some minutes are what a large model takes on two cores to
# read four prompts.
WITHIN_S = 900.0
VARIABLE = "LABELWRIGHT_NATIVE_SECONDS"

Item = TypeVar("Item")
Answer = TypeVar("Answer")


def within_s() -> float:
    """What the environment says, or ``WITHIN_S``. Raises ModelError for what is no number of seconds."""
    said = os.environ.get(VARIABLE, "")
    try:
        seconds = float(said) if said else WITHIN_S
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= threading.TIMEOUT_MAX:
        raise ModelError(f"{VARIABLE}={said[:40]!r}: expected a number of seconds above 0")
    return seconds


class NativeCalls:
    """Calls on one object of a compiled library.

    Parameters
    ----------
    native : object
        What the calls are made on.
    name : str
        Of it, for messages: "llama.cpp (smollm2)".
    n_at_once : int
    """

    def __init__(self, native: Any, name: str, n_at_once: int) -> None:
        self._native = native
        self._name = name
        self._n_at_once = n_at_once
        self._lost = ""
        # Of the last ``map``; one that an interrupt cut short left them at work.
        self._threads: list[threading.Thread] = []

    @property
    def is_lost(self) -> bool:
        """Whether a call never came back: nothing answers any more."""
        return bool(self._lost)

    def map(self, ask: Callable[[Item], Answer], items: Sequence[Item]) -> list[Answer]:
        """The answer to each item, in order.

        Raises
        ------
        ModelError
            No call came back in time, now or before. What ``ask`` raises is raised as it is, as soon as the calls
            beside it are back or given up.
        """
        limit_s = within_s()
        self._settle(limit_s)
        if self._lost:
            raise ModelError(self._lost)
        asked = InFlight(ask, items, self._n_at_once, "native")
        self._threads = asked.threads
        try:
            return asked.answers(limit_s)
        except Empty:
            self._lose(limit_s)
            raise ModelError(self._lost) from None
        except Exception:
            self._settle(limit_s)
            raise

    def _settle(self, limit_s: float) -> None:
        """Wait for calls that are still under way, and give them up after the limit."""
        until = time.monotonic() + limit_s
        for thread in self._threads:
            if not self._lost:
                thread.join(max(until - time.monotonic(), 0))
                if thread.is_alive():
                    self._lose(limit_s)

    def _lose(self, limit_s: float) -> None:
        self._lost = (
            f"{self._name} has given no answer for {limit_s:g} s, and its call cannot be ended: start this process "
            f"again; where the model takes that long, set {VARIABLE}"
        )
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._native))
