"""Parquet that a stranger sent: read by a process of its own, which dies of what is too much, and nothing else does."""

from __future__ import annotations

import asyncio
import io
import os
import sys
from typing import Any

import pytest

from labelwright.data.formats import parquet_apart
from labelwright.data.formats.parquet_apart import BeyondError, Bounds, read_apart
from labelwright.errors import DataError

arrow = pytest.importorskip("pyarrow")
BOUNDS = Bounds(rows=2000, n_bytes=2**20)


def packed(columns: dict[str, Any], **how: Any) -> bytes:
    from pyarrow import parquet

    file = io.BytesIO()
    parquet.write_table(arrow.table(columns), file, **how)
    return file.getvalue()


def read(body: bytes, columns: tuple[str, ...] = ("text", "choices"), bounds: Bounds = BOUNDS) -> Any:
    return asyncio.run(read_apart(body, columns, bounds))


def test_wanted_columns_come_as_rows_and_the_only_ones_where_none_is_wanted():
    body = packed({"text": ["a", None], "choices": [["x", "y"], []], "n": [1, 2]})
    assert read(body) == [{"text": "a", "choices": ["x", "y"]}, {"text": None, "choices": []}]
    assert read(packed({"q": [b"pool", b"\xff"]})) == [{"q": "pool"}, {"q": "\udcff"}]


def test_a_small_body_that_stands_for_gigabytes_costs_its_reader_and_nobody_else(monkeypatch):
    """A thousand rows share a text of two megabytes, in a body of some kilobytes."""
    shared = arrow.DictionaryArray.from_arrays(arrow.array([0] * 1000), ["x" * 2**21])
    body = packed({"text": shared}, compression="zstd")
    assert len(body) < 2**16
    monkeypatch.setattr(parquet_apart, "_MEMORY_BYTES", 2**28)
    with pytest.raises(BeyondError, match="in the memory and time of one request"):
        read(body, bounds=Bounds(2000, 2**40))
    with pytest.raises(BeyondError, match=r"20\d{3} bytes as JSON in the body, but at most 1000 are taken"):
        read(packed({"text": ["x" * 20_000]}), bounds=Bounds(2000, 1000))


def test_the_reader_gets_no_secret_and_ends_with_who_asked(monkeypatch):
    monkeypatch.setenv("LABELWRIGHT_API_KEYS", "a-key-of-sixteen-or-more")
    started: list[asyncio.subprocess.Process] = []
    given: list[dict[str, Any]] = []
    real = asyncio.create_subprocess_exec
    has_started = asyncio.Event()

    async def slow(*command: str, **how: Any) -> asyncio.subprocess.Process:
        given.append(how)
        started.append(await real(sys.executable, "-c", "import time; time.sleep(60)", **how))
        has_started.set()
        return started[-1]

    monkeypatch.setattr(parquet_apart.asyncio, "create_subprocess_exec", slow)

    async def given_up() -> None:
        asking = asyncio.create_task(read_apart(b"", (), BOUNDS))
        await has_started.wait()
        assert os.getsid(started[0].pid) == started[0].pid, "Ctrl-C would reach it"
        asking.cancel()
        await asking

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(given_up())
    assert "a-key-of-sixteen-or-more" not in given[0]["env"].values()
    with pytest.raises(ProcessLookupError):
        os.kill(started[0].pid, 0)


def test_what_is_no_parquet_is_said_in_one_line():
    with pytest.raises(DataError, match=r"^the body is no Parquet \(.*\): write it again$"):
        read(b"text\na\n")
    table = arrow.Table.from_arrays([arrow.array(["a"])] * 2, names=["text", "text"])
    from pyarrow import parquet

    file = io.BytesIO()
    parquet.write_table(table, file)
    with pytest.raises(DataError, match="column 'text' is there twice"):
        read(file.getvalue())


def test_metadata_of_another_form_is_no_parquet():
    from pyarrow import parquet

    file = io.BytesIO()
    parquet.write_table(arrow.table({"text": ["a"]}).replace_schema_metadata({"pandas": "[1]"}), file)
    with pytest.raises(DataError, match="the body is no Parquet"):
        read(file.getvalue())


@pytest.mark.parametrize("end", ["sys.exit(3)", "os.kill(os.getpid(), 9)", "os.abort()"])
def test_only_what_is_too_much_is_the_bodys_fault(monkeypatch, caplog, end):
    monkeypatch.setattr(parquet_apart, "_START", f"import os, sys; {end}")
    with pytest.raises(BeyondError, match="send fewer rows"):
        read(b"")
    monkeypatch.setattr(parquet_apart, "_START", "import no_such_module")
    with pytest.raises(RuntimeError, match="ended with 1"):
        read(b"")
    assert "ended with 1: ModuleNotFoundError: No module named 'no_such_module'" in caplog.text


def test_limits_of_the_server_stay_and_its_path_is_the_readers_behind_the_standard_library(monkeypatch, tmp_path):
    """Hard limits below the reader's own; a module on the server's path that is called as one of Python's."""
    resource = pytest.importorskip("resource")
    (tmp_path / "json.py").write_text("raise SystemExit('not this one')", encoding="utf-8")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    real = asyncio.create_subprocess_exec

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (15, 15))
        resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))

    async def under_limits(*command: str, **how: Any) -> asyncio.subprocess.Process:
        return await real(*command, preexec_fn=limited, **how)

    monkeypatch.setattr(parquet_apart.asyncio, "create_subprocess_exec", under_limits)
    assert read(packed({"text": ["a"]})) == [{"text": "a"}]


def test_bytes_are_counted_as_a_body_of_json_has_them():
    """Six hundred characters of three bytes."""
    rows = read(packed({"text": ["水" * 600]}), bounds=Bounds(1, 1815))
    assert rows == [{"text": "水" * 600}]
    with pytest.raises(BeyondError, match="1813 bytes as JSON"):
        read(packed({"text": ["水" * 600]}), bounds=Bounds(1, 1812))
