"""An encoder without a model: words hashed into vectors."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from baselines import minilm
from labelwright.predictors.sentence_encoder import Encoder


class WordHashModel:
    """Texts that share words are near each other."""

    def __init__(self) -> None:
        self.encoded: list[str] = []

    def encode(self, texts: list[str], **_: Any) -> np.ndarray:
        self.encoded += texts
        vectors = np.full((len(texts), 64), 1e-3, dtype=np.float32)
        for row, text in enumerate(texts):
            for word in text.lower().split():
                vectors[row, zlib.crc32(word.encode()) % 64] += 1
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture
def word_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WordHashModel:
    """In place of MiniLM for every baseline; its folder holds one file of 1000 bytes."""
    model = WordHashModel()
    (tmp_path / "weights").write_bytes(b"x" * 1000)
    encoder = Encoder(model, tmp_path)
    monkeypatch.setattr(minilm, "shared_encoder", lambda: encoder)
    return model
