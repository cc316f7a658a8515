"""An entry's way to the store: into the run's journal at once, and from there by a thread, one after another.

So the work waits for no store. Only where a command begins, needs an answer or ends is the thread waited for. A store
in a file is waited for as long as it works, which it does unless another process holds it. A server may cost a command
``[tracking] wait_s`` in all, however slow it is: what is not delivered by then stays in the journal, and the next
command on the run delivers it first. A store that fails is told of in one line, and asked again after a while.

What a call has written when it is given up or killed is written again: see ``workbench.tracking.writes``.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.utils.logging_utils import disable_logging

from labelwright.plain_text import without_passwords
from workbench.progress import Display
from workbench.recipe.recipe import Recipe
from workbench.run.folder import RUNS, RunBusyError, RunFolder, runs_of
from workbench.tracking.journal import JOURNAL, Entry, Journal
from workbench.tracking.store import TrackingError, absolute, is_held, prepare_store, sqlite_path
from workbench.tracking.writes import candidates, datasets, evaluations, models, notes, prompts, reviews, runs
from workbench.tracking.writes.opened_store import OpenedStore

# What is done with an entry, by its ``op``.
WRITES: Mapping[str, Callable[[OpenedStore, Entry], Any]] = {
    "run": runs.run,
    "status": runs.status,
    "watch": runs.watch,
    "unwatch": runs.unwatch,
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
    "newest_evaluation": evaluations.newest_evaluation,
    "review": reviews.review,
}
# Seconds after which a store in a file is looked at, whether another holds it: for a call, for opening the store (which
# imports half of MLflow), and for a model beside its bytes.
WAIT_S, OPEN_S, MODEL_S = 5.0, 30.0, 60.0
# Seconds more for one call of a store in a file that nobody holds.
STALLED_S = 180.0
# Seconds until a store that failed is asked again.
RETRY_S = 30.0
_BYTES_PER_S = 5e6
# Refused for what they say: asking again changes nothing.
_REFUSALS = ("INVALID_PARAMETER_VALUE", "RESOURCE_ALREADY_EXISTS", "RESOURCE_DOES_NOT_EXIST", "BAD_REQUEST")


@dataclass(eq=False)
class _Call:
    """What the store is to be asked.

    Attributes
    ----------
    within_s : float
        Seconds that a store in a file may take while another holds it.
    for_bytes_s : float
        Seconds that files take by their size, from a server too.
    number : int
        In the journal; 0 for what is not kept there.
    is_late : bool
        Whether the store has failed before it, now or in an earlier command.
    """

    do: Callable[[], Any]
    within_s: float
    for_bytes_s: float = 0.0
    number: int = 0
    is_kept: bool = True
    is_late: bool = False
    is_done: bool = False
    value: Any = None


class Delivery:
    """The store of one run, its journal, and the thread in which the store is asked.

    Attributes
    ----------
    uri : str
        The store's address, to be shown.
    store : OpenedStore
        Once ``is_open``.
    """

    def __init__(self, recipe: Recipe, folder: RunFolder, display: Display) -> None:
        self._recipe = recipe
        self._folder = folder
        self._display = display
        self.journal = Journal(folder.path / JOURNAL)
        self._uri = absolute(recipe.tracking.resolved_uri())
        self.uri = without_passwords(self._uri)
        self._is_file = sqlite_path(self._uri) is not None
        self.store: OpenedStore
        self.is_open = False
        self._told: set[str] = set()
        # What a server may cost; half of it at most until it is open.
        self._left_s = recipe.tracking.wait_s
        # What follows is the thread's as well, under this lock.
        self._changed = threading.Condition()
        self._calls: deque[_Call] = deque()
        self._failure: Exception | None = None
        self._again_at = 0.0
        self._n_failures = self._n_late = self._n_refused = 0
        self._refusal: Exception | None = None
        self._is_stopped = False
        self._thread: threading.Thread | None = None

    @property
    def is_away(self) -> bool:
        """Whether the store has failed and is not asked at the moment."""
        return self._failure is not None

    def open(self) -> None:
        """Open the store, and begin with what earlier commands have left in the journal."""
        self._take_up()
        opening = _Call(self._open, OPEN_S)
        self._calls.appendleft(opening)
        try:
            prepare_store(self._uri, self._display.say)
        except Exception as error:
            self._failure = error
        else:
            self._thread = threading.Thread(target=self._deliver, name="tracking", daemon=True)
            self._thread.start()
            self._wait(lambda: opening.is_done or self.is_away, self._left_s / 2)
        self._tell()

    def close(self) -> None:
        """Wait for what is on its way, asking a store that failed once more; and say what is left."""
        with self._changed:
            n_failures, self._again_at = self._n_failures, 0.0
            self._changed.notify_all()
        self._wait(lambda: not self._calls or self._n_failures > n_failures)
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()
            n_left = sum(one.number > 0 for one in self._calls)
        with suppress(OSError):
            self.journal.sync()
        self._tell()
        if n_left and not self.is_away:
            self._display.say(
                f"tracking: {self.uri} answers slowly; {n_left} records are not there yet; make dashboard brings them, "
                "however long it takes, and so does the next command on this run ([tracking] wait_s is how long it "
                "waits)"
            )
        if self._n_late and not n_left:
            refused = f", and {self._n_refused} that it refuses are left out" if self._n_refused else ""
            n_taken = self._n_late - self._n_refused
            self._display.say(f"tracking: {n_taken} records that {self.uri} had not taken are there now{refused}")

    def catch_up(self) -> None:
        """Bring what earlier commands have left in the journal, however long the store takes."""
        self._left_s = math.inf
        self.open()
        total = len(self._calls)
        with self._display.step("tracking"):
            while not self.is_away and (n_left := len(self._calls)):
                self._display.progress(total - n_left, total)
                self._wait(lambda at=n_left: self.is_away or len(self._calls) < at)  # type: ignore[misc]
        self.close()

    def write(self, entry: Entry, keep: bool = True) -> _Call:
        """Have an entry recorded, now or later; without ``keep`` now or not at all."""
        call = _Call(partial(self._do, entry), *_patience(entry), is_kept=keep)
        with self._changed:
            if keep:
                with suppress(OSError):  # on a full disk it is delivered all the same, as long as nothing kills us
                    call.number = self.journal.add(entry)
            if self._thread is not None and (keep or not self.is_away):
                call.is_late = self.is_away
                self._calls.append(call)
                self._changed.notify_all()
        self._tell()
        return call

    def ask(self, entry: Entry) -> Any:
        """Have an entry recorded, and return what the store gives back; None where it does not in time."""
        call = self.write(entry)
        self._wait(lambda: call.is_done or self.is_away)
        self._tell()
        return call.value

    def _take_up(self) -> None:
        """What is in the journal, to be delivered first."""
        # A run folder may be a stranger's, or of another version: of the files that its journal names only those of
        # runs are recorded, and what is no entry here is left out.
        found = self.journal.entries()
        known = [entry for entry in found if entry.get("op") in WRITES]
        left = [entry for entry in known if "path" not in entry or self._is_of_runs(Path(str(entry["path"])))]
        with suppress(OSError):
            self.journal.keep(left)
        for number, entry in enumerate(left, start=1):
            self._calls.append(_Call(partial(self._do, entry), *_patience(entry), number=number, is_late=True))
        self._n_refused = self._n_late = len(found) - len(left)

    def _wait(self, is_there: Callable[[], bool], most_s: float = math.inf) -> None:
        """Wait for the thread: while a store in a file works, and for a server as long as it may cost."""
        if self._thread is None:
            return
        if self._is_file:
            self._wait_for_file(lambda: self._is_stopped or is_there())
            return
        begun = time.monotonic()
        with self._changed:
            for_bytes_s = sum(one.for_bytes_s for one in self._calls)
            within_s = max(min(self._left_s, most_s), 0.0) + for_bytes_s
            self._changed.wait_for(lambda: self._is_stopped or is_there(), min(within_s, threading.TIMEOUT_MAX))
        self._left_s -= max(time.monotonic() - begun - for_bytes_s, 0.0)

    def _wait_for_file(self, is_over: Callable[[], bool]) -> None:
        # How long a call takes says nothing: the machine may be busy, the disk may stall, and the work that we come
        # from may have left the thread no time. A store is given up where another keeps it from being written to.
        begun, of = time.monotonic(), None
        while True:
            with self._changed:
                if is_over():
                    return
                first = self._calls[0]
                if first is not of:
                    begun, of = time.monotonic(), first
                within_s = min(first.within_s, 0.5) if self.is_away else first.within_s
                if self._changed.wait_for(lambda at=first: is_over() or self._calls[0] is not at, within_s):  # type: ignore[misc]
                    continue
            if is_held(self._uri) or time.monotonic() - begun > first.within_s + STALLED_S:
                with self._changed:
                    if not is_over() and self._calls[0] is first:
                        self._failure = TimeoutError(f"no answer within {first.within_s:.0f} s")
                        return

    def _deliver(self) -> None:
        """The thread: one call after another, a call that failed again after a while."""
        while (call := self._next()) is not None:
            try:
                value = call.do()
            except Exception as error:
                self._came_out(call, None, error)
            else:
                self._came_out(call, value, None)

    def _next(self) -> _Call | None:
        """The first call, once there is one and it may be made; None at the end."""
        with self._changed:
            while not self._is_stopped:
                wait_s = None if not self._calls else 0.0 if not self.is_away else self._again_at - time.monotonic()
                if wait_s is not None and wait_s <= 0:
                    return self._calls[0]
                self._changed.wait(wait_s)
        return None

    def _came_out(self, call: _Call, value: Any, error: Exception | None) -> None:
        with self._changed:
            if self._is_stopped:
                return  # nobody waits any more, and the journal has it for who comes next
            is_refused = isinstance(error, MlflowException) and error.error_code in _REFUSALS
            if error is None or is_refused:
                self._calls.popleft()
                self._failure = None
                self._n_late += call.is_late
                if is_refused:
                    self._n_refused += call.is_late
                    self._refusal = self._refusal or (None if call.is_late else error)
                call.value, call.is_done = value, True
                with suppress(OSError):
                    self._mark(call)
            else:
                self._failure = error
                self._n_failures += 1
                self._again_at = time.monotonic() + RETRY_S
                self._calls = deque(one for one in self._calls if one.is_kept)
                for one in self._calls:
                    one.is_late = one.number > 0
            self._changed.notify_all()

    def _mark(self, call: _Call) -> None:
        """Note in the journal what the store has taken."""
        if not any(one.number for one in self._calls):
            self.journal.keep([])
        elif call.number:
            self.journal.taken(call.number)

    def _open(self) -> None:
        self.store = OpenedStore(self._uri, self._recipe, self._folder, lambda: self._is_stopped)
        self.is_open = True

    def _do(self, entry: Entry) -> Any:
        disable_logging()  # MLflow switches its own voice on again wherever one of its integrations has been at work
        return WRITES[entry["op"]](self.store, entry)

    def _is_of_runs(self, path: Path) -> bool:
        places = (self._folder.path, RUNS / self._recipe.name)
        return any(path.resolve().is_relative_to(place.resolve()) for place in places)

    def _tell(self) -> None:
        """The first failure and the first refusal, in one line each."""
        later = "the work goes on, and what is not recorded now is by the next command on this run"
        for error, remedy in ((self._refusal, "is left out"), (self._failure, later)):
            if error is not None and remedy not in self._told:
                self._told.add(remedy)
                first = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
                where = "" if isinstance(error, TrackingError) else f"{self.uri} failed: "
                self._display.say(f"tracking: {where}{without_passwords(first)[:300]}; {remedy}")


def deliver_left(recipe: Recipe, display: Display) -> None:
    """Bring to the store what it has not taken yet of a recipe's runs, but for those that a command is at work on."""
    for path in runs_of(RUNS / recipe.name):
        folder = RunFolder(path)
        if (path / JOURNAL).is_file():
            with suppress(RunBusyError), folder.lock():
                Delivery(recipe, folder, display).catch_up()


def _patience(entry: Entry) -> tuple[float, float]:
    """Seconds that an entry may take of a store in a file, and those of them that are for its bytes."""
    if entry["op"] not in ("artifact", "model"):
        return WAIT_S, 0.0
    path = Path(str(entry.get("path", "")))
    files = path.rglob("*") if path.is_dir() else [path]
    for_bytes_s = sum(one.stat().st_size for one in files if one.is_file()) / _BYTES_PER_S
    return (MODEL_S if entry["op"] == "model" else WAIT_S) + for_bytes_s, for_bytes_s
