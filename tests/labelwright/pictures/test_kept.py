"""An image is read once by an OCR of a version; what is kept is for its owner, and damage to it costs only time."""

from __future__ import annotations

import stat

import pytest
from pictures import FakeOcr, png

from labelwright.errors import DataError
from labelwright.pictures.kept import Reader, kept_folder


def test_the_same_content_is_read_once_and_again_by_another_version(tmp_path):
    ocr = FakeOcr()
    first = Reader(ocr, tmp_path / "k").page(png("hello\nyou"))
    again = Reader(ocr, tmp_path / "k")
    assert again.page(png("hello\nyou")) == first
    assert (ocr.n_read, again.n_read, again.n_kept) == (1, 0, 1)
    assert first.text == "hello\nyou"
    assert again.page(png("hello")).text == "hello"
    ocr.version = "fake-2"
    Reader(ocr, tmp_path / "k").page(png("hello\nyou"))
    assert ocr.n_read == 3


def test_without_a_folder_nothing_is_kept(monkeypatch, tmp_path):
    ocr = FakeOcr()
    for _ in range(2):
        Reader(ocr).page(png("x"))
    assert ocr.n_read == 2
    monkeypatch.setenv("LABELWRIGHT_OCR_CACHE", "off")
    assert kept_folder() is None
    monkeypatch.setenv("LABELWRIGHT_OCR_CACHE", "")
    monkeypatch.setenv("LABELWRIGHT_CACHE", str(tmp_path))
    assert kept_folder() == tmp_path / "ocr"


def test_what_is_kept_is_for_its_owner(tmp_path):
    Reader(FakeOcr(), tmp_path / "k").page(png("private"))
    (kept,) = (tmp_path / "k").rglob("*.json")
    assert all(stat.S_IMODE(one.stat().st_mode) == 0o700 for one in kept.parents if one.is_relative_to(tmp_path / "k"))


def test_damaged_results_are_read_again(tmp_path):
    ocr = FakeOcr()
    Reader(ocr, tmp_path).page(png("x"))
    (kept,) = tmp_path.rglob("*.json")
    for damage in ("", "{}", '{"pieces": [["x", 1]], "width": 1, "height": 1}', "[1]"):
        kept.write_text(damage)
        assert Reader(ocr, tmp_path).page(png("x")).text == "x"
    assert ocr.n_read == 5


def test_a_folder_that_cannot_be_written_costs_nothing_else(tmp_path):
    (tmp_path / "file").touch()
    assert Reader(FakeOcr(), tmp_path / "file" / "k").page(png("x")).text == "x"


def test_what_is_refused_is_not_kept(tmp_path):
    with pytest.raises(DataError):
        Reader(FakeOcr(), tmp_path).page(b"no image")
    assert not list(tmp_path.rglob("*.json"))
