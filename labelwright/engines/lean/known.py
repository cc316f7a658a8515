"""What transformers said of a model, remembered, so that the next process need not import it to hear it again.

Opening an engine asks transformers for a chat template, a tokenizer, the length of the context, and the model's plain
logits, to which the scorer is held (``labelwright.engines.packed.self_check``). None of it changes while the model's
settings, the libraries and the code here stay the same: it is kept under a hash of all of them, in the cache folder. A
model that is not to be opened here is remembered as well.
"""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from labelwright.engines.lean.model import NotLeanError
from labelwright.files import write_json, write_text
from labelwright.models.packaged import cache_dir
from labelwright.prompt import Template

_LIBRARIES = ("torch", "transformers", "tokenizers", "peft", "safetensors")
_HOUSE = Path(__file__).parents[2]
_CODE = ("engines", "models", "prompt.py")
# Models of which something is kept; those not asked for longest go.
_MOST = 8
# What of a tokenizer ``PromptTokens`` looks at.
_STEPS = ("added_tokens", "normalizer", "pre_tokenizer")


class LeanTokenizer:
    """A tokenizer without transformers: text to tokens.

    Attributes
    ----------
    backend_tokenizer : tokenizers.Tokenizer
    spec : dict
        Its added tokens and the steps before its model, as JSON has them.
    """

    def __init__(self, backend_tokenizer: Tokenizer, spec: dict[str, Any]) -> None:
        self.backend_tokenizer = backend_tokenizer
        self.spec = spec

    @classmethod
    def of(cls, tokenizer: Any) -> LeanTokenizer:
        """The same, of a fast tokenizer of transformers."""
        written = tokenizer.backend_tokenizer.to_str()
        read = json.loads(written)
        return cls(Tokenizer.from_str(written), {name: read.get(name) for name in _STEPS})

    def encode(self, text: str, add_special_tokens: bool = False) -> list[int]:
        """Token ids; special-token strings become special tokens."""
        return self.backend_tokenizer.encode(text, add_special_tokens=add_special_tokens).ids


@dataclass(frozen=True)
class Known:
    """A model that may be opened lean.

    Attributes
    ----------
    template : Template
    max_tokens : int, optional
        The model's context; None where it has no limit.
    tokenizer : LeanTokenizer
    """

    template: Template
    max_tokens: int | None
    tokenizer: LeanTokenizer


def key_of(settings_digest: str, device: torch.device, dtype: torch.dtype) -> str:
    """What everything that is remembered of a model hangs on, as 32 hex digits.

    Parameters
    ----------
    settings_digest : str
        By ``labelwright.engines.lean.model.digest_of_settings``.
    """
    libraries = [f"{name} {_version(name)}" for name in _LIBRARIES]
    machine = [platform.machine(), torch.backends.cpu.get_cpu_capability(), device.type, str(dtype)]
    parts = [settings_digest, _code(), *libraries, *machine]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def recall(key: str) -> Known | None:
    """What is known of a model; None where nothing is.

    Raises
    ------
    NotLeanError
        It is known that the model has to be opened by transformers.
    """
    place = _place(key)
    try:
        found = json.loads(place.read_text(encoding="utf-8"))
        if not found["lean"]:
            raise NotLeanError("known to be no such model")
        backend = Tokenizer.from_file(str(place.with_suffix(".tokenizer")))
        return Known(Template(**found["template"]), found["max_tokens"], LeanTokenizer(backend, found["spec"]))
    except NotLeanError:
        raise
    except Exception:  # not there, or damaged: found out again (tokenizers raises bare ones)
        return None


def keep(key: str, known: Known) -> None:
    """Remember a model that may be opened lean."""
    place = _place(key)
    place.parent.mkdir(parents=True, exist_ok=True)
    write_text(place.with_suffix(".tokenizer"), known.tokenizer.backend_tokenizer.to_str())
    said = {"template": asdict(known.template), "max_tokens": known.max_tokens, "spec": known.tokenizer.spec}
    write_json(place, {"lean": True, **said})
    _forget_oldest(place.parent)


def keep_away(key: str) -> None:
    """Remember that a model has to be opened by transformers."""
    place = _place(key)
    place.parent.mkdir(parents=True, exist_ok=True)
    write_json(place, {"lean": False})


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:  # PEFT, where no adapter needs it
        return ""


def _place(key: str) -> Path:
    return cache_dir() / "known" / f"{key}.json"


def _forget_oldest(folder: Path) -> None:
    newest = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in newest[_MOST:]:
        for suffix in (".json", ".tokenizer"):
            path.with_suffix(suffix).unlink(missing_ok=True)


@cache
def _code() -> str:
    """A hash of the code that opens models and scores with them."""
    digest = hashlib.sha256()
    for name in _CODE:
        place = _HOUSE / name
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            digest.update(path.read_bytes())
    return digest.hexdigest()
