"""Many callers, one engine: their rows share engine calls, in fair order, on one thread.

An engine wants batches; threads, event loops and request handlers ask row by row. ``CoalescingEngine`` stands between
them and is itself an engine. ``_Queue`` decides who is served next and how many rows may wait, ``_Server`` makes the
engine calls and sorts out whose fault an error is.

One thread makes all engine calls. Each thread that enters OpenMP gets a team of workers and a memory arena of its own
and keeps both, so thirty callers taking turns at a model cost memory for thirty.
"""

from __future__ import annotations

import atexit
import re
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from labelwright.engine import Engine, has_probabilities
from labelwright.errors import DataError, QueueFullError
from labelwright.prompt import Rendered, Template

Scores = NDArray[np.float64]

# Pieces of one long call that are out at a time: one at the engine and one that waits for it.
_PIECES_OUT = 2


class CoalescingEngine:
    """An engine that is safe, fast and fair under many callers at once.

    Rows that wait at the same time and have the same options go to the engine in one call, whatever their prompts.
    Requests are served in turn: each batch begins with the request that has waited longest, shares its rows equally
    among all that have the same options, and sends those that are not finished to the end of the line. So whoever asks
    for one row waits for the engine call in progress and for at most one more for each request ahead of it, however
    many rows these have.

    A row that the engine refuses fails its own request and no other. An error that is not about rows (a lost device, a
    server that is gone) reaches everybody who is waiting; later requests try the engine again.

    The thread ends with ``close``, with the last reference to this object, or with the interpreter.

    Parameters
    ----------
    engine : Engine
    max_batch_rows : int
        Rows in one engine call.
    max_waiting_rows : int
        Rows that wait for the engine, those in its hands not counted. A request that is longer than that alone is let
        in when nothing else waits.
    quiet_s, max_wait_s : float
        While several callers are about, a batch that is not full is closed when no row came for ``quiet_s`` seconds, at
        the latest after ``max_wait_s``. One who asks alone never waits for others. 0 never waits.

    Raises
    ------
    ValueError
        If a number is out of range.

    Examples
    --------
    >>> with CoalescingEngine(engine) as shared:                                            # doctest: +SKIP
    ...     with ThreadPoolExecutor(32) as threads:
    ...         rows = list(threads.map(lambda prompt: shared.score([prompt], options), prompts))
    """

    def __init__(
        self,
        engine: Engine,
        *,
        max_batch_rows: int = 64,
        max_waiting_rows: int = 1024,
        quiet_s: float = 0.002,
        max_wait_s: float = 0.05,
    ) -> None:
        if max_batch_rows < 1 or max_waiting_rows < 1 or quiet_s < 0 or max_wait_s < 0:
            raise ValueError("expected max_batch_rows and max_waiting_rows of 1 or more, and times of 0 or more")
        self.engine = engine
        self.max_batch_rows = max_batch_rows
        self._queue = _Queue(max_batch_rows, max_waiting_rows, quiet_s, max_wait_s)
        # The thread knows the queue only, and a request brings its engine along, so that an engine nobody uses any more
        # can go even if nobody closed this.
        self._thread = threading.Thread(target=_serve, args=(self._queue,), name="engine", daemon=True)
        self._thread.start()
        _RUNNING[self._thread] = self._queue
        # Only stop: the garbage collector may call this from anywhere, where waiting for a thread could be for ever.
        weakref.finalize(self, self._queue.stop).atexit = False

    @property
    def name(self) -> str:
        """What to call the model in reports."""
        return self.engine.name

    @property
    def template(self) -> Template:
        """The markup that prompts must have."""
        return self.engine.template

    @property
    def n_shortened(self) -> int:
        """Rows shortened to fit the context so far."""
        return self.engine.n_shortened

    @property
    def has_probabilities(self) -> bool:
        """As ``labelwright.engine.has_probabilities`` of the engine."""
        return has_probabilities(self.engine)

    def count_tokens(self, text: str) -> int:
        """Number of tokens of plain text; does not wait for the engine."""
        return self.engine.count_tokens(text)

    def score(self, prompts: Sequence[Rendered], options: Sequence[str], timeout_s: float | None = None) -> Scores:
        """Log-probability of each option after each prompt, (n_prompts, n_options); see ``Engine.score``.

        A long call enters the queue piece by piece, so that it leaves room for others.

        Parameters
        ----------
        timeout_s : float, optional
            Longest wait for room in the queue; None waits for as long as it takes.

        Raises
        ------
        QueueFullError
            After ``timeout_s`` without room.
        DataError
            A row that the engine refuses, by its number in ``prompts``.
        """
        prompts, options = list(prompts), tuple(options)

        def submit(start: int, stop: int) -> Future[Scores]:
            return self._submit(_Request(self.engine, prompts[start:stop], options, start), True, timeout_s)

        pieces = self._in_pieces(len(prompts), submit)
        return np.concatenate(pieces) if pieces else np.empty((0, len(options)))

    def generate(self, prompts: Sequence[Rendered], max_new_tokens: int = 8, stop: Sequence[str] = ()) -> list[str]:
        """Greedy free text after each prompt, on the engine's thread and in turn; see ``Engine.generate``."""
        engine, prompts = self.engine, list(prompts)

        def submit(start: int, end: int) -> Future[list[str]]:
            part = prompts[start:end]
            request = _Request(
                engine, part, (), start, call=lambda: engine.generate(part, max_new_tokens=max_new_tokens, stop=stop)
            )
            return self._submit(request, True, None)

        return [text for piece in self._in_pieces(len(prompts), submit) for text in piece]

    def submit(
        self,
        prompts: Sequence[Rendered],
        options: Sequence[str],
        *,
        wait: bool = True,
        timeout_s: float | None = None,
        alone: bool = False,
    ) -> Future[Scores]:
        """Ask for scores and go on.

        Cancelling the future drops the rows that the engine does not have in hand yet. Callbacks of the future run on
        the engine's thread and must not wait for the engine. ``asyncio.wrap_future`` makes it awaitable.

        Parameters
        ----------
        wait : bool
            Whether to wait while the queue has no room, at most ``timeout_s`` seconds where that is given.
        alone : bool
            One engine call with exactly these rows in this order, however many: which rows share a call moves the last
            digits of their scores.

        Returns
        -------
        Future
            Of an array (n_prompts, n_options), as ``Engine.score`` returns it.

        Raises
        ------
        QueueFullError
            If there is no room. Nothing was asked; a server says 503.
        """
        engine, prompts, options = self.engine, list(prompts), tuple(options)
        call = (lambda: engine.score(prompts, options)) if alone else None
        return self._submit(_Request(engine, prompts, options, 0, call=call), wait, timeout_s)

    def close(self) -> None:
        """End the thread after the engine call in progress; whoever still waits is cancelled. May be called twice."""
        self._queue.stop()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def __enter__(self) -> CoalescingEngine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _submit(self, request: _Request, wait: bool, timeout_s: float | None) -> Future[Any]:
        if not request.prompts:
            request.future.set_result(request.scores)
            return request.future
        self._queue.put(request, timeout_s if wait else 0.0)
        # After it is in the queue: a request that was cancelled is taken out of there.
        request.future.add_done_callback(lambda _: self._queue.drop(request))
        return request.future

    def _in_pieces(self, n_rows: int, submit: Callable[[int, int], Future[Any]]) -> list[Any]:
        """Results of the pieces of a call, few of which are out at a time; the rest waits here, with its caller."""
        results: list[Any] = []
        out: deque[Future[Any]] = deque()
        try:
            for start in range(0, n_rows, self.max_batch_rows):
                if len(out) == _PIECES_OUT:
                    results.append(out.popleft().result())
                out.append(submit(start, min(start + self.max_batch_rows, n_rows)))
            while out:
                results.append(out.popleft().result())
        finally:
            for future in out:
                future.cancel()
        return results


@dataclass(eq=False)
class _Request:
    """Rows of one caller, and what became of them.

    ``first_row`` is the place of its first row in the caller's own list. ``call`` makes it one engine call of its own;
    without it the rows are scored together with others'.
    """

    engine: Engine
    prompts: Sequence[Rendered]
    options: tuple[str, ...]
    first_row: int
    call: Callable[[], Any] | None = None
    future: Future[Any] = field(default_factory=Future)
    n_taken: int = 0
    n_scored: int = 0

    def __post_init__(self) -> None:
        self.scores: Scores = np.empty((len(self.prompts), len(self.options)))

    @property
    def n_left(self) -> int:
        return len(self.prompts) - self.n_taken

    def shares_calls_with(self, other: _Request) -> bool:
        return self.call is None and other.call is None and self.options == other.options

    def finish(self, result: Any) -> None:
        with suppress(InvalidStateError):  # cancelled, or failed with another of its parts
            self.future.set_result(result)

    def fail(self, error: BaseException) -> None:
        with suppress(InvalidStateError):
            self.future.set_exception(error)


class _Part(NamedTuple):
    """The rows of one request in one batch."""

    request: _Request
    start: int
    stop: int

    def succeed(self, scores: Scores) -> None:
        request = self.request
        request.scores[self.start : self.stop] = scores
        request.n_scored += self.stop - self.start
        if request.n_scored == len(request.prompts):
            request.finish(request.scores)

    def fail(self, error: BaseException) -> None:
        self.request.fail(_renumbered(error, self.request.first_row + self.start))


class _Queue:
    """Who waits, who is next, and whether there is room for more."""

    def __init__(self, max_batch_rows: int, max_waiting_rows: int, quiet_s: float, max_wait_s: float) -> None:
        self.max_batch_rows = max_batch_rows
        self.max_waiting_rows = max_waiting_rows
        self.quiet_s = quiet_s
        self.max_wait_s = max_wait_s
        self._line: deque[_Request] = deque()  # every one of them has rows left
        self._n_waiting = 0
        self._n_put = 0
        self._n_put_before = 0
        self._stopped = False
        # Those who wait for room, in the order they came: a long request must not be overtaken for ever.
        self._entrance: deque[object] = deque()
        lock = threading.RLock()
        self._work, self._room = threading.Condition(lock), threading.Condition(lock)

    def put(self, request: _Request, timeout_s: float | None) -> None:
        """Let a request in, or raise QueueFullError after ``timeout_s``; None waits for as long as it takes."""
        n_rows = len(request.prompts)
        turn = object()

        def may_enter() -> bool:
            fits = not self._n_waiting or self._n_waiting + n_rows <= self.max_waiting_rows
            return self._stopped or (fits and self._entrance[0] is turn)

        with self._room:
            self._entrance.append(turn)
            try:
                entered = self._room.wait_for(may_enter, timeout_s)
            finally:
                self._entrance.remove(turn)
                self._room.notify_all()
            if self._stopped:
                raise RuntimeError("this engine is closed")
            if not entered:
                raise QueueFullError(
                    f"{self._n_waiting} rows wait for the engine and {n_rows} more have no room, the limit is "
                    f"{self.max_waiting_rows}: try again later, or ask for fewer rows at a time"
                )
            self._line.append(request)
            self._n_waiting += n_rows
            self._n_put += 1
            self._work.notify()

    def take(self) -> list[_Part] | None:
        """The next batch, once there is one; None when the queue is stopped."""
        with self._work:
            crowded = self._n_put > self._n_put_before  # somebody came while the engine was at work
            while True:
                self._work.wait_for(lambda: self._line or self._stopped)
                if crowded and self.quiet_s:
                    self._gather()
                if self._stopped:
                    return None
                if self._line:  # what was there may have been cancelled meanwhile
                    break
            batch = self._next()
            self._n_put_before = self._n_put
            self._room.notify_all()
            return batch

    def drop(self, request: _Request) -> None:
        """Forget the rows of a request that is over and were not taken."""
        if request.future.cancelled():
            request.future.set_running_or_notify_cancel()  # or concurrent.futures.wait would not hear of it
        with self._work:
            if request in self._line:
                self._line.remove(request)
                self._n_waiting -= request.n_left
                self._room.notify_all()

    def waiting(self) -> list[_Request]:
        """Every request that has rows left."""
        with self._work:
            return list(self._line)

    def stop(self) -> None:
        """Cancel everything that waits, and let nothing in any more."""
        with self._work:
            self._stopped = True
            self._work.notify_all()
            self._room.notify_all()
        for request in self.waiting():
            request.future.cancel()

    def _gather(self) -> None:
        """Wait until the batch is full, or nobody comes any more."""
        latest = time.monotonic() + self.max_wait_s
        while self._line and not self._stopped and not self._full():
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

    def _next(self) -> list[_Part]:
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
            parts.append(_Part(request, request.n_taken, request.n_taken + share))
            request.n_taken += share
            if request.n_left:
                self._line.append(request)
        self._n_waiting -= sum(shares)
        return parts


class _Server:
    """Makes the engine calls, and finds out which request an error belongs to."""

    def __init__(self, queue: _Queue) -> None:
        self._queue = queue
        # A row that was scored once: if it fails as well, the engine is at fault and not the rows.
        self._known_good: tuple[Rendered, tuple[str, ...]] | None = None
        # Requests that failed by themselves while no row is known to be good.
        self._n_failed = 0

    def serve(self, batch: Sequence[_Part]) -> None:
        """Answer every part of a batch, with scores or an error."""
        try:
            self._answer([part for part in batch if not part.request.future.done()])
        except _EngineFailureError as failure:
            for request in [*(part.request for part in batch), *self._queue.waiting()]:
                request.fail(failure.error)

    def _answer(self, parts: Sequence[_Part], blamed: bool = False) -> None:
        """One engine call; if it fails, each half by itself, until it is known which requests are at fault.

        ``blamed``: it is known already that rows are at fault.
        """
        if not parts:
            return
        try:
            self._call(parts)
            return
        except Exception as raised:
            error = raised
        except BaseException as raised:
            raise _EngineFailureError(raised) from raised
        if not blamed and not isinstance(error, DataError) and self._engine_fails_too(parts[0].request.engine):
            raise _EngineFailureError(error)
        if len(parts) > 1:
            half = len(parts) // 2
            self._answer(parts[:half], blamed=self._known_good is not None)
            self._answer(parts[half:], blamed=self._known_good is not None)
            return
        if self._known_good is None and not isinstance(error, DataError):
            self._n_failed += 1
            if self._n_failed > 1:
                raise _EngineFailureError(error)
        parts[0].fail(error)

    def _call(self, parts: Sequence[_Part]) -> None:
        first = parts[0].request
        if first.call is not None:
            first.finish(first.call())
            return
        prompts = [prompt for part in parts for prompt in part.request.prompts[part.start : part.stop]]
        scores = np.asarray(first.engine.score(prompts, first.options))
        if scores.shape != (len(prompts), len(first.options)):
            raise ValueError(f"{first.engine.name}: scores of shape {scores.shape} for {len(prompts)} rows")
        self._known_good = prompts[0], first.options
        self._n_failed = 0
        start = 0
        for part in parts:
            stop = start + part.stop - part.start
            part.succeed(scores[start:stop])
            start = stop

    def _engine_fails_too(self, engine: Engine) -> bool:
        """Whether a row that was scored before fails now."""
        if self._known_good is None:
            return False
        prompt, options = self._known_good
        try:
            engine.score([prompt], options)
        except Exception:
            return True
        return False


class _EngineFailureError(Exception):
    """The engine failed in a way that no row is to blame for."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(str(error))
        self.error = error


def _serve(queue: _Queue) -> None:
    """The engine's thread. Between batches it holds no request, and so no engine."""
    server = _Server(queue)

    def serve_next() -> bool:
        batch = queue.take()
        if batch is not None:
            server.serve(batch)
        return batch is not None

    while serve_next():
        pass


# Threads in native code when the interpreter is taken down can bring it down with a crash: they are ended before.
_RUNNING: weakref.WeakKeyDictionary[threading.Thread, _Queue] = weakref.WeakKeyDictionary()


@atexit.register
def _end_threads() -> None:
    for thread, queue in list(_RUNNING.items()):
        queue.stop()
        thread.join()


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
