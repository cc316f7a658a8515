"""A tiny static embedding model: every word of the toy rows has a random vector, so texts that share words are near."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from fakes import WORDS, toy_examples
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

MORE = ("lights", "in", "garden", "water", "green", "chlorine", "winter")


def static_model_folder(folder: Path, n_dimensions: int = 64) -> Path:
    """Write one with model2vec itself; words it does not know are left out of the mean."""
    from model2vec import StaticModel

    texts = [*(row.text for row in toy_examples()), *WORDS, *MORE]
    words = ["[UNK]", *sorted({word for text in texts for word in text.lower().split()})]
    tokenizer = Tokenizer(models.WordLevel({word: k for k, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    vectors = np.random.default_rng(0).normal(size=(len(words), n_dimensions)).astype(np.float32)
    StaticModel(vectors, tokenizer).save_pretrained(folder)
    return folder
