"""An engine as a DSPy language model: the decision client.

DSPy asks row by row, from threads; an engine wants batches. The client renders each row through ``Prompt`` (the same
bytes as everywhere), lets rows that wait at the same time share an engine call (``labelwright.engines.coalesce``), and
remembers answers. DSPy recognises it by ``supports_decision_requests`` (dspy/adapters/decision.py, modelled on
dspy/clients/typesafe.py) and receives a probability for every label instead of text to parse.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from labelwright.data.task import Label
from labelwright.decide import calibrated
from labelwright.decisions.decision import LIKELIEST, Decision
from labelwright.engines.coalesce import CoalescingEngine
from labelwright.engines.protocol import Engine
from labelwright.prompt import Prompt, Rendered
from labelwright.statistics.calibration import Calibration
from programs.convert import prompt_for

T = TypeVar("T")
Probabilities = NDArray[np.float64]
# Rows under a prompt, asked of an engine, to their probabilities (n_texts, n_labels).
Answers = Callable[[Prompt, Engine, Sequence[str]], Probabilities]

_NO_ENGINE = "this decision client was unpickled and has no engine: set client.engine"


class _Unit(NamedTuple):
    """What is scored and remembered as one: rows under one prompt."""

    instructions: str
    demos: tuple[tuple[str, str], ...]
    labels: tuple[Label, ...]
    texts: tuple[str, ...]


class _UnitEngine(CoalescingEngine):
    """A row that is asked for alone may share its engine call; an announced batch is one call with no other rows in it.

    ``labelwright.decide`` calls ``score`` with all rows of a unit, so their number tells which it is.
    """

    def score(
        self,
        prompts: Sequence[Rendered],
        options: Sequence[str],
        calibration: Calibration | None = None,
        timeout_s: float | None = None,
    ) -> NDArray[np.float64]:
        """As ``Engine.score``."""
        alone = len(prompts) > 1
        return self.submit(prompts, options, calibration=calibration, alone=alone, timeout_s=timeout_s).result()


class DecisionClient:
    """Answers DSPy's decision requests with an engine's label probabilities.

    Safe to call from many threads. Rows that wait at the same time share an engine call, whatever their instructions;
    a row that is being scored is not asked for again. The first error is kept in ``error``, because DSPy's evaluation
    turns exceptions into zero scores.

    Copying (``copy``, ``deepcopy``) returns the client itself: copies of a program share engine, batches and memory.
    Pickling leaves the engine behind; set ``client.engine`` after loading.

    Parameters
    ----------
    engine : Engine
    prompt : Prompt
        Gives labels, style and template; instructions and demonstrations come with every request, and label
        descriptions where its criteria have them.
    calibration : Calibration, optional
    decision : Decision, optional
        Which label is the choice; it is made on every row, also where the decision would abstain.
    answers : callable, optional
        Makes the probabilities of a batch in place of ``calibration``; left behind in pickling.
    max_batch : int
        Rows in one engine call; a batch announced by ``together`` may be longer.
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
        decision: Decision = LIKELIEST,
        answers: Answers | None = None,
        max_batch: int = 64,
        memory_rows: int = 100_000,
    ) -> None:
        self.prompt = prompt
        self.calibration = calibration or Calibration()
        self.decision = decision
        self.answers = answers
        self.max_batch = max_batch
        self.memory_rows = memory_rows
        # DSPy reads these from every language model.
        self.model = f"labelwright/{engine.name}" if engine is not None else "labelwright"
        self._start(engine)

    def _start(self, engine: Engine | None) -> None:
        self.error: BaseException | None = None
        self.kwargs: dict[str, Any] = {}
        self.history: list[dict[str, Any]] = []
        self.callbacks: list[Any] = []
        self.engine = engine
        self._lock = threading.Lock()
        self._in_flight: dict[_Unit, Future[Probabilities]] = {}
        self._memory: OrderedDict[_Unit, Probabilities] = OrderedDict()
        self._remembered_rows = 0
        self._batch_of: dict[str, tuple[str, ...]] = {}

    @property
    def engine(self) -> Engine | None:
        """What answers; None after unpickling, until it is set."""
        return self._engine

    @engine.setter
    def engine(self, engine: Engine | None) -> None:
        """Answer with another engine from now on. What is remembered stays."""
        self._engine = engine
        self._shared = _UnitEngine(engine, max_batch_rows=self.max_batch) if engine is not None else None

    @property
    def shared(self) -> Engine:
        """The engine as all who ask share it: who scores beside this client's programs asks this one."""
        if self._shared is None:
            raise RuntimeError(_NO_ENGINE)
        return cast(Engine, self._shared)

    def serve(self, work: Callable[[], T]) -> T:
        """Make the engine calls on this thread until ``work``, which asks this client on another, has ended.

        It answers nothing new afterwards, until an engine is set. See ``CoalescingEngine.serve``.
        """
        if self._shared is None:
            raise RuntimeError(_NO_ENGINE)
        return self._shared.serve(work)

    def together(self, texts: Sequence[str]) -> None:
        """Announce rows that will be asked for together; the first request for one of them scores them all, in order.

        Without it, which rows share an engine call depends on thread timing, and with it the last digits of their
        scores: a search that is to continue after a kill exactly as it would have gone on needs fixed batches.
        """
        batch = tuple(dict.fromkeys(texts))
        with self._lock:
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
            A request with several questions, other labels than the prompt's, or inputs other than one text; a row to
            which the engine gave no usable answer, for DSPy to score as a failure.
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
        row = self.probabilities(state["instructions"], text, state.get("demos", ()), question["criteria"])
        best = int(self.decision.decide(row[None]).choice[0])
        if best < 0:
            raise ValueError(f"{self.model} gave no usable answer to {text[:40]!r}: none of the labels")
        by_name = {name: float(p) for name, p in zip(names, row, strict=True)}
        return {output: {"choice": names[best], "confidence": by_name[names[best]], "probabilities": by_name}}

    async def acall(self, state: Mapping[str, Any], questions: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """``__call__`` off the event loop."""
        return await asyncio.to_thread(self, state, questions)

    def probabilities(
        self,
        instructions: str,
        text: str,
        demos: Sequence[Mapping[str, Any]] = (),
        descriptions: Mapping[str, str | None] | None = None,
    ) -> Probabilities:
        """Calibrated probabilities of one row, shape (n_labels,), under what a program says (``prompt_for``)."""
        prompt = prompt_for(self.prompt, instructions, demos, descriptions)
        with self._lock:
            texts = self._batch_of.get(text, (text,))
            unit = _Unit(prompt.instructions, prompt.demos, prompt.labels, texts)
            if unit in self._memory:
                self._memory.move_to_end(unit)
                return self._memory[unit][texts.index(text)]
            asked = unit in self._in_flight
            answer = self._in_flight.setdefault(unit, Future())
        # Whoever comes first asks, in its own thread and outside the lock; the others wait for the same future.
        if not asked:
            self._ask(unit, prompt, answer)
        return answer.result()[texts.index(text)]

    def _ask(self, unit: _Unit, prompt: Prompt, answer: Future[Probabilities]) -> None:
        """Score a unit for everybody who waits for it."""
        try:
            if self.answers is not None:
                rows = self.answers(prompt, self.shared, unit.texts)
            else:
                rows = calibrated(prompt, self.calibration, self.shared, unit.texts)
        except BaseException as error:
            with self._lock:
                del self._in_flight[unit]
                self.error = self.error or error
            answer.set_exception(error)
            return
        with self._lock:
            del self._in_flight[unit]
            self._remember(unit, rows)
        answer.set_result(rows)

    def _remember(self, unit: _Unit, rows: Probabilities) -> None:
        self._memory[unit] = rows  # (n_rows, n_labels)
        self._remembered_rows += len(rows)
        while self._remembered_rows > self.memory_rows and len(self._memory) > 1:
            _, oldest = self._memory.popitem(last=False)
            self._remembered_rows -= len(oldest)

    @property
    def n_remembered(self) -> int:
        """Rows whose answers are remembered: those that were scored, as long as they are fewer than ``memory_rows``."""
        return self._remembered_rows

    def copy(self, **kwargs: Any) -> DecisionClient:
        """Itself: there is nothing to set apart. DSPy copies language models to change sampling settings."""
        return self

    def __copy__(self) -> DecisionClient:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> DecisionClient:
        return self

    def __getstate__(self) -> dict[str, Any]:
        kept = ("prompt", "calibration", "decision", "max_batch", "memory_rows", "model")
        return {name: getattr(self, name) for name in kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.answers = None
        self._start(None)
