"""What makes a result stale: hashes of code, of library versions, of settings.

Results of rungs are kept under such hashes, so that whatever changed is done again and nothing else is.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import os
from pathlib import Path
from typing import Any, Literal, get_args

ROOT = Path(__file__).resolve().parents[1]
# The folders whose code a rung of each kind runs, and the libraries under it.
_FOLDERS = {
    "baselines": ("labelwright", "baselines"),
    "models": ("labelwright", "programs", "rewards", "optimizers"),
}
_LIBRARIES = {
    "baselines": ("numpy", "scikit-learn", "scipy", "sentence-transformers", "torch", "transformers", "peft"),
    "models": ("numpy", "torch", "transformers", "tokenizers", "peft", "trl", "dspy", "gepa"),
}
# What decides what a rung is given, how it is calibrated and how it is measured.
_MEASURING = ("optimizers/calibrate.py", "workbench/chain.py", "workbench/data.py", "workbench/rung_process.py")
# No model's rung runs these: of the small classifiers, only the encoder finds a row's neighbours.
_NOT_MODELS = "labelwright/predictors/"
_YET_MODELS = "labelwright/predictors/sentence_encoder.py"

Part = Literal["baselines", "models"]
_VARIABLE = "LABELWRIGHT_CODE_"


def short_hash(value: Any) -> str:
    """16 hex digits of a value that JSON can hold; what it cannot hold counts as its text."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


@functools.cache
def code_version(part: Part) -> str:
    """A hash of the code that rungs of a part run, and of the versions of the libraries under it.

    A process that works for another takes that one's word for it (``handed_down``): code that is edited while a
    comparison runs is the next comparison's.
    """
    told = os.environ.get(_VARIABLE + part.upper())
    if told:
        return told
    digest = hashlib.sha256()
    files = [path for folder in _FOLDERS[part] for path in sorted((ROOT / folder).rglob("*.py"))]
    names = sorted({path.relative_to(ROOT).as_posix() for path in files} | set(_MEASURING))
    for name in names:
        if part == "models" and name.startswith(_NOT_MODELS) and name != _YET_MODELS:
            continue
        digest.update(name.encode() + b"\0" + (ROOT / name).read_bytes())
    for library in _LIBRARIES[part]:
        digest.update(f"{library}=={_version(library)}\n".encode())
    return digest.hexdigest()[:16]


def handed_down() -> dict[str, str]:
    """Environment variables that give a child process this one's code versions."""
    return {_VARIABLE + part.upper(): code_version(part) for part in get_args(Part)}


@functools.cache
def environment() -> str:
    """A hash of all installed distributions and their versions."""
    return short_hash(sorted(f"{one.name}=={one.version}" for one in importlib.metadata.distributions()))


def _version(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return "none"
