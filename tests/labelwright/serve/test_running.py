"""Starting, reloading and stopping: the command in a process of its own, and what it says of what it cannot serve."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue

import pytest
from fakes import FakeEngine, toy_bundle
from serving import CLIENT, asked, command

from labelwright import cli
from labelwright.bundle.store import load, save
from labelwright.errors import BundleError, RecipeError
from labelwright.serve import running
from labelwright.serve.limits import Limits
from labelwright.serve.served import Served
from labelwright.serve.service import Service
from labelwright.statistics.calibration import Calibration

NGRAMS = Path(__file__).parents[1] / "bundle" / "older" / "ngrams"


def said(started, what: str) -> str:
    """The first line on stderr that holds something; raises Empty where none comes in time."""
    found: SimpleQueue[str] = SimpleQueue()
    # Ends with the line, or with the process.
    lines = (line for line in started.stderr if what in line)
    threading.Thread(target=lambda: found.put(next(lines, "")), daemon=True).start()
    return found.get(timeout=120)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="signals of POSIX")
def test_it_starts_takes_a_new_bundle_keeps_the_old_one_and_stops_without_losing_a_request(tmp_path):
    folder = tmp_path / "bundle"
    shutil.copytree(NGRAMS, folder)
    bundle = load(folder)
    question = asked(bundle.task.names, "the pool is green")
    with command(folder) as (started, url, lines), ThreadPoolExecutor(4) as threads:
        assert lines[0].startswith(f"{running.model_ids([bundle.task.name])[0]}: ")
        ask = lambda: CLIENT.post(f"{url}/v1/systemone", json=question)  # noqa: E731
        before = ask().json()["answers"]["q"]["probabilities"]

        stop = time.monotonic() + 20
        asking = [
            threads.submit(lambda: [ask().status_code for _ in range(100) if time.monotonic() < stop]) for _ in "ab"
        ]
        save(replace(bundle, calibration=Calibration(5.0)), folder)
        started.send_signal(signal.SIGHUP)
        said(started, "loaded anew")
        after = ask().json()["answers"]["q"]["probabilities"]
        assert max(after.values()) < max(before.values())
        assert {status for one in asking for status in one.result()} == {200}

        (folder / "bundle.json").write_text("{", encoding="utf-8")
        (folder / "hashes.json").write_text("{", encoding="utf-8")
        started.send_signal(signal.SIGHUP)
        assert "goes on as it was" in said(started, "goes on")
        assert ask().json()["answers"]["q"]["probabilities"] == after

        body = json.dumps(question).encode()
        with socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1]))) as connection:
            head = "POST /v1/systemone HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            connection.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body[:20])
            assert ask().status_code == 200  # so the first half has been read
            started.send_signal(signal.SIGTERM)
            while is_open(url):
                time.sleep(0.02)
            connection.sendall(body[20:])
            assert b" 200 " in connection.recv(100)
        assert started.wait(20) == 0


def is_open(url: str) -> bool:
    try:
        socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1])), timeout=5).close()
    except OSError:
        return False
    return True


def test_every_bundle_that_cannot_be_served_is_named_at_once(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    arguments = ["serve", str(tmp_path / "none"), str(NGRAMS), str(tmp_path / "empty"), "--port", "0"]
    assert cli.main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "none" in line
    assert "empty" in line


def test_a_port_that_is_taken_is_one_line_before_a_model_is_loaded(capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert cli.main(["serve", "nowhere", "--port", str(taken.getsockname()[1])]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--port" in line


@pytest.mark.parametrize("port", ["-1", "70000"])
def test_a_port_that_there_is_not_is_one_line(port, capsys):
    assert cli.main(["serve", str(NGRAMS), "--port", port]) == 2
    assert "--port" in capsys.readouterr().err


def test_the_socket_is_one_on_which_answers_do_not_wait():
    """asyncio sets TCP_NODELAY where the protocol is named, and only there."""
    with running._bound("127.0.0.1", 0) as listening:
        assert listening.proto == socket.IPPROTO_TCP


def test_limits_are_held_to_their_ranges(capsys):
    assert cli.main(["serve", str(NGRAMS), "--most-rows", "0"]) == 2
    assert "rows = 0" in capsys.readouterr().err
    with pytest.raises(RecipeError, match=r"body_bytes.*seconds"):
        Limits(body_bytes=1, seconds=0)


def test_a_bundle_is_opened_on_a_thread_that_is_over_when_it_is_served():
    opened_on = []

    def opener(folder):
        opened_on.append(threading.current_thread())
        return load(folder), FakeEngine()

    served = Served.open("ngrams", NGRAMS, opener, 1)
    served.close()
    (thread,) = opened_on
    assert thread is not threading.current_thread()
    assert not thread.is_alive()


def test_a_bundle_named_twice_is_refused():
    with pytest.raises(BundleError, match="twice"):
        running._opened([NGRAMS, NGRAMS], lambda folder: (toy_bundle(), FakeEngine()), Limits())


def test_bundles_of_one_name_get_ids_of_their_own(tmp_path):
    shutil.copytree(NGRAMS, tmp_path / "second")
    opened = running._opened([NGRAMS, tmp_path / "second"], lambda folder: (load(folder), FakeEngine()), Limits())
    (first, second) = opened
    assert second == f"{first}-2"
    for one in opened.values():
        one.close()


def test_bundles_that_were_opened_are_closed_when_another_cannot_be(tmp_path, monkeypatch):
    shutil.copytree(NGRAMS, tmp_path / "second")
    opened = []
    real = running.Served.open

    def open_first(id, folder, *rest):
        if folder != NGRAMS:
            raise BundleError(f"{folder}: no")
        opened.append(real(id, folder, *rest))
        return opened[0]

    monkeypatch.setattr(running.Served, "open", open_first)
    with pytest.raises(BundleError, match="second: no"):
        running._opened([NGRAMS, tmp_path / "second"], lambda folder: (load(folder), FakeEngine()), Limits())
    assert not opened[0].engine.is_alive


def test_who_serves_other_machines_without_a_key_is_warned(capsys):
    service = Service({}, Limits())
    with running._bound("127.0.0.1", 0) as listening:
        for host, is_open in (("0.0.0.0", True), ("0.0.0.0", False), ("127.0.0.1", True)):
            running._announce(service, listening, host, is_open)
    (line,) = capsys.readouterr().err.splitlines()
    assert "LABELWRIGHT_API_KEYS" in line
