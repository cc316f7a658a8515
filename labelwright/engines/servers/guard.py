"""The process between a server and whoever started it: it ends the server, and all that this started, with its stdin.

A pipe is closed when the process at its other end is gone, however it ended; so the server never outlives it. Run as a
file by itself: ``python -I -S guard.py FOLDER COMMAND …``; the folder, in which the server lives, goes with it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress

# Seconds in which a server may end by itself, and tidy up, before it is killed.
GRACE_S = 10.0


def main(folder: str, command: Sequence[str]) -> int:
    """Run a command to its end or that of stdin; its exit status, or 128 and the signal that ended it."""
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    is_over = threading.Event()
    threading.Thread(target=_end_with_stdin, args=(server, is_over), daemon=True).start()
    status = server.wait()
    _signal_all(server, signal.SIGKILL)  # what the server started may be there still
    if is_over.is_set():  # else somebody is there who may want to read why it ended
        shutil.rmtree(folder, ignore_errors=True)
    return status if status >= 0 else 128 - status


def _end_with_stdin(server: subprocess.Popen[bytes], is_over: threading.Event) -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    is_over.set()
    _signal_all(server, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        server.wait(GRACE_S)
    _signal_all(server, signal.SIGKILL)


def _signal_all(server: subprocess.Popen[bytes], which: signal.Signals) -> None:
    """To the server's process group, which is there for as long as anybody is in it."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(server.pid, which)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
