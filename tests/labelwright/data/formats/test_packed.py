"""Packed files are read as what they hold."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
from pathlib import Path

import pytest
from rows import read_records, workbook

from labelwright.errors import DataError

CSV = b"text,label\nno heat,hvac\n"
ROW = [{"text": "no heat", "label": "hvac"}]


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)])
def test_packed_text(tmp_path: Path, suffix: str, pack: object) -> None:
    path = tmp_path / f"rows.csv{suffix}"
    path.write_bytes(pack(CSV))  # type: ignore[operator]
    assert read_records(path) == ROW
    path.write_bytes(pack(CSV)[:-4])  # type: ignore[operator]
    with pytest.raises(DataError, match="cannot be"):
        read_records(path)


def test_an_archive_of_one_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("rows.csv", CSV)
        archive.writestr("__MACOSX/._rows.csv", b"\0")
        archive.writestr("readme.md", "")
    assert read_records(path) == ROW
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("more.csv", CSV)
    with pytest.raises(DataError, match="expected one file with rows in the archive, found 2"):
        read_records(path)


def test_packed_files_that_are_read_out_of_order(tmp_path: Path) -> None:
    sheet = workbook(tmp_path / "rows.xlsx", {"one": [["text", "label"], ["no heat", "hvac"]]})
    packed = tmp_path / "rows.xlsx.gz"
    packed.write_bytes(gzip.compress(sheet.read_bytes()))
    assert read_records(packed) == ROW


def test_no_archive_at_all(tmp_path: Path) -> None:
    (tmp_path / "rows.zip").write_bytes(CSV)
    with pytest.raises(DataError, match="cannot be unpacked"):
        read_records(tmp_path / "rows.zip")
