"""A folder for vLLM: the merged model, and a request whose answer can only be a label."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from labelwright.bundle.files import drop_code, write_part
from labelwright.bundle.types import Bundle
from labelwright.conversion.folder import Converted
from labelwright.conversion.huggingface import refuse_other_prompts
from labelwright.conversion.targets import Written
from labelwright.errors import BundleError
from labelwright.models.loading import save_merged
from labelwright.prompt import Prompt
from labelwright.reading import no_progress_bar

REQUEST = "completion.json"
# What the server is told to call the model, and the request asks for.
SERVED = "bundle"
# What is not the same wherever a server only writes a label.
GREEDY = (
    "There are no probabilities, so no calibration: the answer is the label that greedy decoding writes, which is not "
    "always the likeliest one where labels begin alike.",
    "A text is read with its markup: one that holds `<|im_end|>`, say, can end its own turn. Take such strings out of "
    "what strangers send.",
)


def convert(bundle: Bundle, folder: Path, quantise: str) -> Written:
    """Write the model with its adapter merged in, in bfloat16, and ``completion.json``.

    Raises
    ------
    BundleError
        A bundle without a language model, or whose prompt is not the same for every row.
    """
    refuse_other_prompts(bundle, "vllm")
    with no_progress_bar():
        save_merged(bundle.weights, folder)
    drop_code(folder)
    write_part(folder / REQUEST, completion(bundle.prompt))
    return Written({}, _use(), GREEDY, {"library_name": "vllm"})


def completion(prompt: Prompt, text: str = "your text") -> dict[str, Any]:
    """A request to ``/v1/completions``: the bundle's own prompt, its options as a structured choice."""
    return {
        "model": SERVED,
        "prompt": prompt.render(text).text,
        "structured_outputs": {"choice": list(prompt.options)},
        "max_tokens": longest(prompt),
        "temperature": 0,
        "add_special_tokens": False,
    }


def longest(prompt: Prompt) -> int:
    """Tokens that an answer may take: held to labels it may come in other tokens than ours, at worst a byte each."""
    return max(len(option.encode()) for option in prompt.options) + 1


def _use() -> str:
    return (
        f"    vllm serve . --served-model-name {SERVED}\n"
        "    curl http://127.0.0.1:8000/v1/completions -H 'Content-Type: application/json' "
        f"-d @{REQUEST}\n\n"
        f"`{REQUEST}` holds the prompt; put a text in place of `your text`. The answer is one of the options."
    )


def open_converted(converted: Converted) -> Any:
    """Only vLLM opens its folder. Raises BundleError."""
    raise BundleError(f"{converted.folder}: only vLLM opens this folder; serve it, and certify its URL")
