"""A folder for Ollama, and for any llama.cpp server: the model as GGUF, a Modelfile, a grammar, a request.

Works for every style of answer. The whole prompt stands in the Modelfile's TEMPLATE as Go string literals, since a
Modelfile's own quotes have no escapes: a text with three quotes in a SYSTEM line would end it and begin a new
instruction. In a Go literal everything but plain ASCII is a number, so no text can end it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from labelwright.bundle.files import write_part
from labelwright.bundle.types import Bundle
from labelwright.conversion.folder import Converted
from labelwright.conversion.huggingface import refuse_other_prompts
from labelwright.conversion.runtimes.gguf import CONTEXT_TOKENS, DEFAULT_FORMAT, MODEL, context_tokens, whole_model
from labelwright.conversion.runtimes.vllm import GREEDY, longest
from labelwright.conversion.targets import Written
from labelwright.engines.options.grammar import gbnf
from labelwright.errors import BundleError
from labelwright.models.gguf import write_gguf
from labelwright.prompt import Prompt

MODELFILE, GRAMMAR, REQUEST = "Modelfile", "labels.gbnf", "completion.json"


def convert(bundle: Bundle, folder: Path, quantise: str) -> Written:
    """Write ``model.gguf``, ``Modelfile``, ``labels.gbnf`` and ``completion.json``.

    Raises
    ------
    BundleError
        A bundle without a language model, or whose prompt is not the same for every row, or leaves no room for one.
    DataError
        A label that no grammar can hold.
    """
    refuse_other_prompts(bundle, "ollama")
    grammar = gbnf(bundle.prompt.options)
    model = whole_model(bundle.weights)
    asked = modelfile(bundle.prompt, context_tokens(bundle, model))
    write_gguf(model, folder / MODEL, quantise or DEFAULT_FORMAT)
    (folder / MODELFILE).write_text(asked, encoding="utf-8")
    (folder / GRAMMAR).write_text(grammar, encoding="utf-8")
    write_part(folder / REQUEST, completion(bundle.prompt))
    return Written({}, _use(bundle), GREEDY, {"library_name": "gguf"})


def modelfile(prompt: Prompt, context: int = CONTEXT_TOKENS) -> str:
    """What ``ollama create`` reads: the model, the prompt around a text, greedy decoding of a label's length."""
    asked = prompt.render("")
    lines = [
        f"FROM ./{MODEL}",
        f'TEMPLATE """{{{{ {go_string("".join(asked.prefix))} }}}}{{{{ .Prompt }}}}'
        f'{{{{ {go_string(asked.after_user)} }}}}"""',
        "PARAMETER temperature 0",
        f"PARAMETER num_ctx {context}",
        f"PARAMETER num_predict {longest(prompt)}",
    ]
    # A stop of other characters than these has no way into a Modelfile; the answer's length ends it all the same.
    if re.fullmatch(r"[!#-~]+", prompt.template.end_of_turn):
        lines.append(f'PARAMETER stop "{prompt.template.end_of_turn}"')
    return "\n".join(lines) + "\n"


def completion(prompt: Prompt, text: str = "your text") -> dict[str, Any]:
    """A request to a llama.cpp server's ``/completion``: the answer is one of the options, greedily."""
    return {
        "prompt": prompt.render(text).text,
        "grammar": gbnf(prompt.options),
        "n_predict": longest(prompt),
        "temperature": 0,
        "cache_prompt": True,
    }


def go_string(text: str) -> str:
    r"""A text as a string literal of Go's templates, of plain ASCII without quotes or braces inside.

    >>> print(go_string('say "{{ é }}"\n'))
    "say \u0022\u007b\u007b \u00e9 \u007d\u007d\u0022\u000a"
    """
    escaped = [
        c if " " <= c <= "~" and c not in '"\\{}' else f"\\u{ord(c):04x}" if ord(c) < 0x10000 else f"\\U{ord(c):08x}"
        for c in text
    ]
    return f'"{"".join(escaped)}"'


def _use(bundle: Bundle) -> str:
    name = re.sub(r"[^a-z0-9]+", "-", bundle.task.name.lower()).strip("-") or "classifier"
    return (
        f"    ollama create {name} -f {MODELFILE}\n"
        f'    ollama run {name} "your text"\n\n'
        "Ollama has no closed set: its answer is what the model writes, and may be no label. Behind any server of "
        f"llama.cpp's the grammar allows labels only (`{GRAMMAR}`, which `{REQUEST}` holds too):\n\n"
        f"    llama-server -m {MODEL} --port 8080\n"
        f"    curl http://127.0.0.1:8080/completion -H 'Content-Type: application/json' -d @{REQUEST}\n\n"
        + _answered(bundle)
    )


def _answered(bundle: Bundle) -> str:
    if bundle.prompt.style == "name":
        return "The answer is a label's name."
    answers = ", ".join(
        f"{answer} {label.name}" for answer, label in zip(bundle.prompt.answers, bundle.prompt.labels, strict=True)
    )
    return f"The answer stands for a label: {' '.join(answers.translate(_MARKUP).split())}."


# What Markdown might read as more than text.
_MARKUP = str.maketrans({c: f"\\{c}" for c in "\\`*_[]<>|#!"})


def open_converted(converted: Converted) -> Any:
    """Only Ollama runs a Modelfile. Raises BundleError."""
    raise BundleError(f"{converted.folder}: only Ollama opens this folder; create its model, and certify its URL")
