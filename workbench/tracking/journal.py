"""What a run's folder knows of the store: records on their way to it, and what it made of those that it took.

A record is in the journal before the store is asked, so that a kill loses none. Knows nothing of MLflow.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from labelwright.files import read_json, write_text
from workbench.run.folder import RunFolder

Entry = dict[str, Any]

JOURNAL = "tracking.jsonl"
# Beside the journal: the run and all that belongs to it, by the ids that the store gave them. Written by who delivers,
# while the run's own state is written by who works.
MADE = "mlflow.json"
# As much of it as earlier versions kept, in the run's state.
_MADE_EARLIER = (
    "uri", "experiment_id", "run_id", "runs", "models", "prompts", "prompts_of", "seed", "champion", "registered",
)  # fmt: skip


def read_made(folder: RunFolder) -> dict[str, Any]:
    """What the store made of a run's records; empty where it has taken none."""
    path = folder.path / MADE
    if path.is_file():
        made: dict[str, Any] = read_json(path)
        return made
    earlier = folder.state.get("mlflow") or {}
    return {key: earlier[key] for key in _MADE_EARLIER if key in earlier}


class Journal:
    """Entries in the order in which they are to be written; one file, ``JOURNAL``.

    A line is an entry with its number, or the number of the last entry that the store has taken.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._last = 0

    def add(self, entry: Mapping[str, Any]) -> int:
        """Keep an entry, which a kill does not lose from now on; returns its number."""
        self._last += 1
        self._append({**entry, "number": self._last})
        return self._last

    def taken(self, number: int) -> None:
        """This entry and those before it are in the store."""
        self._append({"taken": number})

    def entries(self) -> list[Entry]:
        """Those that the store has not taken; a torn line, from a kill, is left out."""
        found, taken = [], 0
        text = self.path.read_text(encoding="utf-8", errors="replace") if self.path.is_file() else ""
        for line in text.splitlines():
            try:
                said = json.loads(line)
            except json.JSONDecodeError:
                continue
            if isinstance(said, dict):
                taken = max(taken, said.get("taken", 0))
                found.append(said)
        # Earlier versions kept only what was not taken, without numbers.
        left = [one for one in found if "taken" not in one and one.get("number", taken + 1) > taken]
        return [{key: value for key, value in one.items() if key != "number"} for one in left]

    def keep(self, entries: list[Entry]) -> None:
        """Only these are left to be written, numbered from 1."""
        self._last = len(entries)
        lines = [json.dumps({**entry, "number": k}, default=str) for k, entry in enumerate(entries, start=1)]
        if lines:
            write_text(self.path, "\n".join(lines))
        else:
            self.path.unlink(missing_ok=True)

    def sync(self) -> None:
        """What is left stays even when the power fails."""
        if self.path.is_file():
            with self.path.open("a") as file:
                os.fsync(file.fileno())

    def _append(self, said: Mapping[str, Any]) -> None:
        # The line's end comes first: behind a line that a full disk has torn, the next is whole.
        with self.path.open("a", encoding="utf-8") as file:
            file.write("\n" + json.dumps(said, default=str))


def within(function: Callable[[], Any], seconds: float) -> Any:
    """What the function returns or raises.

    Raises
    ------
    TimeoutError
        It did not return in time; it still runs.
    """
    outcome: list[Any] = []

    def call() -> None:
        try:
            outcome[:] = [function(), None]
        except BaseException as error:  # handed to who asked
            outcome[:] = [None, error]

    # A thread that never returns must not keep the process alive.
    thread = threading.Thread(target=call, name="tracking", daemon=True)
    thread.start()
    thread.join(seconds)
    if not outcome:
        raise TimeoutError(f"no answer within {seconds:.0f} s")
    value, error = outcome
    if error is not None:
        raise error
    return value
