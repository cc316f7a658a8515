"""The process behind a server that must not outlive whoever started it: it ends the server, and all that this started.

It does so when its stdin ends: a pipe is closed when the process at its other end is gone, however it ended. What
becomes of the server is told on stdout, a line each: its process, and its exit status. Run as a file by itself:
``python -I -S guard.py FOLDER COMMAND …``. The server works in the folder, writes its log there, and the folder goes
with it.

It is nobody's child: Ray kills the children of its workers before these can end anything in order.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

# Seconds in which a server may end by itself, and tidy up, before it is killed.
GRACE_S = 10.0
# And in which what it started may take to be gone, once it is killed.
REST_S = 5.0
LOG = "log"
# As a shell says of a command that it cannot run.
_NOT_STARTED = 126


def main(folder: Path, command: Sequence[str]) -> None:
    """Run a command to its end or that of stdin; the process that was called ends at once."""
    if os.fork():
        os._exit(0)
    try:
        _guarded(folder, command)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(0)  # without flushing a second time what was there before the fork


def _guarded(folder: Path, command: Sequence[str]) -> None:
    with (folder / LOG).open("w", encoding="utf-8") as log:
        try:
            server = subprocess.Popen(
                command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        except OSError as error:
            log.write(f"{type(error).__name__}: {error}\n")
            server = None
    if server is None:
        _tell(0)
        _tell(_NOT_STARTED)
        _wait_for_end()
        return
    _tell(server.pid)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: _signal_all(server, signal.SIGKILL) if server.returncode is None else None)
    over = threading.Thread(target=_end_with_stdin, args=(server,), daemon=True)
    over.start()
    status = server.wait()
    _kill_the_rest(server)
    _tell(status if status >= 0 else 128 - status)
    over.join()  # as long as somebody is there who may want to read why it ended


def _tell(number: int) -> None:
    with suppress(BrokenPipeError):
        print(number, flush=True)


def _wait_for_end() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass


def _end_with_stdin(server: subprocess.Popen[bytes]) -> None:
    _wait_for_end()
    if server.returncode is not None:  # its number may be another one's by now
        return
    _signal_all(server, signal.SIGTERM)
    try:
        server.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        _signal_all(server, signal.SIGKILL)


def _kill_the_rest(server: subprocess.Popen[bytes]) -> None:
    """What a server that has ended had started, which may hold a GPU; until it is gone, or for some seconds."""
    until = time.monotonic() + REST_S
    while _signal_all(server, signal.SIGKILL) and time.monotonic() < until:
        time.sleep(0.05)


def _signal_all(server: subprocess.Popen[bytes], which: signal.Signals) -> bool:
    """To the server's process group; whether anybody is in it still."""
    try:
        os.killpg(server.pid, which)
    except (ProcessLookupError, PermissionError):
        return False
    return True


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
