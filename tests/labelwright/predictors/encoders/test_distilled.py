"""A static model is made of an encoder once, offline, whole or not at all, and looked up ever after."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_models import encoder_folder

from labelwright.errors import MissingExtraError, ModelError
from labelwright.predictors.encoders import sentence_encoder
from labelwright.predictors.encoders.distilled import distilled_folder
from labelwright.predictors.encoders.static_embeddings import open_static


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny encoder, an empty cache, and no way out of this machine."""
    monkeypatch.setenv("LABELWRIGHT_CACHE", str(tmp_path / "cache"))

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("something was fetched")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    return encoder_folder(tmp_path / "encoder")


def made(source: Path, content: str = "content") -> Path:
    return distilled_folder("bert", content, lambda: source)


def test_a_word_is_where_the_encoder_puts_it_and_is_made_once(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = made(source)
    assert not list(folder.parent.glob(".*")), "what was begun is gone"
    model, _ = open_static(str(folder))
    assert np.allclose(np.linalg.norm(model.encode(["pool", "the pool"]), axis=1), 1)
    # Looked up, so an order of words is none.
    assert np.allclose(model.encode(["pool fence"]), model.encode(["fence pool"]))
    monkeypatch.setattr("model2vec.distill.distill_from_model", None)
    assert made(source) == folder
    with pytest.raises(TypeError):
        made(source, "other content")
    # And by its name, whoever asks: without the encoder, and without what it was made by.
    monkeypatch.setattr(sentence_encoder, "encoder_folder", lambda: pytest.fail("the encoder was fetched"))
    monkeypatch.setattr(sentence_encoder, "NAME", "bert")
    monkeypatch.setitem(sentence_encoder._PACKAGE, "sha256", "content")
    for barred in ("model2vec.distill", "torch", "transformers", "skeletoken"):
        monkeypatch.setitem(sys.modules, barred, None)
    encoder = sentence_encoder.open_encoder.__wrapped__("model2vec:minilm")
    assert np.allclose(encoder.embed(["pool"]), model.encode(["pool"]))


def test_what_fails_leaves_nothing_and_is_said_in_a_line(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("model2vec.model.StaticModel.save_pretrained", full)
    with pytest.raises(ModelError, match=r"no static model could be made of .*no space left") as told:
        made(source)
    assert "\n" not in str(told.value)
    assert not list((source.parent / "cache").rglob("*static*"))


def test_without_what_makes_it_the_extra_is_named(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "model2vec.distill", None)
    with pytest.raises(MissingExtraError, match=r'pip install "labelwright\[distill\]"'):
        made(source)
