"""What the tracking store did not take, kept in the run folder until it does; and the thread that asks the store.

A store that hangs must not hang the work, so it is called from a thread of its own, and waited for so long and no
longer. Knows nothing of MLflow.
"""

from __future__ import annotations

import json
import os
import queue
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from labelwright.files import write_text

Entry = dict[str, Any]


class Journal:
    """Entries in the order in which they were to be written; one file, ``tracking.jsonl``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, entry: Mapping[str, Any]) -> None:
        """Keep an entry; it is on disk when this returns."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry, default=str) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def entries(self) -> list[Entry]:
        """All of them; a torn last line, from a kill, is left out."""
        found = []
        for line in self.path.read_text(encoding="utf-8").splitlines() if self.path.is_file() else ():
            try:
                found.append(json.loads(line))
            except json.JSONDecodeError:
                continue
        return found

    def keep(self, entries: list[Entry]) -> None:
        """Only these are left to be written."""
        if entries:
            write_text(self.path, "".join(json.dumps(entry, default=str) + "\n" for entry in entries))
        else:
            self.path.unlink(missing_ok=True)


class Caller:
    """Calls in a thread of its own, one after another."""

    def __init__(self) -> None:
        self._calls: queue.Queue[tuple[Callable[[], Any], list[Any], threading.Event]] = queue.Queue()
        self._thread: threading.Thread | None = None
        self.stuck = False

    def call(self, function: Callable[[], Any], within_s: float) -> Any:
        """What the function returns or raises.

        Raises
        ------
        TimeoutError
            It did not return in time. It still runs, and no other call is made any more.
        """
        if self.stuck:
            raise TimeoutError("an earlier call has not returned")
        if self._thread is None:
            # A thread that never returns must not keep the process alive.
            self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)
            self._thread.start()
        outcome: list[Any] = []
        done = threading.Event()
        self._calls.put((function, outcome, done))
        if not done.wait(within_s):
            self.stuck = True
            raise TimeoutError(f"no answer within {within_s:.0f} s")
        value, error = outcome
        if error is not None:
            raise error
        return value

    def _work(self) -> None:
        while True:
            function, outcome, done = self._calls.get()
            try:
                outcome[:] = [function(), None]
            except BaseException as error:  # handed to who asked
                outcome[:] = [None, error]
            done.set()
