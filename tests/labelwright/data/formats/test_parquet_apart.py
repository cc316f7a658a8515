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
    environments: list[dict[str, str]] = []
    real = asyncio.create_subprocess_exec

    async def slow(*command: str, env: dict[str, str], **how: Any) -> asyncio.subprocess.Process:
        environments.append(env)
        started.append(await real(sys.executable, "-c", "import time; time.sleep(60)", env=env, **how))
        return started[-1]

    monkeypatch.setattr(parquet_apart.asyncio, "create_subprocess_exec", slow)

    async def given_up() -> None:
        async with asyncio.timeout(0.2):
            await read_apart(b"", (), BOUNDS)

    with pytest.raises(TimeoutError):
        asyncio.run(given_up())
    assert "a-key-of-sixteen-or-more" not in environments[0].values()
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
