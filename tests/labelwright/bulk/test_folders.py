"""Outputs on a disk and in a store: a file is whole or not there, a bulk job in S3 is the plain command's bytes."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import bulk
import pytest

from labelwright.bulk import folders
from labelwright.bulk.folders import Folder, folder_of
from labelwright.bulk.parts import Counts, Parts
from labelwright.cli import main
from labelwright.data.formats.places import place_of
from labelwright.errors import DataError

pytest.importorskip("moto.server")


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    """A bucket of S3, as ``s3://bucket/…?store``."""
    with bulk.s3() as query:
        yield query


@pytest.fixture(params=["disk", "s3", "memory"])
def folder(request, tmp_path) -> Folder:
    if request.param == "disk":
        return folder_of(tmp_path / "out")
    name = uuid.uuid4().hex
    if request.param == "memory":
        return folder_of(place_of(f"memory://{name}/out"))
    return folder_of(place_of(f"s3://bucket/{name}?{request.getfixturevalue('store')}"))


def test_what_is_written_is_whole_or_not_there(folder):
    assert (folder.sizes(), folder.read("a"), folder.sizes("_parts")) == ({}, None, {})
    folder.write("a", b"abc")
    folder.write("_parts/b", b"x" * 10)
    assert (folder.sizes(), folder.sizes("_parts")) == ({"a": 3}, {"b": 10})
    with folder.writing("c") as file:
        file.write(b"half")
        file.flush()
        assert "c" not in folder.sizes()
        file.write(b" and half")
    assert folder.read("c") == b"half and half"
    with suppress(ValueError), folder.writing("c") as file:
        file.write(b"other")
        raise ValueError
    assert folder.read("c") == b"half and half"
    with folder.open("c") as file:
        assert file.read() == b"half and half"
    folder.create("a", b"never")
    assert folder.read("a") == b"abc"
    folder.remove("a")
    folder.remove("a")
    assert set(folder.sizes()) == {"c"}
    folder.remove_empty()
    folder.remove_empty("_parts")
    assert (folder.sizes(), folder.sizes("_parts")) == ({"c": 13}, {"b": 10})
    folder.remove("c")
    folder.remove("_parts/b")
    folder.remove_empty("_parts")
    folder.remove_empty()
    assert (folder.sizes(), folder.read("c")) == ({}, None)
    with pytest.raises(FileNotFoundError):
        folder.open("c")


def test_what_is_discarded_is_ours_alone(folder):
    parts = Parts(folder, 2)
    strange = {"rows.csv": 1, "part-00002.jsonl": 1, "part-1.jsonl": 1, "deep/part-00000.jsonl": 1, "_parts/notes": 1}
    for name in strange:
        folder.write(name, b"x")
    for number in range(2):
        parts.begin(number, "run")
        with parts.writing(number) as part:
            part.counts = Counts(0, 0, 0, 0)
    folder.write("_manifest.json", b"{}")
    folder.write("_parts/.part-00000.json.7-7.tmp.starts", b"x")
    parts.discard()
    below = {f"{at}/{name}": n for at in ("deep", "_parts") for name, n in folder.sizes(at).items()}
    assert folder.sizes() | below == strange


@pytest.mark.parametrize("most", [2**30, 0])
def test_what_is_cut_off_while_it_is_put_is_not_there(folder, monkeypatch, most):
    def cut_off(source, stream, n_bytes):
        stream.write(source.read(2))
        raise KeyboardInterrupt

    monkeypatch.setattr(folders, "_MOST_COPIED_BYTES", {"s3": most})
    with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
        if isinstance(folder, folders.RemoteFolder):
            patch.setattr(folders.shutil, "copyfileobj", cut_off)
        with folder.writing("answers.jsonl") as file:
            file.write(b"half and half")
            if isinstance(folder, folders.LocalFolder):
                raise KeyboardInterrupt
    assert folder.sizes() == {}
    folder.write("answers.jsonl", b"whole")
    assert folder.sizes() == {"answers.jsonl": 5}


def test_of_many_that_create_a_file_one_does(tmp_path):
    folder, seen = folder_of(tmp_path), []

    def create(n: int) -> None:
        folder.create("manifest", str(n).encode() * 1000)
        seen.append(folder.read("manifest"))

    threads = [threading.Thread(target=create, args=(n,)) for n in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(set(seen)) == 1
    assert folder.sizes() == {"manifest": 1000}


def test_a_disk_that_takes_nothing_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file/a: cannot be written \(.+\); check the folder"):
        folder_of(tmp_path / "file").write("a", b"x")


@pytest.mark.parametrize("joined", [False, True])
def test_from_s3_to_s3_over_processes(store, tmp_path, joined, monkeypatch, capfd):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    bundle, run = bulk.small_bundle(tmp_path), uuid.uuid4().hex
    source = folder_of(place_of(f"s3://bucket/{run}/in?{store}"))
    expected = b""
    for name, n in {"a.jsonl": 1500, "b.jsonl": 30}.items():
        rows = bulk.write_jsonl(tmp_path / name, [{"text": text} for text in bulk.texts(n)])
        source.write(name, rows.read_bytes())
        expected += bulk.plain(bundle, [rows], tmp_path).replace(
            str(rows).encode(), f"s3://bucket/{run}/in/{name}".encode()
        )
    given = ["--engine", "processes", "--workers", "1", "--shard-rows", "1024"]
    output = f"s3://me:dont-tell@bucket/{run}/out" if not joined else f"s3://bucket/{run}/all.jsonl"
    if not joined:
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")  # in the URL, and so with the workers alone
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        source_url = f"s3://me:dont-tell@bucket/{run}/in/*.jsonl?{store}"
    else:
        source_url = f"s3://bucket/{run}/in/*.jsonl?{store}"
    assert main(["predict", str(bundle), "--input", source_url, "--output", f"{output}?{store}", *given]) == 1
    out = folder_of(place_of(f"{output}?{store}" if not joined else f"s3://bucket/{run}?{store}"))
    if joined:
        assert out.read("all.jsonl") == expected
        assert folder_of(place_of(f"s3://bucket/{run}/all.jsonl.parts?{store}")).sizes() == {}
        return
    names = sorted(name for name in out.sizes() if name.startswith("part-"))
    assert names == ["part-00000.jsonl", "part-00001.jsonl", "part-00002.jsonl"]
    assert b"".join(out.read(name) or b"" for name in names) == expected
    assert b"dont-tell" not in (out.read("_manifest.json") or b"") + expected
    assert b"endpoint_override" not in (out.read("_manifest.json") or b"")
    # Gone on with: what is missing, and that alone.
    out.remove(names[1])
    assert main(["predict", str(bundle), "--input", source_url, "--output", f"{output}?{store}", *given]) == 1
    assert b"".join(out.read(name) or b"" for name in names) == expected
    err = capfd.readouterr().err
    assert "3 parts of 2 files, 2 of them answered before" in err
    assert "dont-tell" not in err


def test_the_plain_command_reads_urls_and_patterns_as_well(store, tmp_path):
    bundle, run = bulk.small_bundle(tmp_path), uuid.uuid4().hex
    rows = bulk.write_jsonl(tmp_path / "a.jsonl", [{"text": "a pool"}, {"text": "a fence"}])
    folder_of(place_of(f"s3://bucket/{run}?{store}")).write("a.jsonl", rows.read_bytes())
    output = str(tmp_path / "out.jsonl")
    assert main(["predict", str(bundle), "--input", f"s3://bucket/{run}/*.jsonl?{store}", "--output", output]) == 0
    assert Path(output).read_bytes() == bulk.plain(bundle, [rows], tmp_path)
