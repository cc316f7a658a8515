"""Several questions at a time, by daemon threads: whoever waits may leave, and they keep no process from ending."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any, TypeVar

Item = TypeVar("Item")


class InFlight:
    """Items that threads of its own ask about, some at a time.

    Parameters
    ----------
    ask : callable
        Of one item; called on a thread.
    name : str
        Of the threads, which get a number behind it.

    Attributes
    ----------
    threads : list of Thread
        Begun by ``answers``. After an error or an interrupt some may still be at work on the item they have in hand.
    """

    def __init__(self, ask: Callable[[Item], Any], items: Sequence[Item], at_once: int, name: str) -> None:
        self._ask, self._n_items = ask, len(items)
        self._waiting, self._lock, self._is_over = iter(list(enumerate(items))), threading.Lock(), threading.Event()
        self._said: SimpleQueue[tuple[int, Any, BaseException | None]] = SimpleQueue()
        self.threads = [
            threading.Thread(target=self._work, name=f"{name}-{number}", daemon=True)
            for number in range(min(at_once, len(items)))
        ]

    def answers(self, limit_s: float | None = None) -> list[Any]:
        """The answer to each item, in order. Whatever ends it, no further item is begun.

        Raises
        ------
        queue.Empty
            ``limit_s`` seconds without any answer.
        Exception
            The first that ``ask`` raises.
        """
        answers: list[Any] = [None] * self._n_items
        try:
            for thread in self.threads:
                thread.start()
            for _ in range(self._n_items):
                place, answers[place], error = self._said.get(timeout=limit_s)
                if error is not None:
                    raise error
        finally:
            self._is_over.set()
        return answers

    def _work(self) -> None:
        while not self._is_over.is_set():
            with self._lock:
                place, item = next(self._waiting, (-1, None))
            if place < 0:
                return
            try:
                self._said.put((place, self._ask(item), None))  # type: ignore[arg-type]
            except BaseException as error:
                self._is_over.set()
                self._said.put((place, None, error))
