"""`labelwright serve` in a process of its own, for who asks it over HTTP."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from labelwright.errors import ModelError

_TIMEOUT_S = 120


@contextmanager
def serving(
    folders: Sequence[Path],
    *,
    port: int = 0,
    dtype: str = "auto",
    log: IO[str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The url of a server over bundles, and its process, while this is open.

    Parameters
    ----------
    port : int
        0 takes a free one.
    dtype : str
        Of the weights, as ``labelwright serve`` takes it.
    log : file, optional
        Where its stderr goes, a line a request; by default nowhere but into the message where it does not start.
    environment : mapping, optional
        All of it; by default ours.

    Raises
    ------
    ModelError
        If it does not start.
    """
    command = [sys.executable, "-m", "labelwright.cli", "serve", *map(str, folders), "--port", str(port)]
    command += [] if dtype == "auto" else ["--dtype", dtype]
    with tempfile.TemporaryFile("w+") as kept:
        # In a session of its own: Ctrl-C is for who asks.
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=log or kept,
            text=True,
            env=environment,
            start_new_session=True,
        )
        try:
            yield url_of(process, kept), process
        finally:
            process.terminate()
            process.wait(_TIMEOUT_S)
            if process.stdout is not None:
                process.stdout.close()


def url_of(process: Any, log: Any) -> str:
    """Where a server says that it is; one that cannot start ends without."""
    for line in process.stdout:
        if line.startswith("http://"):
            return str(line.split()[0])
    log.seek(0)
    raise ModelError(f"labelwright serve did not start: {' '.join(log.read().split())[-300:]}")
