"""Static sentence embeddings (model2vec): the mean of a text's token vectors, which are looked up. No torch.

Hundreds of times as fast as a transformer, and less accurate. ``sentence_encoder.open_encoder`` opens them by
"model2vec:" and an id or a folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwright.errors import MissingExtraError, ModelError
from labelwright.predictors.encoders.model_files import hub_folder
from labelwright.reading import no_prompts, one_line


class StaticEncoder:
    """A model2vec model with the one method of a ``SentenceTransformer`` that ``sentence_encoder.Encoder`` calls.

    Parameters
    ----------
    model : model2vec.StaticModel
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self.tokenizer = _Places(model.tokenizer)
        truncation = model.tokenizer.truncation
        self.max_seq_length = truncation["max_length"] if truncation else None
        # No row can forge markup.
        model.tokenizer.encode_special_tokens = True

    def encode(self, texts: Sequence[str], **_: Any) -> NDArray[np.float32]:
        """Unit vectors of shape (n_texts, n_dimensions); zeros for a text of which no token is known."""
        if not len(texts):
            return np.empty((0, self._model.dim), dtype=np.float32)
        means = self._model.encode(list(texts), normalize=False, use_multiprocessing=False)
        vectors: NDArray[np.float32] = np.asarray(means, dtype=np.float32)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors /= np.maximum(lengths, np.finfo(np.float32).tiny)
        return vectors


class _Places:
    """A ``tokenizers`` tokenizer, asked as ``sentence_encoder.token_places`` asks one of transformers."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def __call__(self, texts: Sequence[str], **_: Any) -> dict[str, list[list[tuple[int, int]]]]:
        whole = type(self._tokenizer).from_str(self._tokenizer.to_str())
        whole.no_truncation()
        whole.no_padding()
        whole.encode_special_tokens = True
        found = whole.encode_batch(list(texts), add_special_tokens=False)
        return {"offset_mapping": [one.offsets for one in found]}

    def num_special_tokens_to_add(self) -> int:
        """model2vec adds none."""
        return 0


def open_static(name: str) -> tuple[StaticEncoder, Path]:
    """A static model and the folder of its files.

    Parameters
    ----------
    name : str
        A folder, or a Hugging Face id such as "minishlab/potion-base-8M".

    Raises
    ------
    MissingExtraError
        model2vec is not installed.
    ModelError
        The files cannot be fetched or loaded.
    """
    try:
        from model2vec import StaticModel
    except ImportError as error:
        raise MissingExtraError('static embeddings need model2vec: pip install "labelwright[model2vec]"') from error
    folder = Path(name) if Path(name).is_dir() else hub_folder(name)
    try:
        with no_prompts():
            return StaticEncoder(StaticModel.from_pretrained(folder, force_download=False)), folder
    except Exception as error:
        raise ModelError(
            f"static model {name} cannot be loaded ({one_line(error)}); check the id or the folder"
        ) from error
