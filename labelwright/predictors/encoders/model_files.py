"""Where the files of a model lie, by folder or Hugging Face id: the cache first, then the hub, no waiting offline.

Only configuration, tokenizer and safetensors are fetched: no pickles, no code.
"""

from __future__ import annotations

from pathlib import Path

from labelwright.errors import ModelError
from labelwright.models.folders import model_folder

_WANTED = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]
# Exports to other formats lie in sub-folders.
_UNWANTED = ["*/*"]


def find_model(name: str) -> Path:
    """The folder with a model's files; fetched once if they are not in the cache.

    Parameters
    ----------
    name : str
        "smollm2", a folder, or an id such as "tasksource/ModernBERT-base-nli". ``HF_HUB_OFFLINE`` and ``HF_HOME`` are
        heeded.

    Raises
    ------
    ModelError
        A name of another form; files that are neither in the cache nor to be had; a folder without safetensors.
    """
    place = model_folder(name)
    folder = Path(place) if Path(place).is_dir() else hub_folder(place)
    if not any(folder.glob("*.safetensors")):
        raise ModelError(f"model {name}: {folder} has no .safetensors file; pickled weights are not read, convert them")
    return folder


def hub_folder(name: str) -> Path:
    """Where the files of a Hugging Face id lie in the cache; fetched if they do not yet. Raises ModelError."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        folder = Path(snapshot_download(name, allow_patterns=_WANTED, ignore_patterns=_UNWANTED, local_files_only=True))
        # An interrupted download leaves a folder too.
        if any(folder.glob("*.safetensors")):
            return folder
    except (OSError, HFValidationError):
        pass
    try:
        return Path(snapshot_download(name, allow_patterns=_WANTED, ignore_patterns=_UNWANTED))
    except (OSError, HfHubHTTPError, HFValidationError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(
            f"model {name} is not in the cache and cannot be fetched ({reason}); check the id, go online once, "
            f"or set model to a folder with its files"
        ) from error
