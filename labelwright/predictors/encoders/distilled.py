"""Static embeddings out of a sentence encoder: model2vec embeds every token of its vocabulary once, and keeps that.

What is left is a table of 15 MB in which a text's tokens are looked up, in a small part of the time and without torch.
It is made once from the packaged encoder, offline, and kept in the cache under what made it. The vectors are reduced by
principal components and weighted by their rank in the vocabulary, by model2vec's own defaults.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import redirect_stderr
from importlib.metadata import version
from io import StringIO
from pathlib import Path
from typing import Any

from labelwright.errors import MissingExtraError, ModelError
from labelwright.files import short_hash
from labelwright.models.packaged import cache_dir, scratch_beside
from labelwright.reading import no_progress_bar, no_prompts, one_line

logger = logging.getLogger(__name__)

N_DIMENSIONS = 256
# Of a token's weight, a / (a + its share): the larger, the less frequent tokens count for less (Arora et al. 2017).
SIF = 1e-4


def distilled_folder(name: str, content: str, source: Callable[[], Path]) -> Path:
    """The folder of a static model made of an encoder; made now if it is not there, in a minute.

    It is made elsewhere and renamed, so the folder is whole or not there. One that is there needs neither the encoder
    nor what it was made by: torch is not imported.

    Parameters
    ----------
    name : str
        The encoder's, for the folder's.
    content : str
        A hash of the encoder's files, or of what they came in.
    source : callable
        Gives the folder of the encoder's files, and may fetch them; called only to make the model.

    Raises
    ------
    MissingExtraError
        model2vec, or what it needs for this, is not installed.
    ModelError
        The encoder cannot be read, or the cache not be written.
    """
    try:
        made_of = [content, N_DIMENSIONS, SIF, version("model2vec")]
        folder = cache_dir() / "models" / f"{name}-static-{short_hash(made_of)}"
        if folder.is_dir():
            return folder
        from model2vec.distill import distill_from_model
    except ImportError as error:
        raise MissingExtraError(
            'a static model is made by model2vec with skeletoken: pip install "labelwright[distill]", or name one that '
            "is made, by its folder or id"
        ) from error
    from transformers import AutoModel, AutoTokenizer

    logger.info("static embeddings of %s are not here yet: making them once (a minute)", name)
    encoder = source()
    try:
        # Its bar breaks up the display of whoever is running; nothing else is said there.
        with scratch_beside(folder) as scratch, no_progress_bar(), no_prompts(), redirect_stderr(StringIO()):
            model = AutoModel.from_pretrained(
                encoder, use_safetensors=True, dtype="float32", trust_remote_code=False, local_files_only=True
            )
            tokenizer: Any = AutoTokenizer.from_pretrained(encoder, trust_remote_code=False, local_files_only=True)
            static = distill_from_model(
                model, tokenizer, device="cpu", pca_dims=N_DIMENSIONS, sif_coefficient=SIF, quantize_to="float16"
            )
            static.save_pretrained(scratch / "files")
            try:
                (scratch / "files").rename(folder)
            except OSError:
                # Another process finished first; its copy is as good.
                if not folder.is_dir():
                    raise
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelError(
            f"no static model could be made of {encoder} ({one_line(error)}); free some space, set LABELWRIGHT_CACHE, "
            "or name a model that is made"
        ) from error
    return folder
