"""Many callers, one engine: their rows share engine calls, in fair order, on one thread.

An engine wants batches; threads, event loops and request handlers ask row by row. ``CoalescingEngine`` stands between
them and is itself an engine. Who is served next and how many may wait is decided in
``labelwright.engines.waiting_line``; here the engine calls are made, and it is found out whose fault an error is.

One thread makes all engine calls. Each thread that enters OpenMP gets a team of workers and a memory arena of its own
and keeps both, so thirty callers taking turns at a model cost memory for thirty; and with more workers than cores
OpenMP has all of them sleep at each of a call's hundreds of meeting points, which takes a third of its time. So whoever
has computed on a thread and does nothing else meanwhile makes the calls there (``serve``).
"""

from __future__ import annotations

import atexit
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Any, TypeVar

import numpy as np

from labelwright.engines.protocol import Engine, has_probabilities, is_alive, n_invalid, reads_images, score_options
from labelwright.engines.waiting_line import Part, Request, Scores, WaitingLine
from labelwright.errors import DataError
from labelwright.prompt import Rendered, Template
from labelwright.statistics.calibration import Calibration

T = TypeVar("T")

# Pieces of one long call that are out at a time: one at the engine and one that waits for it.
_PIECES_OUT = 2


class CoalescingEngine:
    """An engine that is safe, fast and fair under many callers at once.

    Rows that wait at the same time and have the same options (and calibration) go to the engine in one call, whatever
    their prompts.
    Requests are served in turn: each batch begins with the request that has waited longest, shares its rows equally
    among all that have the same options, and sends those that are not finished to the end of the line. So whoever asks
    for one row waits for the engine call in progress and for at most one more for each request ahead of it, however
    many rows these have; a long call to ``score`` is two requests at a time.

    A row that the engine refuses fails its own request and no other. An error that is not about rows (a lost device, a
    server that is gone) reaches everybody who is waiting; later requests try the engine again.

    The thread begins with the first row and ends with ``close``, with the last reference to this object, or with the
    interpreter.

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
        the latest after ``max_wait_s``. Who asks alone waits once, after others were there. 0 in either never waits.

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
        self._line = WaitingLine(max_batch_rows, max_waiting_rows, quiet_s, max_wait_s)
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        # Only stop: the garbage collector may call this from anywhere, where waiting for a thread could be for ever.
        weakref.finalize(self, self._line.stop).atexit = False

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
    def n_invalid(self) -> int:
        """As ``labelwright.engines.protocol.n_invalid`` of the engine."""
        return n_invalid(self.engine)

    @property
    def unexpanded_mass(self) -> float:
        """The engine's; 0 where it always expands everything."""
        return getattr(self.engine, "unexpanded_mass", 0.0)

    @property
    def has_probabilities(self) -> bool:
        """As ``labelwright.engines.protocol.has_probabilities`` of the engine."""
        return has_probabilities(self.engine)

    @property
    def reads_images(self) -> bool:
        """As ``labelwright.engines.protocol.reads_images`` of the engine."""
        return reads_images(self.engine)

    @property
    def n_waiting(self) -> int:
        """Rows that wait for the engine now, those in its hands not counted."""
        return self._line.n_rows

    @property
    def is_alive(self) -> bool:
        """Whether it can still be asked and the engine can still answer; False after ``close``."""
        return not self._line.stopped and is_alive(self.engine)

    def count_tokens(self, text: str) -> int:
        """Number of tokens of plain text; does not wait for the engine."""
        return self.engine.count_tokens(text)

    def score(
        self,
        prompts: Sequence[Rendered],
        options: Sequence[str],
        calibration: Calibration | None = None,
        timeout_s: float | None = None,
    ) -> Scores:
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
            request = Request(self.engine, prompts[start:stop], options, start, calibration)
            return self._submit(request, True, timeout_s)

        pieces = self._in_pieces(len(prompts), submit)
        return np.concatenate(pieces) if pieces else np.empty((0, len(options)))

    def generate(self, prompts: Sequence[Rendered], max_new_tokens: int = 8, stop: Sequence[str] = ()) -> list[str]:
        """Greedy free text after each prompt, on the engine's thread and in turn; see ``Engine.generate``."""
        engine, prompts = self.engine, list(prompts)

        def submit(start: int, end: int) -> Future[list[str]]:
            part = prompts[start:end]
            request = Request(
                engine, part, (), start, call=lambda: engine.generate(part, max_new_tokens=max_new_tokens, stop=stop)
            )
            return self._submit(request, True, None)

        return [text for piece in self._in_pieces(len(prompts), submit) for text in piece]

    def submit(
        self,
        prompts: Sequence[Rendered],
        options: Sequence[str],
        *,
        calibration: Calibration | None = None,
        wait: bool = True,
        timeout_s: float | None = None,
        alone: bool = False,
    ) -> Future[Scores]:
        """Ask for scores and go on.

        Cancelling the future drops the rows that the engine does not have in hand yet. Callbacks of the future run on
        the engine's thread and must not wait for the engine. ``asyncio.wrap_future`` makes it awaitable.

        Parameters
        ----------
        calibration : Calibration, optional
            As in ``Engine.score``; only rows of equal calibration share an engine call.
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
        call = (lambda: score_options(engine, prompts, options, calibration)) if alone else None
        return self._submit(Request(engine, prompts, options, 0, calibration, call), wait, timeout_s)

    def serve(self, work: Callable[[], T]) -> T:
        """Make the engine calls on this thread until ``work``, on a thread of its own, has ended; then close.

        An interrupt here closes as well and is raised; ``work`` is left to find that nobody answers any more.

        Raises
        ------
        RuntimeError
            If rows were asked for already: another thread serves.
        BaseException
            What ``work`` raises.
        """
        with self._starting:
            if self._thread is not None:
                raise RuntimeError("the engine's calls are made by another thread already")
            self._thread = threading.current_thread()
        result: Future[T] = Future()
        threading.Thread(target=_work, args=(work, result, self._line), name="caller", daemon=True).start()
        _serve(self._line)
        return result.result()

    def close(self) -> None:
        """End the thread after the engine call in progress; whoever still waits is cancelled. May be called twice."""
        self._line.stop()
        # A future's callback may close, but not wait for itself; and the one who lent its thread goes on with it.
        thread = self._thread
        if thread is not None and thread in _RUNNING and thread is not threading.current_thread():
            thread.join()

    def __enter__(self) -> CoalescingEngine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _submit(self, request: Request, wait: bool, timeout_s: float | None) -> Future[Any]:
        if not request.prompts:
            request.future.set_result(request.scores)
            return request.future
        self._start()
        self._line.put(request, timeout_s if wait else 0.0)
        # After it is in the queue: a request that was cancelled is taken out of there.
        request.future.add_done_callback(lambda _: self._line.drop(request))
        return request.future

    def _start(self) -> None:
        """The thread, where there is none yet."""
        with self._starting:
            if self._thread is None and not self._line.stopped:
                # It knows the line only, and a request brings its engine along, so that an engine nobody uses any more
                # can go even if nobody closed this.
                self._thread = threading.Thread(target=_serve, args=(self._line,), name="engine", daemon=True)
                self._thread.start()
                _RUNNING[self._thread] = self._line

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


class _Server:
    """Makes the engine calls, and finds out which request an error belongs to."""

    def __init__(self, line: WaitingLine) -> None:
        self._line = line
        # A row that was scored once: if it fails as well, the engine is at fault and not the rows.
        self._known_good: tuple[Rendered, tuple[str, ...]] | None = None
        # Requests that failed by themselves while no row is known to be good.
        self._n_failed = 0

    def serve(self, batch: Sequence[Part]) -> None:
        """Answer every part of a batch, with scores or an error."""
        try:
            self._answer([part for part in batch if not part.request.future.done()])
        except _EngineFailureError as failure:
            for request in [*(part.request for part in batch), *self._line.waiting()]:
                request.fail(failure.error)
            if isinstance(failure.error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
                raise failure.error from None
        except BaseException as error:
            # An interrupt between two calls. Whoever waits in a thread that is no daemon would keep the process.
            for part in batch:
                part.request.fail(error)
            raise

    def _answer(self, parts: Sequence[Part], blamed: bool = False) -> None:
        """One engine call; if it fails, each half by itself, until it is known which requests are at fault.

        ``blamed``: it is known already that rows are at fault and not the engine.
        """
        if not parts or (error := self._try(parts)) is None:
            return
        about_rows = blamed or isinstance(error, DataError)
        if not about_rows and self._known_good is not None and self._fails_again(parts[0].request.engine):
            raise _EngineFailureError(error)
        if len(parts) > 1:
            half = len(parts) // 2
            # The first half may be the first that ever succeeds.
            self._answer(parts[:half], blamed=self._known_good is not None)
            self._answer(parts[half:], blamed=self._known_good is not None)
            return
        if not about_rows and self._known_good is None:
            self._n_failed += 1
            if self._n_failed > 1:
                raise _EngineFailureError(error)
        parts[0].fail(error)

    def _try(self, parts: Sequence[Part]) -> Exception | None:
        """Make one engine call and hand out its scores; the error where there is one."""
        first = parts[0].request
        try:
            if first.call is not None:
                first.finish(first.call())
            else:
                prompts = [prompt for part in parts for prompt in part.prompts]
                scores = np.asarray(score_options(first.engine, prompts, first.options, first.calibration))
                if scores.shape != (len(prompts), len(first.options)):
                    raise ValueError(f"{first.engine.name} gave scores of shape {scores.shape} for {len(prompts)} rows")
                bounds = np.cumsum([len(part.prompts) for part in parts])
                for part, rows in zip(parts, np.split(scores, bounds[:-1]), strict=True):
                    part.succeed(rows)
        except Exception as error:
            return error
        except BaseException as error:
            raise _EngineFailureError(error) from error
        self._n_failed = 0
        if first.options:
            self._known_good = parts[0].prompts[0], first.options
        return None

    def _fails_again(self, engine: Engine) -> bool:
        """Whether the row that is known to be good fails now."""
        prompt, options = self._known_good  # type: ignore[misc]
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


def _serve(line: WaitingLine) -> None:
    """The engine's thread. Between batches it holds no request, and so no engine."""
    server = _Server(line)

    def serve_next() -> bool:
        batch = line.take()
        if batch is not None:
            server.serve(batch)
        return batch is not None

    try:
        while serve_next():
            pass
    finally:
        line.stop()
        for request in line.waiting():
            request.future.cancel()


def _work(work: Callable[[], T], result: Future[T], line: WaitingLine) -> None:
    """Somebody's work, as long as their own thread makes the engine calls."""
    try:
        result.set_result(work())
    except BaseException as error:
        result.set_exception(error)
    finally:
        line.stop()


# A thread in native code while the interpreter is taken down can crash it, so threads are ended before.
_RUNNING: weakref.WeakKeyDictionary[threading.Thread, WaitingLine] = weakref.WeakKeyDictionary()
# The longest wait for the engine call in progress then: a server may never answer.
_EXIT_S = 10.0


@atexit.register
def _end_threads() -> None:
    running = list(_RUNNING.items())
    for _, line in running:
        line.stop()
    for thread, _ in running:
        thread.join(_EXIT_S)
