"""A folder for transformers: the merged model, its tokenizer, and what makes a classifier of it as token ids.

Whoever opens it needs nothing of this house: the card shows the whole classifier, some twenty lines, and that code is
``classifier`` below, with which the folder is certified. The prompt is written down as token ids, since tokenised by
another hand it would not be the same one; rows are read by a tokenizer to which no string is special.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

from labelwright.bundle.files import drop_code, refuse_code, write_part
from labelwright.bundle.types import Bundle
from labelwright.conversion.folder import Converted
from labelwright.conversion.targets import Written
from labelwright.engines.tokens import PromptTokens
from labelwright.errors import BundleError
from labelwright.models.loading import context_length, load_model, load_tokenizer
from labelwright.models.weights import Adapter, Predictor
from labelwright.reading import no_progress_bar

# Without an order of one's own: a merged adapter is rounded once, other weights stay as they are stored.
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


# What ``classifier`` needs; the card shows both.
_IMPORTS = """\
import json
from collections.abc import Callable
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM
"""


def convert(bundle: Bundle, folder: Path, quantise: str) -> Written:
    """Write the model as safetensors, and ``classifier.json`` and ``rows.tokenizer.json`` beside it.

    Raises
    ------
    BundleError
        A bundle without a language model, or whose prompt is more than a prefix and a row.
    """
    refuse_other_prompts(bundle, "huggingface")
    model = load_model(bundle.weights, device="cpu", dtype="float32")
    stored = torch.bfloat16 if isinstance(bundle.weights, Adapter) else getattr(model.config, "dtype", None)
    tokenizer = load_tokenizer(bundle.weights)
    with no_progress_bar():
        model.to(_DTYPES.get(quantise, stored or torch.bfloat16)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    drop_code(folder)
    max_tokens = context_length(model.config)
    _write_prompt(bundle, PromptTokens(tokenizer, bundle.prompt.template), folder)
    how = {"refuse": "refuses it", "head": "keeps its beginning", "head_tail": "keeps its beginning and its end"}
    differs = [
        f"A row that does not fit the model's {max_tokens} tokens: the bundle {how[bundle.long_rows]}, this code does "
        f"not notice it."
    ]
    return Written({}, _use(), tuple(differs), {"library_name": "transformers"})


def refuse_other_prompts(bundle: Bundle, to: str) -> None:
    """Raise BundleError where no prompt that is the same for every row makes the classifier."""
    name = bundle.weights.base
    if isinstance(bundle.weights, Predictor):
        raise BundleError(f"{name} has no language model, which --to {to} writes: answer with `labelwright predict`")
    if bundle.prompt.neighbours is not None:
        raise BundleError(f"{name} shows every row its own examples, which --to {to} has no place for: export another")
    if bundle.prompt.template.thinking_tokens:
        raise BundleError(f"{name} thinks before it answers, which --to {to} has no place for: export another")


def _write_prompt(bundle: Bundle, tokens: PromptTokens, folder: Path) -> None:
    asked = bundle.prompt.render("x")
    rows, space = tokens.of_rows(asked)
    paths = tokens.tree(bundle.prompt.options).options
    width = max(map(len, paths))
    names = bundle.task.names
    write_part(
        folder / "classifier.json",
        {
            "labels": list(names),
            "before": list(tokens.prefix(asked)),
            "space": space,
            "after": list(tokens.after_row(asked)),
            "options": [[*path, *[0] * (width - len(path))] for path in paths],
            "lengths": [len(path) for path in paths],
            "temperature": bundle.calibration.temperature,
            "bias": list(bundle.calibration.bias) or [0.0] * len(names),
        },
    )
    rows.save(str(folder / "rows.tokenizer.json"))


def _use() -> str:
    example = f"{_IMPORTS}\n\n{inspect.getsource(classifier)}"
    return (
        "`pip install torch transformers`; nothing of Labelwright is needed. This is the whole classifier:\n\n"
        f'```python\n{example}\n\n\nprobabilities = classifier(".")\nprint(probabilities("a text"))\n```\n\n'
        "It computes in float32; on a GPU, give `from_pretrained` another `dtype` and a `device_map`."
    )


def classifier(folder: str | Path) -> Callable[[str], dict[str, float]]:
    """A function from a text to the probability of every label, with transformers alone; the card shows this source."""
    about = json.loads(Path(folder, "classifier.json").read_text(encoding="utf-8"))
    rows = Tokenizer.from_file(str(Path(folder, "rows.tokenizer.json")))
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, trust_remote_code=False).eval()
    options, lengths = torch.tensor(about["options"]), torch.tensor(about["lengths"])
    is_answer = torch.arange(options.shape[1]) < lengths[:, None]

    @torch.inference_mode()
    def probabilities(text: str) -> dict[str, float]:
        row = rows.encode(about["space"] + text.strip(), add_special_tokens=False).ids
        asked = model(torch.tensor([about["before"] + row + about["after"]]), use_cache=True, logits_to_keep=1)
        asked.past_key_values.batch_repeat_interleave(len(options))
        answered = model(options, past_key_values=asked.past_key_values).logits[:, :-1]
        log_probs = torch.cat([asked.logits.expand(len(options), 1, -1), answered], dim=1).log_softmax(-1)
        scores = (log_probs.gather(2, options[:, :, None])[:, :, 0] * is_answer).sum(1).double()
        calibrated = (scores / about["temperature"] + torch.tensor(about["bias"])).softmax(0)
        return dict(zip(about["labels"], calibrated.tolist(), strict=True))

    return probabilities


class _Runtime:
    """The card's own code, row by row."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        refuse_code(folder)
        with no_progress_bar():
            self._ask = classifier(folder)
        self._names = names

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Shape (n_texts, n_labels)."""
        found = [self._ask(text) for text in texts]
        return np.array([[one[name] for name in self._names] for one in found]).reshape(len(texts), len(self._names))

    def close(self) -> None:
        """The model goes with this object."""


def open_converted(converted: Converted) -> Any:
    """The folder as its card opens it. Raises BundleError where its files name code, or are damaged."""
    return _Runtime(converted.folder, converted.names)
