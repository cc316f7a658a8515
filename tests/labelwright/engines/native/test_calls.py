"""Calls that never return: told in one line, no process kept from ending, nothing freed that a call is still on."""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any

import pytest
from tiny import tiny_model_folder

from labelwright.conversion.servers import QUESTION
from labelwright.engines.native.calls import VARIABLE, WITHIN_S, NativeCalls, within_s
from labelwright.errors import ModelError


@pytest.fixture
def ended() -> Iterator[threading.Event]:
    """Hangs end with the test."""
    event = threading.Event()
    yield event
    event.set()


class Native:
    """An object of a library that answers, or hangs on what it is told to."""

    def __init__(self, ended: threading.Event, hangs_on: Any = None) -> None:
        self._ended = ended
        self._hangs_on = hangs_on

    def double(self, number: int) -> int:
        if number == self._hangs_on:
            self._ended.wait()
        if number < 0:
            raise ValueError(f"{number} is below 0")
        return 2 * number


def test_answers_come_in_order_and_as_many_at_once_as_may(ended: threading.Event) -> None:
    both = threading.Barrier(2)
    calls = NativeCalls(None, "it", 2)
    # Neither gets past the barrier alone.
    assert calls.map(lambda n: (both.wait(60), 2 * n)[1], range(6)) == [0, 2, 4, 6, 8, 10]
    assert calls.map(Native(ended).double, []) == []


def test_a_call_that_hangs_is_given_up_in_one_line(ended: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    native = Native(ended, hangs_on=3)
    calls = NativeCalls(native, "it (model)", 2)
    references = sys.getrefcount(native)
    monkeypatch.setenv(VARIABLE, "0.2")
    said = rf"^it \(model\) has given no answer for 0.2 s, and its call cannot be ended: .*{VARIABLE}$"
    with pytest.raises(ModelError, match=said):
        calls.map(native.double, range(6))
    # Nothing asks it again, though it would wait no longer.
    monkeypatch.setenv(VARIABLE, "60")
    with pytest.raises(ModelError, match=said):
        calls.map(native.double, [1])
    assert calls.is_lost
    left = [one for one in threading.enumerate() if one.name.startswith("native-")]
    assert {one.daemon for one in left} == {True}, "the process could not end"
    ended.set()
    for one in left:
        one.join(60)
    assert not any(one.is_alive() for one in left)
    gc.collect()
    # One that nobody gives back: to free what a call may still be on would wait for the call.
    assert sys.getrefcount(native) == references + 1


def test_what_a_call_raises_is_raised_and_the_next_is_asked(ended: threading.Event) -> None:
    calls = NativeCalls(None, "it", 1)
    with pytest.raises(ValueError, match="-1 is below 0"):
        calls.map(Native(ended).double, [1, -1, 2])
    assert calls.map(Native(ended).double, [2]) == [4]
    assert not calls.is_lost


class Slow:
    """Raises on 0 as soon as 1 is under way, which takes its time."""

    def __init__(self) -> None:
        self._has_begun = threading.Event()
        self.done: list[int] = []

    def ask(self, number: int) -> int:
        if number == 0:
            assert self._has_begun.wait(60)
            raise ValueError("0 is asked")
        self._has_begun.set()
        time.sleep(0.05)
        self.done.append(number)
        return number


def test_what_a_call_raises_is_raised_when_the_calls_beside_it_are_back() -> None:
    slow = Slow()
    with pytest.raises(ValueError, match="0 is asked"):
        NativeCalls(None, "it", 2).map(slow.ask, [0, 1])
    assert slow.done == [1]


def test_no_call_begins_while_one_of_before_an_interrupt_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(SimpleQueue):  # type: ignore[type-arg]
        def get(self, *given: Any, **named: Any) -> Any:
            raise KeyboardInterrupt

    slow, calls = Slow(), NativeCalls(None, "it", 1)
    with monkeypatch.context() as patch:
        patch.setattr("labelwright.engines.native.in_flight.SimpleQueue", Interrupted)
        with pytest.raises(KeyboardInterrupt):
            calls.map(slow.ask, [1])
    assert calls.map(lambda _: list(slow.done), [2]) == [[1]]


def test_a_call_that_hangs_beside_one_that_raises_is_given_up(
    ended: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_begun, calls = threading.Event(), NativeCalls(None, "it", 2)

    def ask(number: int) -> None:
        if number == 0:
            assert has_begun.wait(60)
            raise ValueError("0 is asked")
        has_begun.set()
        ended.wait()

    monkeypatch.setenv(VARIABLE, "0.1")
    # A machine that begins no call within the limit says that there is no answer.
    with pytest.raises((ValueError, ModelError)):
        calls.map(ask, [0, 1])
    assert calls.is_lost
    with pytest.raises(ModelError, match=r"^it has given no answer for 0\.1 s"):
        calls.map(ask, [1])


@pytest.mark.parametrize("said", ["soon", "0", "-1", "nan", "1e300"])
def test_a_limit_that_is_none_is_refused(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert within_s() == WITHIN_S
    monkeypatch.setenv(VARIABLE, said)
    with pytest.raises(ModelError, match=f"{VARIABLE}='{said}': expected a number of seconds above 0"):
        within_s()


def test_what_asks_llama_cpp_gives_up_on_it(
    ended: threading.Event, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    xllamacpp = pytest.importorskip("xllamacpp", reason="xllamacpp is not installed")
    from labelwright.conversion.runtimes import gguf
    from labelwright.engines.coalesce import CoalescingEngine
    from labelwright.engines.llamacpp import LlamaCppEngine
    from labelwright.models.loading import load_tokenizer
    from labelwright.models.weights import Base
    from labelwright.prompt import Label, Prompt, Template

    class Hanging:
        def __init__(self, parameters: Any) -> None: ...

        def handle_completions(self, request: Any) -> Any:
            ended.wait()

        handle_systemone = handle_completions

    monkeypatch.setattr(xllamacpp, "Server", Hanging)
    monkeypatch.setenv(VARIABLE, "0.1")
    folder = tiny_model_folder(tmp_path / "model")
    engine = LlamaCppEngine("none.gguf", load_tokenizer(Base(str(folder))), "tiny")
    shared = CoalescingEngine(engine)
    assert shared.is_alive
    prompt = Prompt("Which?", (Label("pool"), Label("fence")), template=Template())
    for ask in (engine.score, engine.decode):
        with pytest.raises(ModelError, match=r"^llama\.cpp \(tiny\) has given no answer for 0\.1 s"):
            ask(prompt.render_all(["a"]), prompt.options)
    assert not shared.is_alive, "a server would say that it is ready"
    shared.close()
    decisions = gguf.Decisions(tmp_path / "m.gguf", {"questions": {QUESTION: {}}}, ["pool", "fence"])
    with pytest.raises(ModelError, match=r"m\.gguf\) has given no answer"):
        decisions.probabilities(["a", "b"])
    decisions.close()
