"""What everyone who asks a server shares, whatever the client: its key, and several questions in flight.

Needs no client library. The key comes from the environment and from nowhere else. Questions are asked by daemon
threads, which keep no process from ending: a server that answers nothing for minutes can be left by Ctrl-C.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TypeVar
from urllib.parse import urlsplit

from labelwright.engines.native.in_flight import InFlight
from labelwright.errors import ModelError

KEY = "LABELWRIGHT_API_KEY"
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_OPENAI_KEY, _OPENAI_URL, _OPENAI = "OPENAI_API_KEY", "OPENAI_BASE_URL", "api.openai.com"

Item = TypeVar("Item")
Answer = TypeVar("Answer")


def key_for(url: str) -> str:
    """The key for the server at a URL, from the environment; empty where there is none for it.

    ``OPENAI_API_KEY``, which many have set for other reasons, is for OpenAI alone, and for the host of
    ``OPENAI_BASE_URL``. ``LABELWRIGHT_API_KEY`` is set for this house's own use, and goes to every server that a
    command or a recipe names: who runs a recipe of somebody else's looks at its URLs first.

    Raises
    ------
    ModelError
        The key would travel unencrypted, to another machine.
    """
    parts = urlsplit(url)
    of_openai = {_OPENAI, urlsplit(os.environ.get(_OPENAI_URL, "")).hostname} - {None}
    names = (_OPENAI_KEY, KEY) if parts.hostname in of_openai else (KEY,)
    name = next((name for name in names if os.environ.get(name)), "")
    if name and parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise ModelError(f"{url}: the key of {name} would travel unencrypted; use https://, or unset it")
    return os.environ[name] if name else ""


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
