"""A GGUF file that decides by itself: llama.cpp answers System One requests with it, and needs nothing of ours.

What it reads is listed letters, so only bundles that were tuned on them (``style = "letter"``) leave this way. What the
format has no place for is either refused here or said on the card, and in both cases measured by the certificate.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xllamacpp
from numpy.typing import NDArray
from tokenizers import Tokenizer

from labelwright.bundle.files import write_part
from labelwright.bundle.types import Bundle
from labelwright.conversion.folder import Converted
from labelwright.conversion.huggingface import refuse_other_prompts
from labelwright.conversion.runtimes.decision import LETTERED, metadata, other_pairs
from labelwright.conversion.servers import QUESTION, system_one_request
from labelwright.conversion.targets import Written
from labelwright.engines.native.calls import NativeCalls
from labelwright.errors import BundleError, ModelError
from labelwright.models.folders import model_folder
from labelwright.models.gguf import split_rule, write_gguf
from labelwright.models.loading import saved_merged
from labelwright.models.weights import Weights
from labelwright.prompt import label_letters
from labelwright.reading import one_line, read_object

MODEL, REQUEST = "model.gguf", "request.json"
FORMATS = ("f16", "q8_0", "q4_k_m", "bf16", "f32")
DEFAULT_FORMAT = "q8_0"
# Rows answered side by side; the longest prompt of each, unless a bundle's own leaves less than so much room for a row.
SLOTS, CONTEXT_TOKENS, ROW_TOKENS = 4, 2048, 1024


def convert(bundle: Bundle, folder: Path, quantise: str) -> Written:
    """Write ``model.gguf`` with its decision keys, and ``request.json``, what to ask of it.

    Raises
    ------
    BundleError
        A bundle that answers with names or codes, without a language model, or whose prompt is not the same for every
        row; a text that GGUF cannot hold; a tokenizer that llama.cpp would not read alike; a prompt that leaves no
        room for a row.
    """
    refuse_other_prompts(bundle, "gguf")
    prompt = bundle.prompt
    if prompt.style != "letter":
        raise BundleError(
            f"{bundle.weights.base} answers with a label's {prompt.style}, and llama.cpp decides among listed letters: "
            f'tune it with [task] style = "letter" (or a candidate such as sft@letter), or convert --to ollama'
        )
    model = whole_model(bundle.weights)
    tokenizer = read_object(model / "tokenizer.json")
    markup = [str(one["content"]) for one in tokenizer.get("added_tokens", [])]
    _refuse_other_tokens(bundle, tokenizer, markup)
    keys = metadata(prompt, bundle.calibration, markup)
    if held := [key for key, value in keys.items() if "\0" in str(value)]:
        raise BundleError(f"{bundle.weights.base}: a zero character in its prompt, which {held[0]} cannot hold")
    context = context_tokens(bundle, model)
    named = {"general.name": bundle.task.name.replace("\0", "")}
    write_gguf(model, folder / MODEL, quantise or DEFAULT_FORMAT, {**named, **keys})
    write_part(folder / REQUEST, request(bundle))
    said = _differs(bundle, tokenizer, context)
    return Written({"context_tokens": context}, _use(context), said, {"library_name": "gguf"})


def whole_model(weights: Weights) -> Path:
    """A Hugging Face folder with all of a bundle's model, an adapter merged in."""
    return saved_merged(weights) if weights.folder else Path(model_folder(weights.base))


def context_tokens(bundle: Bundle, model: Path) -> int:
    """How long a prompt may be: ``CONTEXT_TOKENS``, or more where the bundle's own is long and the model reads more.

    Raises
    ------
    BundleError
        A prompt that fills all that the model reads.
    """
    positions = int(read_object(model / "config.json").get("max_position_embeddings") or CONTEXT_TOKENS)
    asked = bundle.prompt.render("").text
    n_tokens = len(Tokenizer.from_file(str(model / "tokenizer.json")).encode(asked, add_special_tokens=False))
    if n_tokens >= positions:
        raise BundleError(
            f"{bundle.weights.base}: its prompt alone has {n_tokens} tokens, and the model reads {positions}, which "
            f"leaves no room for a row: shorten the instructions, the examples or the label list"
        )
    return max(CONTEXT_TOKENS, min(n_tokens + ROW_TOKENS, positions))


def request(bundle: Bundle, text: str = "your text") -> dict[str, Any]:
    """The bundle's question about a text, as a System One server is asked."""
    return system_one_request(bundle.prompt, text, bundle.task.name)


def _refuse_other_tokens(bundle: Bundle, tokenizer: Mapping[str, Any], markup: Sequence[str]) -> None:
    """Raise BundleError where llama.cpp would read the same prompt as other tokens, or no letters."""
    name, vocabulary = bundle.weights.base, tokenizer["model"]["vocab"]
    if split_rule(tokenizer) is None:
        raise BundleError(f"{name}: its tokenizer splits text in a way that llama.cpp has no name for here")
    if missing := [letter for letter in label_letters(LETTERED) if letter not in vocabulary]:
        raise BundleError(f"{name}: no single token for {', '.join(missing)}, which llama.cpp wants of every letter")
    if other := other_pairs(bundle.prompt, vocabulary):
        raise BundleError(
            f"{name}: {len(bundle.task.names)} labels, one behind {other[0]} where llama.cpp reads {other[1]}, by this "
            f"model's vocabulary: more than {LETTERED} labels leave with SmolLM2 alone; convert --to ollama"
        )
    if short := [one for one in markup if len(one) < 2]:
        raise BundleError(f"{name}: its tokenizer takes {short[0]!r} for markup wherever it stands in a text")


def _use(context: int) -> str:
    return (
        "llama.cpp's server answers with it (any build that knows `/v1/systemone`):\n\n"
        f"    llama-server -m {MODEL} --port 8080\n"
        "    curl http://127.0.0.1:8080/v1/systemone -H 'Content-Type: application/json' "
        f"-d @{REQUEST}\n\n"
        f"`{REQUEST}` holds the question; put a text in place of `your text`. In Python, without a server:\n\n"
        "```python\n"
        "import json\n\nimport xllamacpp\n\n"
        f'parameters = xllamacpp.CommonParams()\nparameters.model.path = "{MODEL}"\n'
        f"parameters.n_ctx = {context}\n"
        "server = xllamacpp.Server(parameters)\n"
        f'request = json.load(open("{REQUEST}", encoding="utf-8"))\n'
        'print(server.handle_systemone(request | {"state": "a text"})["answers"])\n'
        "```\n\n"
        "`labelwright certify BUNDLE http://127.0.0.1:8080` holds a running server to the bundle."
    )


def _differs(bundle: Bundle, tokenizer: Mapping[str, Any], context: int) -> tuple[str, ...]:
    """What llama.cpp cannot carry."""
    said = [
        "Ask with the labels in the order of `request.json`: options stand behind letters in the order of the request. "
        "A part of the labels is asked with the same instructions; other questions are answered by the same weights, "
        "which were not tuned for them, and every choice at this bundle's temperature.",
        "Strings that are markup to the model (such as `<|im_end|>`) in a text or a question get a space behind their "
        "first character; the bundle reads them as they stand, as plain text.",
        f"A prompt longer than the server's context is an error there; certified with {context} tokens.",
    ]
    if any(bundle.calibration.bias):
        said.insert(
            0,
            "The bundle's calibration adds a bias to each label, for which llama.cpp has no place: only its "
            "temperature came along. The certificate says what that costs.",
        )
    if tokenizer.get("normalizer"):
        said.append("The model's tokenizer rewrites some characters first (NFC, say), which llama.cpp does not.")
    return tuple(said)


class Decisions:
    """A GGUF decision model in this process, asked as its server would be.

    Parameters
    ----------
    path : Path
    request : mapping
        What ``request`` made.
    names : sequence of str
        The labels, in the order of the columns.
    slots : int
        Rows answered side by side.
    context : int
        Tokens of the longest prompt.
    """

    def __init__(
        self,
        path: Path,
        request: Mapping[str, Any],
        names: Sequence[str],
        slots: int = SLOTS,
        context: int = CONTEXT_TOKENS,
    ) -> None:
        parameters = xllamacpp.CommonParams()
        parameters.model.path = str(path)
        parameters.n_parallel = slots
        parameters.n_ctx = slots * context
        parameters.warmup = False
        parameters.verbosity = -1
        try:
            self._server: Any = xllamacpp.Server(parameters)
        except RuntimeError as error:
            raise ModelError(f"{path}: llama.cpp cannot load it ({one_line(error)}); convert again") from error
        self._request = request
        self._names = names
        self._calls: Any = NativeCalls(self._server, f"llama.cpp ({path})", slots)

    @property
    def url(self) -> str:
        """Where llama.cpp's own server answers over HTTP, on this machine alone, until ``close``."""
        return str(self._server.listening_address)

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Shape (n_texts, n_labels); a text too long for the context has no answer."""
        return np.array(self._calls.map(self._one, texts)).reshape(len(texts), len(self._names))

    def _one(self, text: str) -> list[float]:
        answer = self._server.handle_systemone({**self._request, "state": text.strip()})
        if "answers" not in answer:
            error = answer.get("error") or {}
            if isinstance(error, Mapping) and error.get("type") == "exceed_context_size_error":
                return [0.0] * len(self._names)
            raise ModelError(f"llama.cpp: {json.dumps(error)[:300]}")
        found = answer["answers"][QUESTION]["probabilities"]
        return [float(found[name]) for name in self._names]

    def close(self) -> None:
        """Let the model go."""
        self._server = self._calls = None


def open_converted(converted: Converted) -> Decisions:
    """The folder's model with the folder's question.

    Raises
    ------
    BundleError
        Settings that no version wrote.
    ModelError
        Where llama.cpp cannot load it.
    """
    context = converted.settings.get("context_tokens", CONTEXT_TOKENS)
    if type(context) is not int or not 1 <= context < 2**24:
        raise BundleError(f"{converted.folder}: context_tokens = {str(context)[:80]}: expected a number; convert again")
    asked = read_object(converted.folder / REQUEST)
    return Decisions(converted.folder / MODEL, asked, converted.names, context=context)
