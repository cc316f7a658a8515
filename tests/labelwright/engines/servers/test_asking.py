"""Several questions at a time: in order, bounded, and left by an interrupt while a server is silent."""

from __future__ import annotations

import signal
import threading

import pytest

from labelwright.engines.servers.asking import KEYS, in_order, key_of_environment


def test_answers_are_in_order_and_no_more_are_asked_at_once_than_may_be():
    both, lock, now, most = threading.Barrier(2, timeout=60), threading.Lock(), [0], [0]

    def ask(item: int) -> int:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        both.wait()  # for one beside it, so that two are in flight
        with lock:
            now[0] -= 1
        return 10 * item

    assert in_order(ask, list(range(6)), at_once=2) == [0, 10, 20, 30, 40, 50]
    assert most == [2]
    assert in_order(ask, [], at_once=2) == []


@pytest.mark.parametrize(("items", "at_once", "answered"), [([0, 1, 2], 1, [0]), ([0, 1], 2, [0])])
def test_an_error_asks_no_more_and_waits_for_what_is_in_flight(items, at_once, answered):
    failed, said = threading.Event(), []

    def ask(item: int) -> None:
        if item == 1:
            failed.set()
            raise ValueError("gone")
        failed.wait(60 if at_once > 1 else 0)
        said.append(item)

    with pytest.raises(ValueError, match="gone"):
        in_order(ask, items, at_once)
    assert said == answered


def test_an_interrupt_waits_for_no_answer():
    release, said = threading.Event(), []

    def ask(item: int) -> None:
        if item == 1:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        release.wait(60)
        said.append(item)

    before = {*threading.enumerate()}
    # Where a shell began this in the background, interrupts are passed over.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            in_order(ask, [0, 1, 2], at_once=2)
    finally:
        signal.signal(signal.SIGINT, handler)
    left = {*threading.enumerate()} - before
    assert said == []
    assert [thread.daemon for thread in left] == [True, True], "they keep no process from ending"
    release.set()
    for thread in left:
        thread.join(60)
    assert sorted(said) == [0, 1], "nothing else is asked"


def test_the_key_is_the_first_of_the_environment_s(monkeypatch):
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)
    assert key_of_environment() == ""
    for name in reversed(KEYS):
        monkeypatch.setenv(name, f"of {name}")
        assert key_of_environment() == f"of {name}"
