"""Parquet from strangers: a body that is read in a process of its own, which may take so much and no more.

A few bytes of Parquet may stand for gigabytes (packed pages, dictionaries, prefixes that values share), and nothing in
it that says how many has to be true. So the bytes go to a process that has a bound on its memory and time, gets no
secret in its environment, and dies with what is too much; what comes back is rows as JSON. ``labelwright.serve`` asks
for it.
"""

from __future__ import annotations

import asyncio
import importlib.util
import io
import json
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from labelwright.data.formats.arrow_rows import rows_of
from labelwright.errors import DataError, MissingExtraError
from labelwright.plain_text import printable_line

# What the process may take beside what pyarrow needs to be there: address space, where the system keeps to that.
_MEMORY_BYTES = 768 * 2**20
_SECONDS = 20
# What it runs: the standard library's modules come before all that the server's own path has.
_START = f"import json, sys; sys.path += json.loads(sys.argv[2]); from {__name__} import _main; _main(sys.argv[1])"
# How it ends where there is too little for the body: by itself, or by the system that keeps the bounds.
_TOO_MUCH = 3
_ENDED_BY = {-getattr(signal, name, 0) for name in ("SIGKILL", "SIGXCPU", "SIGSEGV", "SIGABRT")} - {0}
# All of the environment that it gets: no keys.
_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT")
_BODY = "the body"
logger = logging.getLogger(__name__)


class Bounds(NamedTuple):
    """What a body may hold at most: rows, and bytes of them as JSON."""

    rows: int
    n_bytes: int


class BeyondError(DataError):
    """A body that holds more than its bounds."""


async def read_apart(body: bytes, columns: Sequence[str], bounds: Bounds) -> list[dict[str, Any]]:
    """The rows of a Parquet file, columns of a data frame's index left out.

    Parameters
    ----------
    columns : sequence of str
        Those that are wanted, where the file has one of them; all others stay unread. Where it has none, all are read.

    Raises
    ------
    DataError
        No Parquet file, or one that nobody should write.
    BeyondError
        More rows or bytes than the bounds, memory or time than there is for it.
    MissingExtraError
        Without pyarrow.
    RuntimeError
        The process could not do its work, whatever the body; the log says why.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise MissingExtraError('reading Parquet needs pyarrow: pip install "labelwright[parquet]" beside the server')
    environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    environment["ARROW_DEFAULT_MEMORY_POOL"] = "system"
    asked = json.dumps([list(columns), _MEMORY_BYTES, *bounds])
    path = json.dumps([str(Path(__file__).parents[3]), *filter(None, map(str, sys.path))])
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", "-c", _START, asked, path),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
        start_new_session=True,  # Ctrl-C ends the server, which answers what it has accepted
    )
    try:
        said, complaint = await process.communicate(body)
    finally:
        if process.returncode is None:  # whoever asked went away, or has no more time
            process.kill()
            await process.wait()
    if process.returncode == _TOO_MUCH or process.returncode in _ENDED_BY:
        raise BeyondError(f"{_BODY} cannot be read in the memory and time of one request: send fewer rows at a time")
    if process.returncode:
        why = printable_line(complaint.decode(errors="replace").strip().rpartition("\n")[2][:200])
        logger.error("the reader of Parquet ended with %s: %s", process.returncode, why)
        raise RuntimeError(f"the reader of Parquet ended with {process.returncode}")
    answer = json.loads(said)
    if isinstance(answer, list):
        return answer
    raise (BeyondError if answer["beyond"] else DataError)(answer["fault"])


def _main(asked: str) -> None:
    """The other process: bytes on stdin, rows or what is wrong with them on stdout."""
    columns, memory_bytes, *most = json.loads(asked)
    import pyarrow as arrow
    import pyarrow.parquet  # what it brings is there before the bound holds

    _bound(memory_bytes)
    try:
        answer = _rows(sys.stdin.buffer.read(), columns, Bounds(*most))
    except DataError as error:
        answer = json.dumps({"fault": str(error), "beyond": isinstance(error, BeyondError)}).encode()
    except (MemoryError, arrow.ArrowMemoryError):
        sys.exit(_TOO_MUCH)
    except (arrow.ArrowException, OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        said = str(error).partition("\n")[0][:200]
        answer = json.dumps({"fault": f"{_BODY} is no Parquet ({said}): write it again", "beyond": False}).encode()
    except Exception as error:  # ours; what it says may quote a row
        sys.exit(type(error).__name__)
    sys.stdout.buffer.write(answer)
    sys.stdout.flush()
    os._exit(0)  # all is said; what Arrow does to end its threads could only fail


def _rows(body: bytes, columns: Sequence[str], bounds: Bounds) -> bytes:
    import pyarrow.parquet as parquet

    file = parquet.ParquetFile(io.BytesIO(body))
    if file.metadata.num_rows > bounds.rows:
        raise BeyondError(f"{file.metadata.num_rows} rows in {_BODY}, but at most {bounds.rows} are taken: send fewer")
    index = (file.schema_arrow.pandas_metadata or {}).get("index_columns", [])  # of pandas: names, or how it is counted
    names = [name for name in file.schema_arrow.names if name not in index]
    wanted = [name for name in names if name in columns] or names
    table = file.read(columns=wanted, use_threads=False)
    listed = list(rows_of(table.to_batches(), table.schema, _BODY))
    written = json.dumps(listed, default=_plain, ensure_ascii=False, separators=(",", ":"))
    rows = written.encode("utf-8", "surrogatepass")
    if len(rows) > bounds.n_bytes:
        raise BeyondError(
            f"{len(rows)} bytes as JSON in {_BODY}, but at most {bounds.n_bytes} are taken: send fewer rows"
        )
    return rows


def _bound(memory_bytes: int) -> None:
    try:
        import resource
    except ImportError:  # not on Windows
        return

    def at_most(what: int, wanted: int) -> None:
        hard = resource.getrlimit(what)[1]
        least = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(what, (least, least))

    at_most(resource.RLIMIT_CPU, _SECONDS)
    taken = sum(int(line.split()[1]) * 1024 for line in _status() if line.startswith("VmSize:"))
    if taken:  # elsewhere nobody says what pyarrow itself has taken
        at_most(resource.RLIMIT_AS, taken + memory_bytes)


def _status() -> list[str]:
    path = Path("/proc/self/status")
    return path.read_text().splitlines() if path.is_file() else []


def _plain(value: Any) -> Any:
    """What JSON has no form for, as text; bytes that are none become half characters, which no row may hold."""
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)
