"""An entry's way to the store: written at once, or kept in the run's journal until the store takes it.

A store that fails, is locked or does not answer costs a few seconds and one line: from then on what is to be recorded
goes to the journal, and the next command on the run records it first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from mlflow.exceptions import MlflowException

from workbench.progress import Display
from workbench.recipe.recipe import Recipe
from workbench.run.folder import RUNS, RunFolder
from workbench.tracking.journal import Caller, Entry, Journal
from workbench.tracking.store import TrackingError, absolute, prepare_store, shown_uri, sqlite_path
from workbench.tracking.writes import candidates, datasets, evaluations, models, notes, prompts, reviews, runs
from workbench.tracking.writes.opened_store import OpenedStore

# What is done with an entry, by its ``op``.
WRITES: Mapping[str, Callable[[OpenedStore, Entry], Any]] = {
    "run": runs.run,
    "status": runs.status,
    "watch": runs.watch,
    "params": runs.params,
    "metrics": runs.metrics,
    "tags": runs.tags,
    "note": notes.note,
    "overview": notes.overview,
    "artifact": runs.artifact,
    "text": runs.text,
    "table": runs.table,
    "dataset": datasets.dataset,
    "prompt": prompts.prompt,
    "candidate": candidates.candidate,
    "model": models.model,
    "evaluation_dataset": evaluations.evaluation_dataset,
    "evaluated": evaluations.evaluated,
    "answers": evaluations.answers,
    "review": reviews.review,
}
# Seconds for a call to the store, for opening one in a file (which imports half of MLflow), and for a model beside its
# bytes.
WAIT_S, OPEN_S, MODEL_S = 9.0, 30.0, 60.0
# A server's call that takes longer than this is slow: such calls cost a command ``WAIT_S`` in all, and no more.
SLOW_S = 1.0
_BYTES_PER_S = 5e6
# Refused for what they say: asking again changes nothing.
_REFUSALS = ("INVALID_PARAMETER_VALUE", "RESOURCE_ALREADY_EXISTS", "RESOURCE_DOES_NOT_EXIST", "BAD_REQUEST")


class Delivery:
    """The store of one run, its journal, and the thread in which the store is asked.

    Attributes
    ----------
    uri : str
        The store's address, to be shown.
    is_away : bool
        Whether the store has failed, so that it is not asked any more.
    """

    def __init__(self, recipe: Recipe, folder: RunFolder, display: Display) -> None:
        self._recipe = recipe
        self._folder = folder
        self._display = display
        self._caller = Caller()
        self.journal = Journal(folder.path / "tracking.jsonl")
        self.is_away = False
        self._told = False
        self._lost_s = 0.0
        self._uri = absolute(recipe.tracking.resolved_uri())
        self.uri = shown_uri(self._uri)
        self.store: OpenedStore

    def open(self) -> None:
        """Open the store, and record first what an earlier command could not."""
        try:
            prepare_store(self._uri)
            self._call(self._open, OPEN_S if sqlite_path(self._uri) else WAIT_S)
        except Exception as error:
            self._lose(error)
        else:
            self.catch_up()

    def close(self) -> None:
        """Ask a store that failed once more."""
        if self.is_away and not self._caller.stuck and self._lost_s < WAIT_S:
            self.catch_up()

    def write(self, entry: Entry, keep: bool = True) -> Any:
        """Have an entry recorded, or keep it for later; returns what the store gave back."""
        if not self.is_away:
            try:
                return self._call(partial(self._do, entry), _patience(entry))
            except Exception as error:
                if _is_refusal(error):
                    self._tell(error, "is left out")
                    return None
                self._lose(error)
        if keep:
            with suppress(OSError):  # a disk so full that nothing is recorded has been told already
                self.journal.add(entry)
        return None

    def ask(self, function: Callable[[], Any]) -> None:
        """Call something of MLflow's that may hang."""
        if not self.is_away:
            try:
                self._call(function, WAIT_S)
            except Exception as error:
                self._lose(error)

    def catch_up(self) -> None:
        """Record what is in the journal, in order, as far as the store takes it."""
        # A run folder may be a stranger's, or of another version: of the files that its journal names only those of
        # runs are recorded, and what is no entry here is left out.
        found = self.journal.entries()
        known = [entry for entry in found if entry.get("op") in WRITES]
        left = [entry for entry in known if "path" not in entry or self._is_of_runs(Path(entry["path"]))]
        n_entries, n_refused = len(found), len(found) - len(left)
        self.is_away = False
        while left and not self.is_away:
            try:
                self._call(partial(self._do, left[0]), _patience(left[0]))
            except Exception as error:
                if not _is_refusal(error):
                    self._lose(error)
                    break
                n_refused += 1
            del left[0]
        if n_entries:
            with suppress(OSError):
                self.journal.keep(left)
            if not left:
                refused = f", and {n_refused} that it refuses are left out" if n_refused else ""
                n_taken = n_entries - n_refused
                self._display.say(f"tracking: {n_taken} records that {self.uri} had not taken are there now{refused}")

    def _call(self, function: Callable[[], Any], within_s: float) -> Any:
        """Ask the store, as long as it may take; a server whose answers were slow too often is away from now on."""
        begun = time.monotonic()
        try:
            # What takes longer by its size has its own time.
            spare = max(WAIT_S - self._lost_s, SLOW_S) if within_s == WAIT_S else within_s
            return self._caller.call(function, spare)
        finally:
            took = time.monotonic() - begun
            if sqlite_path(self._uri) is None and took > max(SLOW_S, within_s - WAIT_S):
                self._lost_s += took
                if self._lost_s >= WAIT_S and not self.is_away:
                    self._lose(TimeoutError(f"it answers slowly, {self._lost_s:.0f} s were lost"))

    def _open(self) -> None:
        self.store = OpenedStore(self._uri, self._recipe, self._folder, lambda: self._caller.stuck)

    def _do(self, entry: Entry) -> Any:
        return WRITES[entry["op"]](self.store, entry)

    def _is_of_runs(self, path: Path) -> bool:
        places = (self._folder.path, RUNS / self._recipe.name)
        return any(path.resolve().is_relative_to(place.resolve()) for place in places)

    def _lose(self, error: Exception) -> None:
        self.is_away = True
        self._tell(error, "the work goes on, and what is not recorded now is by the next command on this run")

    def _tell(self, error: Exception, remedy: str) -> None:
        """The first failure, in one line."""
        if not self._told:
            self._told = True
            first = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
            where = "" if isinstance(error, TrackingError) else f"{self.uri} failed: "
            self._display.say(f"tracking: {where}{shown_uri(first)[:300]}; {remedy}")


def _patience(entry: Entry) -> float:
    """Seconds that an entry may take."""
    if entry["op"] not in ("artifact", "model"):
        return WAIT_S
    path = Path(entry["path"])
    files = path.rglob("*") if path.is_dir() else [path]
    n_bytes = sum(one.stat().st_size for one in files if one.is_file())
    return (MODEL_S if entry["op"] == "model" else WAIT_S) + n_bytes / _BYTES_PER_S


def _is_refusal(error: Exception) -> bool:
    return isinstance(error, MlflowException) and error.error_code in _REFUSALS
