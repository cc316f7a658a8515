"""Several questions at a time: in order, bounded, and left by an interrupt while a server is silent."""

from __future__ import annotations

import signal
import threading

import pytest

from labelwright.engines.servers.asking import KEY, in_order, key_for
from labelwright.errors import ModelError


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


@pytest.fixture
def keys(monkeypatch):
    for name in (KEY, "OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_a_key_of_openai_s_goes_to_openai_alone(keys):
    assert key_for("https://api.openai.com/v1") == ""
    keys.setenv("OPENAI_API_KEY", "of openai")
    assert key_for("https://api.openai.com/v1") == "of openai"
    # A recipe is data, and may come from anybody.
    for url in ("https://evil.example/v1", "http://127.0.0.1:8000/v1", "https://api.openai.com.evil.example/v1"):
        assert key_for(url) == ""
    keys.setenv("OPENAI_BASE_URL", "https://proxy.example/openai")
    assert key_for("https://proxy.example/v1") == "of openai"
    keys.delenv("OPENAI_BASE_URL")
    assert key_for("v1/chat") == ""
    keys.setenv(KEY, "ours")
    assert key_for("https://other.example/v1") == "ours"
    assert key_for("https://api.openai.com/v1") == "of openai"
    keys.delenv("OPENAI_API_KEY")
    assert key_for("https://api.openai.com/v1") == "ours"


def test_no_key_travels_unencrypted_to_another_machine(keys):
    assert key_for("http://192.0.2.1:8080/v1") == ""
    keys.setenv(KEY, "s3cret")
    with pytest.raises(ModelError, match=f"192.0.2.1.*{KEY} would travel unencrypted; use https://") as refused:
        key_for("http://192.0.2.1:8080/v1")
    assert "s3cret" not in str(refused.value)
    for url in ("http://localhost:8000", "http://[::1]:8000/v1", "https://192.0.2.1:8080"):
        assert key_for(url) == "s3cret"
