"""Files behind URLs are read as files on a disk are; patterns mean files; keys are shown nowhere."""

from __future__ import annotations

import gzip
import json
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from labelwright.data.formats.places import Remote, files_meant, place_of, shown
from labelwright.data.formats.starts import starts_of
from labelwright.data.records import scan_records
from labelwright.errors import DataError, MissingExtraError

fsspec = pytest.importorskip("fsspec")
ROWS = [{"text": f"row {n} é"} for n in range(40)]


@pytest.fixture
def memory():
    """fsspec's own filesystem, with rows of several kinds."""
    import io

    import pyarrow
    import pyarrow.parquet

    filesystem = fsspec.filesystem("memory")
    lines = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
    table = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), table)
    files = {
        "a.jsonl": lines,
        "b.jsonl.gz": gzip.compress(lines),
        "deep/c.csv": b"text\n" + "".join(f"{row['text']}\n" for row in ROWS).encode(),
        "deep/er/d.parquet": table.getvalue(),
    }
    for name, content in files.items():
        filesystem.pipe_file(f"/rows/{name}", content)
    yield filesystem
    filesystem.rm("/rows", recursive=True)


@pytest.mark.parametrize("name", ["a.jsonl", "b.jsonl.gz", "deep/c.csv", "deep/er/d.parquet"])
def test_every_kind_is_read_behind_a_url(memory, name):
    url = f"memory://rows/{name}"
    assert [row.record for row in scan_records(url)] == ROWS
    starts = starts_of(place_of(url), 16 if not name.endswith("parquet") else 1024)
    read = [row for start in starts for row in islice(scan_records(url, start=start), 16)]
    assert [row.number for row in read][:16] == list(range(1, 17))
    assert len(read) == (40 if not name.endswith("parquet") else 16)


def test_patterns_mean_files_in_order(memory, tmp_path, monkeypatch):
    assert files_meant("memory://rows/*") == ["memory://rows/a.jsonl", "memory://rows/b.jsonl.gz"]
    assert files_meant("memory://rows/**/*.csv") == ["memory://rows/deep/c.csv"]
    assert files_meant("memory://rows/*/*.csv") == ["memory://rows/deep/c.csv"]
    monkeypatch.chdir(tmp_path)
    for one in ("b.csv", "a.csv", "c[1].csv", "deep/d.csv"):
        Path(one).parent.mkdir(exist_ok=True)
        Path(one).touch()
    assert files_meant("*.csv") == ["a.csv", "b.csv", "c[1].csv"]
    assert files_meant("**/d.csv") == ["deep/d.csv"]
    # A name that is there means itself.
    assert files_meant("c[1].csv") == ["c[1].csv"]
    assert files_meant(f"file://{tmp_path}/[ab].csv") == [f"{tmp_path}/a.csv", f"{tmp_path}/b.csv"]
    with pytest.raises(DataError, match=r"memory://rows/\*.xlsx: no file is called like that"):
        files_meant("memory://rows/*.xlsx")


def test_a_file_behind_a_url_that_is_not_there(memory):
    with pytest.raises(DataError, match=r"memory://rows/no\.csv: is not there, or its server does not give it"):
        next(scan_records("memory://rows/no.csv"))


@pytest.mark.parametrize(
    "url", ["s3://key:secret@bucket/a.csv?more=secret", "s3://key:secret@bucket/a.csv", "s3://secret@bucket/a.csv"]
)
def test_no_message_shows_a_key(url):
    assert {shown(url), str(Remote(url)), str(place_of(url))} == {"s3://bucket/a.csv"}
    assert shown("http://127.0.0.1:80/a:b.csv") == "http://127.0.0.1:80/a:b.csv"
    assert shown("s3://bucket/a:b@c.csv") == "s3://bucket/a:b@c.csv"


def test_a_password_that_is_not_written_as_a_url_wants_it_is_not_shown_either():
    with pytest.raises(
        DataError, match=r'^s3://bucket/a\.csv: a "/" in its password has to be written %2F, a "\?" %3F$'
    ):
        next(scan_records("s3://key:sec/ret@bucket/a.csv"))


@given(st.text("SECRT90/?+=", min_size=1, max_size=12), st.sampled_from(["", "?region=eu"]))
@example("/abcSECRET", "")
@example("80/SECRET", "")
@example("SE?CRET", "?region=eu")
def test_no_password_is_shown_however_it_is_written(secret, query):
    said = shown(f"s3://akia:{secret}@bucket/f.csv{query}")
    assert said in ("s3://bucket/f.csv", "s3://…")
    assert said == "s3://bucket/f.csv" or "?" in secret
    why = r'cannot be opened \(\w+\); check the URL|a "/" in its password has to be written %2F, a "\?" %3F'
    with pytest.raises(DataError, match=rf"^s3://(bucket:x y/f\.csv|…): ({why})$"):
        Remote(f"s3://akia:{secret}@bucket:x y/f.csv?nonsense={secret}").path  # noqa: B018


def test_a_url_that_is_signed_has_the_name_of_its_file():
    pytest.importorskip("aiohttp")
    signed = Remote("https://127.0.0.1/rows/a.jsonl.gz?X-Amz-Signature=a/b.c")
    assert (signed.name, signed.stem, signed.suffix) == ("a.jsonl.gz", "a.jsonl", ".gz")


def test_what_lies_in_a_folder_keeps_the_keys_of_the_folder():
    assert Remote("s3://key:secret@bucket/out?region=eu").below("a.jsonl").url == (
        "s3://key:secret@bucket/out/a.jsonl?region=eu"
    )


def test_a_url_that_nothing_opens():
    with pytest.raises((DataError, MissingExtraError), match="nowhere://x"):
        next(scan_records("nowhere://x/a.csv"))
