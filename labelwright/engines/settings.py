"""Which backends there are, and where and how a model runs: what a recipe, a bundle and an engine all speak of.

Loads no library and opens nothing; ``labelwright.engines.opening`` does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, NamedTuple

from labelwright.settings import BELOW_ONE, Choice, Range, Text, check, shown

LONG_ROWS = ("refuse", "head", "head_tail")
_DEVICE = re.compile(r"auto|(cpu|cuda|mps|xpu|hpu|npu|mtia|xla)(:\d{1,3})?")


class Backend(NamedTuple):
    """Where a backend lives, imported when first asked for, and the extra of the package that brings what it needs.

    Attributes
    ----------
    dtypes : tuple of str
        What it may keep the weights in; empty for a server, which decides for itself.
    is_chat : bool
        It is sent messages: its server renders the prompt, counts the tokens, and has to be named by its url.
    has_device : bool
        ``device`` says where it runs; else it takes no GPU in this process.
    devices : tuple of str
        Kinds of device that it may be told; empty for all.
    fills_device : bool
        It takes all memory of a GPU that it runs on, so that no two share one.
    is_elsewhere : bool
        Another process answers, whose libraries, or whose model, may be others by tomorrow.
    lean : str
        The module whose ``open_to_score`` opens it for who only scores; empty where ``engine`` is all there is.
    """

    module: str
    engine: str
    extra: str
    dtypes: tuple[str, ...] = ()
    is_chat: bool = False
    has_device: bool = False
    devices: tuple[str, ...] = ()
    fills_device: bool = False
    is_elsewhere: bool = False
    lean: str = ""


BACKENDS = {
    "transformers": Backend(
        "labelwright.engines.transformers",
        "TransformersEngine",
        "transformers",
        ("auto", "float32", "bfloat16", "float16"),
        has_device=True,
        lean="labelwright.engines.lean.engine",
    ),
    "vllm": Backend("labelwright.engines.servers.vllm", "VllmEngine", "servers", is_elsewhere=True),
    "vllm-local": Backend(
        "labelwright.engines.servers.own_vllm",
        "OwnVllmEngine",
        "servers",
        ("auto", "float32", "bfloat16", "float16"),
        has_device=True,
        devices=("auto", "cpu", "cuda"),
        fills_device=True,
        is_elsewhere=True,
    ),
    "llamacpp": Backend(
        "labelwright.engines.llamacpp",
        "LlamaCppEngine",
        "llamacpp",
        ("auto", "float32", "float16", "bfloat16", "q8_0"),
    ),
    "openai": Backend("labelwright.engines.servers.openai", "OpenAIEngine", "servers", is_chat=True, is_elsewhere=True),
}


def device_fault(device: str) -> str:
    """What was expected of a device's name, or an empty text. Whether the machine has it is found out on opening."""
    return "" if _DEVICE.fullmatch(device) else '"auto", "cpu", "cuda", "cuda:1" or "mps"'


@dataclass(frozen=True)
class EngineSettings:
    """Where a model runs and how it is asked; a recipe's ``[model]`` table adds the model's name.

    Attributes
    ----------
    backend : str
        "transformers" (in process), "vllm" (a vLLM server), "vllm-local" (one that is started for this process),
        "llamacpp" (GGUF in process) or "openai" (any OpenAI-compatible endpoint).
    device : str
        "auto" takes CUDA where there is one, else MPS, else the CPU; or any torch device name.
    dtype : str
        "auto" takes bfloat16 where the hardware multiplies it natively, else float32 ("vllm-local": what the weights
        are kept in); or "float32", "bfloat16".
    url : str
        Base URL of a server, such as "http://127.0.0.1:8000/v1".
    long_rows : {"refuse", "head", "head_tail"}
        What happens to a row that does not fit the model's context: an error that names it, its beginning is kept, or
        its beginning and its end. Shortened rows are counted in ``Engine.n_shortened``.
    unexpanded_mass : float
        In [0, 1). Options of a row are left unexpanded while they cannot hold more than this share of the calibrated
        probability together (``labelwright.engines.options.expansion``). 0 expands all.
    thinking_tokens : int
        0 switches a model's thinking off. Above, the number of tokens after which a thought is closed.
    """

    backend: Annotated[str, Choice(BACKENDS)] = "transformers"
    device: Annotated[str, Text()] = "auto"
    dtype: Annotated[str, Text()] = "auto"
    url: Annotated[str, Text()] = ""
    long_rows: Annotated[str, Choice(LONG_ROWS)] = LONG_ROWS[0]
    unexpanded_mass: Annotated[float, BELOW_ONE] = 1e-4
    thinking_tokens: Annotated[int, Range(0, 1_000_000)] = 0

    def __post_init__(self) -> None:
        check(self, "")

    def faults(self) -> Iterator[str]:
        """What the backend cannot do of what is asked, a sentence each: for who reads a recipe or opens an engine."""
        backend, said = BACKENDS[self.backend], f'backend = "{self.backend}"'
        if backend.dtypes and self.dtype not in backend.dtypes:
            yield f"dtype = {shown(self.dtype)}: expected one of {', '.join(map(repr, backend.dtypes))}"
        if backend.dtypes and self.url:
            yield (
                f"url = {shown(self.url)}: {said} asks no server that is there already; name a backend that does, or "
                f"leave it out"
            )
        if backend.devices and self.device.partition(":")[0] not in backend.devices:
            yield f"device = {shown(self.device)}: {said} runs on one of {', '.join(map(repr, backend.devices))}"
        if backend.is_chat and not self.url:
            yield f'{said} needs the server\'s url, such as url = "http://127.0.0.1:11434/v1"'
        if backend.is_chat and self.long_rows != LONG_ROWS[0]:
            yield f'{said} cannot count tokens: long_rows must be "{LONG_ROWS[0]}", the server decides'
        if backend.is_chat and self.thinking_tokens:
            yield f"{said} renders its own prompts: thinking_tokens must be 0"
