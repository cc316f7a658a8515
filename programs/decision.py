"""An engine as a DSPy language model: the decision client.

DSPy asks row by row, from threads; an engine wants batches. The client stands between them: it renders each row through
``Prompt`` (the same bytes as everywhere), puts rows that wait at the same time into one engine call, and remembers
answers. DSPy recognises it by ``supports_decision_requests`` (dspy/adapters/decision.py, modelled on
dspy/clients/typesafe.py) and receives a probability for every label instead of text to parse.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from labelwright.calibration import Calibration
from labelwright.decide import option_scores
from labelwright.engine import Engine
from labelwright.prompt import Prompt
from programs.convert import prompt_for


class _Unit(NamedTuple):
    """What is scored and remembered as one: rows under one prompt."""

    instructions: str
    demos: tuple[tuple[str, str], ...]
    texts: tuple[str, ...]


@dataclass(eq=False)
class _Pending:
    """A unit that waits for its engine call, and what came of it."""

    unit: _Unit
    prompt: Prompt
    done: bool = False
    probabilities: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 0)))
    error: BaseException | None = None


class DecisionClient:
    """Answers DSPy's decision requests with an engine's label probabilities.

    Safe to call from many threads. One of the waiting callers leads: it waits until no more rows arrive, scores what is
    there in one engine call, and wakes the others. An engine error reaches every caller whose row was in that call, and
    is kept in ``error``, because DSPy's evaluation turns exceptions into zero scores.

    Copying (``copy``, ``deepcopy``) returns the client itself: copies of a program share engine, batches and memory.
    Pickling leaves the engine behind; set ``client.engine`` after loading.

    Parameters
    ----------
    engine : Engine
    prompt : Prompt
        Gives labels, style and template; instructions and demonstrations come with every request.
    calibration : Calibration, optional
    max_batch : int
        Rows in one engine call; a batch announced by ``together`` may be longer.
    quiet_s, max_wait_s : float
        A batch is closed when no row came for ``quiet_s`` seconds, at the latest after ``max_wait_s``.
    memory_rows : int
        How many answered rows are remembered, oldest forgotten first.
    """

    supports_decision_requests = True

    def __init__(
        self,
        engine: Engine | None,
        prompt: Prompt,
        calibration: Calibration | None = None,
        *,
        max_batch: int = 64,
        quiet_s: float = 0.004,
        max_wait_s: float = 0.05,
        memory_rows: int = 100_000,
    ) -> None:
        self.engine = engine
        self.prompt = prompt
        self.calibration = calibration or Calibration()
        self.max_batch = max_batch
        self.quiet_s = quiet_s
        self.max_wait_s = max_wait_s
        self.memory_rows = memory_rows
        self.error: BaseException | None = None
        # DSPy reads these from every language model.
        self.model = f"labelwright/{engine.name}" if engine is not None else "labelwright"
        self.kwargs: dict[str, Any] = {}
        self.history: list[dict[str, Any]] = []
        self.callbacks: list[Any] = []
        self._start()

    def _start(self) -> None:
        # The engine always computes on this one thread. Each thread that enters OpenMP gets a team of workers and a
        # memory arena of its own and keeps both: with thirty callers taking turns that adds up.
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="engine")
        self._turn = threading.Condition()
        self._leading = False
        self._queue: list[_Pending] = []
        self._in_flight: dict[_Unit, _Pending] = {}
        self._memory: OrderedDict[_Unit, NDArray[np.float64]] = OrderedDict()
        self._remembered_rows = 0
        self._batch_of: dict[str, tuple[str, ...]] = {}

    def together(self, texts: Sequence[str]) -> None:
        """Announce rows that will be asked for together; the first request for one of them scores them all, in order.

        Without it, which rows share an engine call depends on thread timing, and with it the last digits of their
        scores: a search that is to continue after a kill exactly as it would have gone on needs fixed batches.
        """
        batch = tuple(dict.fromkeys(texts))
        with self._turn:
            self._batch_of.update(dict.fromkeys(batch, batch))

    def __call__(self, state: Mapping[str, Any], questions: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """Answer one choice question on one row.

        Parameters
        ----------
        state : mapping
            ``instructions``, ``inputs`` (one text), ``demos`` (mappings with text and label; may be missing).
        questions : mapping
            One entry: output name -> question, whose ``criteria`` are the label names.

        Returns
        -------
        dict
            Output name -> ``choice`` (label name), ``confidence`` (its probability), ``probabilities`` (by label name).

        Raises
        ------
        ValueError
            A request with several questions, other labels than the prompt's, or inputs other than one text.
        """
        names = [label.name for label in self.prompt.labels]
        if len(questions) != 1 or len(state["inputs"]) != 1:
            raise ValueError(
                f"expected one question on one input, got {list(questions)} on {list(state['inputs'])}: "
                f"use the signature of signature_for(task)"
            )
        (output, question), (text,) = next(iter(questions.items())), state["inputs"].values()
        if list(question.get("criteria") or ()) != names:
            raise ValueError(
                f"question {output!r} offers {list(question.get('criteria') or ())[:3]}..., the prompt has {names[:3]}"
            )
        row = self.probabilities(state["instructions"], text, state.get("demos", ()))
        best = int(row.argmax())
        by_name = {name: float(p) for name, p in zip(names, row, strict=True)}
        return {output: {"choice": names[best], "confidence": by_name[names[best]], "probabilities": by_name}}

    async def acall(self, state: Mapping[str, Any], questions: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """``__call__`` off the event loop."""
        return await asyncio.to_thread(self, state, questions)

    def probabilities(
        self, instructions: str, text: str, demos: Sequence[Mapping[str, Any]] = ()
    ) -> NDArray[np.float64]:
        """Calibrated probabilities of one row, shape (n_labels,), under given instructions and demonstrations."""
        prompt = prompt_for(self.prompt, instructions, demos)
        with self._turn:
            texts = self._batch_of.get(text, (text,))
            unit = _Unit(prompt.instructions, prompt.demos, texts)
            if unit in self._memory:
                self._memory.move_to_end(unit)
                return self._memory[unit][texts.index(text)]
            if unit not in self._in_flight:
                self._in_flight[unit] = _Pending(unit, prompt)
                self._queue.append(self._in_flight[unit])
            pending = self._in_flight[unit]
        self._wait_or_lead(pending)
        if pending.error is not None:
            raise pending.error
        return pending.probabilities[texts.index(text)]

    def _wait_or_lead(self, pending: _Pending) -> None:
        """Return when ``pending`` is done, scoring batches for everybody while nobody else does."""
        while True:
            with self._turn:
                while self._leading and not pending.done:
                    self._turn.wait()
                if pending.done:
                    return
                self._leading = True
            try:
                self._score(self._next_batch())
            finally:
                with self._turn:
                    self._leading = False
                    self._turn.notify_all()

    def _next_batch(self) -> list[_Pending]:
        """Take the oldest unit off the queue and, if it is a single row, those that can share its engine call."""
        deadline = time.monotonic() + self.max_wait_s
        n_seen = 0
        while n_seen < len(self._queue) < self.max_batch and time.monotonic() < deadline:
            if len(self._queue[0].unit.texts) > 1:
                break
            n_seen = len(self._queue)
            time.sleep(self.quiet_s)
        with self._turn:
            first = self._queue[0]
            batch = [first]
            if len(first.unit.texts) == 1:
                batch = [p for p in self._queue if p.unit[:2] == first.unit[:2] and len(p.unit.texts) == 1]
                batch = batch[: self.max_batch]
            self._queue = [p for p in self._queue if p not in batch]
        return batch

    def _score(self, batch: Sequence[_Pending]) -> None:
        """One engine call for a batch; its outcome, good or bad, is handed to every unit in it."""
        prompt = batch[0].prompt
        rows: NDArray[np.float64] = np.empty((0, 0))
        error: BaseException | None = None
        try:
            if self.engine is None:
                raise RuntimeError("this decision client was unpickled and has no engine: set client.engine")
            texts = [text for pending in batch for text in pending.unit.texts]
            scores = self._worker.submit(option_scores, prompt, self.engine, texts).result()
            rows = self.calibration.apply(scores)
        except BaseException as raised:
            error = raised
        with self._turn:
            start = 0
            for pending in batch:
                stop = start + len(pending.unit.texts)
                pending.error, pending.probabilities, pending.done = error, rows[start:stop], True
                del self._in_flight[pending.unit]
                if error is None:
                    self._remember(pending.unit, rows[start:stop])
                start = stop
            self.error = self.error or error
        if error is not None and not isinstance(error, Exception):
            raise error  # an interrupt is for this thread, not only for the rows

    def _remember(self, unit: _Unit, rows: NDArray[np.float64]) -> None:
        self._memory[unit] = rows
        self._remembered_rows += len(rows)
        while self._remembered_rows > self.memory_rows and len(self._memory) > 1:
            _, oldest = self._memory.popitem(last=False)
            self._remembered_rows -= len(oldest)

    def copy(self, **kwargs: Any) -> DecisionClient:
        """Itself: there is nothing to set apart. DSPy copies language models to change sampling settings."""
        return self

    def __copy__(self) -> DecisionClient:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> DecisionClient:
        return self

    def __getstate__(self) -> dict[str, Any]:
        kept = ("prompt", "calibration", "max_batch", "quiet_s", "max_wait_s", "memory_rows", "model")
        return {name: getattr(self, name) for name in kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, engine=None, error=None, kwargs={}, history=[], callbacks=[])
        self._start()
