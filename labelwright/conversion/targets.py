"""Which targets there are, and what each one's file must be able to do. Loads none of their libraries.

A target is one file with two functions:

``convert(bundle, folder, quantise) -> Written`` writes data files into an empty folder. What it may not do is make the
folder appear, certify, or write the card: ``labelwright.conversion.converting`` does that for all of them.

``open_converted(converted) -> Runtime`` opens what was written as it will be run, without the bundle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from labelwright.bundle.types import Bundle
from labelwright.conversion.folder import Converted
from labelwright.data.asked.asking import asking
from labelwright.errors import BundleError, DataError, MissingExtraError
from labelwright.models.weights import Together
from labelwright.reading import no_prompts, opening


class Target(NamedTuple):
    """Where a target lives, imported when it is asked for.

    Attributes
    ----------
    module : str
    extra : str
        Of the package, which brings what converting and opening need.
    what : str
        For help and the card.
    quantisations : tuple of str
        The number formats it can be asked for; empty where there is no choice.
    needs_server : bool
        Only a server can open its folder: it is certified by the server's URL, once that runs, and not on writing.
    """

    module: str
    extra: str
    what: str
    quantisations: tuple[str, ...] = ()
    needs_server: bool = False


TARGETS: Mapping[str, Target] = {
    "huggingface": Target(
        "labelwright.conversion.huggingface",
        "transformers",
        "a folder for transformers, which needs nothing of ours",
        ("float32", "bfloat16", "float16"),
    ),
    "gguf": Target(
        "labelwright.conversion.runtimes.gguf",
        "llamacpp",
        "one file with which llama.cpp decides by itself",
        ("f16", "q8_0", "q4_k_m", "bf16", "f32"),
    ),
    "ollama": Target(
        "labelwright.conversion.runtimes.ollama",
        "llamacpp",
        "a folder for Ollama, with a grammar for any llama.cpp server",
        ("f16", "q8_0", "q4_k_m", "bf16", "f32"),
        needs_server=True,
    ),
    "vllm": Target(
        "labelwright.conversion.runtimes.vllm", "transformers", "a folder for vLLM, with its request", needs_server=True
    ),
    "onnx": Target(
        "labelwright.conversion.onnx",
        "onnx-export",
        "an encoder with its head, for onnxruntime without torch",
        ("int8",),
    ),
}


class Runtime(Protocol):
    """What answers with a converted folder, or behind a URL."""

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Shape (n_texts, n_labels), rows in order, columns as the bundle's labels; all 0 where there is no answer."""
        ...

    def close(self) -> None:
        """Let go of models, processes and connections."""
        ...


@dataclass(frozen=True)
class Written:
    """What a target's ``convert`` says of what it wrote.

    Attributes
    ----------
    settings : mapping
        What ``open_converted`` will need; JSON.
    use : str
        Markdown for the card: how to run it, with an example to copy.
    differs : tuple of str
        What is not the same as in the bundle, a sentence each.
    front_matter : mapping of str to str
        For the head of the card, as model hubs read it.
    """

    settings: Mapping[str, Any]
    use: str
    differs: tuple[str, ...] = ()
    front_matter: Mapping[str, str] = field(default_factory=dict)


def check(bundle: Bundle, to: str, quantise: str) -> None:
    """Refuse what no target, or not this one, can do: before anything is loaded.

    Raises
    ------
    DataError
        An unknown target or number format.
    BundleError
        A bundle whose rows bring their own choices, are asked several points or have images, or of several classifiers.
    """
    if to not in TARGETS:
        raise DataError(f"--to {to}: no such target; expected one of {', '.join(TARGETS)}")
    if isinstance(bundle.weights, Together):
        raise BundleError(
            f"{bundle.weights.base} is several classifiers, which no target takes: answer with `labelwright predict`, "
            f"or convert one of those under together/"
        )
    known = TARGETS[to].quantisations
    if quantise and quantise not in known:
        expected = f"expected one of {', '.join(known)}" if known else "leave it out"
        raise DataError(f"--quantise {quantise}: {to} has no such number format; {expected}")
    if bundle.task.shows_images:
        raise BundleError(
            f"task {bundle.task.name!r}: its rows have images, which no target takes; answer with `labelwright predict`"
        )
    if beyond := asking(bundle.task).beyond:
        raise BundleError(
            f"task {bundle.task.name!r}: {beyond}, which no target takes; answer with `labelwright predict`"
        )


def fill(bundle: Bundle, to: str, folder: Path, quantise: str) -> Written:
    """Let a target write into an empty folder. Raises MissingExtraError where its libraries are missing."""
    written: Written = _module(to).convert(bundle, folder, quantise)
    return written


def open_converted(converted: Converted) -> Runtime:
    """Open a folder as it will be run.

    Raises
    ------
    BundleError
        A target that this version does not know, or files that cannot be read.
    MissingExtraError
        If its runtime is not installed.
    """
    if converted.target not in TARGETS:
        raise BundleError(f"{converted.folder}: target {converted.target!r}; this version knows {', '.join(TARGETS)}")
    module = _module(converted.target)
    with no_prompts(), opening(converted.folder):
        runtime: Runtime = module.open_converted(converted)
        return runtime


def _module(to: str) -> Any:
    try:
        return import_module(TARGETS[to].module)
    except ImportError as error:
        raise MissingExtraError(
            f'target "{to}" needs more ({error}): pip install "labelwright[{TARGETS[to].extra}]"'
        ) from error
