"""The line of those who wait for an engine: who is served next, with whom, and whether there is room for more.

Knows nothing about scores. ``labelwright.engines.coalesce`` puts requests in and takes batches out.
"""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from labelwright.engines.protocol import Engine
from labelwright.errors import DataError, QueueFullError
from labelwright.prompt import Rendered
from labelwright.statistics.calibration import Calibration

Scores = NDArray[np.float64]


@dataclass(eq=False)
class Request:
    """Rows of one caller, and what became of them.

    Attributes
    ----------
    first_row : int
        Place of its first row in the caller's own list, from 0.
    calibration : Calibration, optional
        What the caller will apply to the scores; decides how far options are expanded.
    call : callable, optional
        Makes it one engine call of its own; without it, rows are scored together with others'.
    n_taken, n_scored : int
        Rows given out in batches, rows whose scores are there.
    scores : array of shape (n_prompts, n_options)
        Filled batch by batch.
    """

    engine: Engine
    prompts: Sequence[Rendered]
    options: tuple[str, ...]
    first_row: int
    calibration: Calibration | None = None
    call: Callable[[], Any] | None = None
    future: Future[Any] = field(default_factory=Future)
    n_taken: int = 0
    n_scored: int = 0

    def __post_init__(self) -> None:
        self.scores: Scores = np.empty((len(self.prompts), len(self.options)))

    @property
    def n_left(self) -> int:
        """Rows not given out yet."""
        return len(self.prompts) - self.n_taken

    def shares_calls_with(self, other: Request) -> bool:
        """Whether rows of both may be in one engine call."""
        alike = (self.options, self.calibration) == (other.options, other.calibration)
        return self.call is None and other.call is None and alike

    def finish(self, result: Any) -> None:
        """Tell the caller, unless the request is over already."""
        with suppress(InvalidStateError):  # cancelled, or failed with another of its parts
            self.future.set_result(result)

    def fail(self, error: BaseException) -> None:
        """Tell the caller what went wrong, unless the request is over already."""
        with suppress(InvalidStateError):
            self.future.set_exception(error)


class Part(NamedTuple):
    """The rows of one request in one batch."""

    request: Request
    start: int
    stop: int

    @property
    def prompts(self) -> Sequence[Rendered]:
        """Its rows."""
        return self.request.prompts[self.start : self.stop]

    def succeed(self, scores: Scores) -> None:
        """Take in its scores, (n_rows, n_options); the request is finished with its last part."""
        request = self.request
        request.scores[self.start : self.stop] = scores
        request.n_scored += self.stop - self.start
        if request.n_scored == len(request.prompts):
            request.finish(request.scores)

    def fail(self, error: BaseException) -> None:
        """Fail the whole request. A row that the error names gets the number it has in its caller's list."""
        self.request.fail(_renumbered(error, self.request.first_row + self.start))


class WaitingLine:
    """Who waits, who is next, and whether there is room for more. Parameters are those of ``CoalescingEngine``.

    Attributes
    ----------
    n_rows : int
        Rows that wait.
    stopped : bool
        Whether nobody is let in any more.
    """

    def __init__(self, max_batch_rows: int, max_waiting_rows: int, quiet_s: float, max_wait_s: float) -> None:
        self.max_batch_rows = max_batch_rows
        self.max_waiting_rows = max_waiting_rows
        self.quiet_s = quiet_s
        self.max_wait_s = max_wait_s
        self._line: deque[Request] = deque()  # every one of them has rows left
        self.n_rows = 0
        self._n_put = 0
        self._n_put_before = 0
        self._n_served_before = 0
        self.stopped = False
        # Those who wait for room, in the order they came: a long request must not be overtaken for ever.
        self._entrance: deque[object] = deque()
        lock = threading.RLock()
        self._work, self._room = threading.Condition(lock), threading.Condition(lock)

    def put(self, request: Request, timeout_s: float | None) -> None:
        """Let a request in, after those who came before it.

        Raises
        ------
        QueueFullError
            If there is no room for ``timeout_s`` seconds; None waits for as long as it takes.
        RuntimeError
            If the line is stopped.
        """
        n_rows = len(request.prompts)
        turn = object()

        def may_enter() -> bool:
            fits = not self.n_rows or self.n_rows + n_rows <= self.max_waiting_rows
            return self.stopped or (fits and self._entrance[0] is turn)

        with self._room:
            self._entrance.append(turn)
            try:
                entered = self._room.wait_for(may_enter, timeout_s)
            finally:
                self._entrance.remove(turn)
                self._room.notify_all()
            if self.stopped:
                raise RuntimeError("the engine is closed")
            if not entered:
                raise QueueFullError(
                    f"{self.n_rows} rows wait for the engine and {n_rows} more have no room, the limit is "
                    f"{self.max_waiting_rows}: try again later, or ask for fewer rows at a time"
                )
            self._line.append(request)
            self.n_rows += n_rows
            self._n_put += 1
            self._work.notify()

    def take(self) -> list[Part] | None:
        """The next batch, once there is one; None when the line is stopped."""
        with self._work:
            # Somebody came while the engine was at work, or several were answered just now and may ask again.
            crowded = self._n_put > self._n_put_before or self._n_served_before > 1
            while True:
                self._work.wait_for(lambda: self._line or self.stopped)
                if crowded and self.quiet_s and self.max_wait_s:
                    self._gather()
                if self.stopped:
                    return None
                if self._line:  # what was there may have been cancelled meanwhile
                    break
            batch = self._next()
            self._n_put_before, self._n_served_before = self._n_put, len(batch)
            self._room.notify_all()
            return batch

    def drop(self, request: Request) -> None:
        """Forget the rows of a request that is over and were not taken."""
        if request.future.cancelled():
            request.future.set_running_or_notify_cancel()  # or concurrent.futures.wait would not hear of it
        with self._work:
            if request in self._line:
                self._line.remove(request)
                self.n_rows -= request.n_left
                self._room.notify_all()

    def waiting(self) -> list[Request]:
        """Every request that has rows left."""
        with self._work:
            return list(self._line)

    def stop(self) -> None:
        """Let nothing in any more; the engine's thread cancels what waits, and ends."""
        with self._work:
            self.stopped = True
            self._work.notify_all()
            self._room.notify_all()

    def _gather(self) -> None:
        """Wait until the batch is full, or nobody comes any more."""
        latest = time.monotonic() + self.max_wait_s
        while self._line and not self.stopped and not self._full():
            n_put, left_s = self._n_put, latest - time.monotonic()
            if left_s <= 0:
                return
            self._work.wait(min(self.quiet_s, left_s))
            if self._n_put == n_put:
                return

    def _full(self) -> bool:
        first = self._line[0]
        alike = (request.n_left for request in self._line if request.shares_calls_with(first))
        return first.call is not None or sum(alike) >= self.max_batch_rows

    def _next(self) -> list[Part]:
        """Take the first request's rows and those that can share its engine call off the line."""
        first = self._line[0]
        if first.call is not None:
            served, shares = [first], [first.n_left]
        else:
            served = [request for request in self._line if request.shares_calls_with(first)][: self.max_batch_rows]
            shares = equal_shares([request.n_left for request in served], self.max_batch_rows)
        chosen = set(map(id, served))
        self._line = deque(request for request in self._line if id(request) not in chosen)
        parts = []
        for request, share in zip(served, shares, strict=True):
            parts.append(Part(request, request.n_taken, request.n_taken + share))
            request.n_taken += share
            if request.n_left:
                self._line.append(request)
        self.n_rows -= sum(shares)
        return parts


def equal_shares(wanted: Sequence[int], room: int) -> list[int]:
    """Share ``room`` places equally; what one does not need goes to the others.

    Parameters
    ----------
    wanted : sequence of int
        Each at least 1; no more of them than ``room``.

    >>> equal_shares([1, 100, 20, 3], 30)
    [1, 13, 13, 3]
    """
    shares = [0] * len(wanted)
    n_left = len(wanted)
    for i in sorted(range(len(wanted)), key=lambda i: wanted[i]):
        shares[i] = min(wanted[i], room // n_left)
        room -= shares[i]
        n_left -= 1
    return shares


def _renumbered(error: BaseException, n_before: int) -> BaseException:
    """The same DataError with the row's number in its caller's list; ``n_before`` rows stand before the engine's."""
    found = re.match(r"row (\d+)\b", str(error))
    if not isinstance(error, DataError) or not found or not n_before:
        return error
    renumbered = type(error)(f"row {int(found[1]) + n_before}{str(error)[found.end() :]}")
    renumbered.__cause__ = error.__cause__
    return renumbered
