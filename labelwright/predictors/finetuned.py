"""A fine-tuned transformer with a linear layer on top, whole in its folder: weights, tokenizer, head.

Owns what happens between a text and its probabilities, for training (``baselines.finetuned``) and afterwards: tokens,
padding, pooling, the head. Nothing here trains, and loading needs torch and transformers alone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

from labelwright.errors import BundleError
from labelwright.models.loading import choose_device, choose_dtype
from labelwright.predictors.encoders.long_texts import LongTexts
from labelwright.predictors.encoders.sentence_encoder import token_places
from labelwright.predictors.protocol import softmax
from labelwright.reading import AGAIN, no_progress_bar, opening, read_object, read_tensors

Pooling = Literal["mean", "first", "last"]

_FILE = "finetuned.json"
_HEAD = "head.safetensors"
_BATCH_ROWS = 64
# The matrix library compiles a kernel for every new shape, so widths are rounded up.
_WIDTH_MULTIPLE = 8


class Tokens:
    """Texts to token ids, special-token strings taken as plain text, so that no row can forge markup.

    Parameters
    ----------
    tokenizer
        A fast ``transformers`` tokenizer.
    max_tokens : int
        What becomes of longer texts is up to ``long_texts``.
    ending : str
        Template text that stands behind every text; a decoder's last token then has something to say.
    """

    def __init__(self, tokenizer: Any, max_tokens: int, ending: str = "") -> None:
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens
        self.ending = ending
        self.long_texts = LongTexts()
        self._after = tokenizer.encode(ending, add_special_tokens=False) if ending else []
        spare = (tokenizer.pad_token_id, tokenizer.eos_token_id, 0)
        self._filler = next(one for one in spare if one is not None)

    def __call__(self, texts: Sequence[str]) -> list[list[int]]:
        """One list of ids a text, none empty."""
        if not texts:
            return []
        room = max(1, self.max_tokens - len(self._after))
        spare = room - self.tokenizer.num_special_tokens_to_add()
        texts = self.long_texts.fit(texts, max(1, spare), lambda some: token_places(self.tokenizer, some), "the model")
        found = self.tokenizer(list(texts), truncation=True, max_length=room, split_special_tokens=True)
        return [ids + self._after or [self._filler] for ids in found["input_ids"]]

    def padded(self, ids: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
        """Ids and mask, int64 (n_rows, width), padded on the right."""
        width = -(-max(map(len, ids)) // _WIDTH_MULTIPLE) * _WIDTH_MULTIPLE
        filled = np.full((len(ids), width), self._filler, dtype=np.int64)
        mask = np.zeros((len(ids), width), dtype=np.int64)
        for row, one in enumerate(ids):
            filled[row, : len(one)] = one
            mask[row, : len(one)] = 1
        return torch.from_numpy(filled).to(device), torch.from_numpy(mask).to(device)


class Network(nn.Module):
    """A transformer, its states pooled to one unit vector a row, and a linear layer in float32.

    With ``pooling="last"`` this is what ``AutoModelForSequenceClassification`` makes of a decoder, but for the unit
    length: the last token is found by the mask, not by the pad id, which many decoders also end their texts with, and
    logits are not rounded to bfloat16.

    Parameters
    ----------
    model
        A ``transformers`` model without a head.
    head : nn.Linear
    pooling : {"mean", "first", "last"}
        Over a row's tokens; the first is BERT's [CLS].
    """

    def __init__(self, model: Any, head: nn.Linear, pooling: Pooling) -> None:
        super().__init__()
        self.model = model
        self.head = head
        self.pooling = pooling

    def vectors(self, ids: Tensor, mask: Tensor, compute: torch.dtype | None = None) -> Tensor:
        """Unit vectors, float32 (n_rows, width); the transformer runs under autocast to ``compute`` if given."""
        with torch.autocast(ids.device.type, dtype=compute, enabled=compute not in (None, torch.float32)):
            states = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
        return nn.functional.normalize(_pooled(states.float(), mask, self.pooling), dim=1)

    def forward(self, ids: Tensor, mask: Tensor, compute: torch.dtype | None = None) -> Tensor:
        """Logits, float32 (n_rows, n_labels)."""
        logits: Tensor = self.head(self.vectors(ids, mask, compute))
        return logits


class FineTuned:
    """A network and its tokenizer.

    It computes in the dtype its weights are stored in, so that a loaded copy gives the same probabilities; weights in
    bfloat16 are computed with in float32 where the hardware does not multiply bfloat16.

    Attributes
    ----------
    compute : torch.dtype, optional
        While it is being trained, in float32: what to compute with.
    """

    kind: ClassVar[str] = "finetuned"

    def __init__(self, network: Network, tokens: Tokens) -> None:
        self.network = network.eval()
        self.tokens = tokens
        self.compute: torch.dtype | None = None
        self.device = next(network.parameters()).device

    @property
    def long_texts(self) -> LongTexts:
        """What happens to texts of more tokens than the network reads."""
        return self.tokens.long_texts

    @long_texts.setter
    def long_texts(self, value: LongTexts) -> None:
        """Set by who knows what is to happen to them."""
        self.tokens.long_texts = value

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Shape (n_texts, n_labels)."""
        return softmax(self._by_length(texts, self.network).astype(np.float64))

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The unit vectors that the head reads, shape (n_texts, width)."""
        return self._by_length(texts, self.network.vectors)

    def _by_length(self, texts: Sequence[str], ask: Any) -> NDArray[np.float32]:
        """Rows of similar length share a batch; results in the order of the texts."""
        ids = self.tokens(texts)
        order = np.argsort([len(one) for one in ids], kind="stable")
        found: list[NDArray[np.float32]] = []
        with torch.inference_mode():
            for start in range(0, len(order), _BATCH_ROWS):
                batch = [ids[row] for row in order[start : start + _BATCH_ROWS]]
                inputs = self.tokens.padded(batch, self.device)
                found.append(ask(*inputs, self.compute).float().cpu().numpy())
        rows = np.concatenate(found)
        return rows[np.argsort(order)]

    def save(self, folder: Path) -> None:
        """Write config.json, model.safetensors, the tokenizer, the head, and how states are pooled; no sub-folders."""
        with no_progress_bar():
            # One file whatever the size.
            self.network.model.save_pretrained(folder, max_shard_size="1000GB")
        self.tokens.tokenizer.save_pretrained(folder)
        head = {name: one.detach().cpu().contiguous() for name, one in self.network.head.state_dict().items()}
        save_file(head, folder / _HEAD)
        about = {
            "pooling": self.network.pooling,
            "max_tokens": self.tokens.max_tokens,
            "ending": self.tokens.ending,
        }
        (folder / _FILE).write_text(json.dumps(about) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> FineTuned:
        """Read them. Raises BundleError where a file is missing or damaged."""
        from transformers import AutoModel, AutoTokenizer

        about, weights = read_object(folder / _FILE), read_tensors(folder / _HEAD, {"weight": 2, "bias": 1})
        if about.get("pooling") not in get_args(Pooling):
            raise BundleError(f"{folder / _FILE}: pooling {about.get('pooling')!r} is not known to this version")
        if type(about.get("max_tokens")) is not int or about["max_tokens"] < 1 or not isinstance(about["ending"], str):
            raise BundleError(f"{folder / _FILE}: expected max_tokens, a whole number, and an ending; {AGAIN}")
        with opening(folder), no_progress_bar():
            model = AutoModel.from_pretrained(
                folder, dtype="auto", use_safetensors=True, trust_remote_code=False, local_files_only=True
            )
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        head = nn.Linear(weights["weight"].shape[1], weights["weight"].shape[0])
        head.load_state_dict({name: torch.from_numpy(values) for name, values in weights.items()})
        network = Network(on_device(model, choose_device("auto")), head, about["pooling"])
        network.head.to(next(model.parameters()).device)
        return cls(network, Tokens(tokenizer, about["max_tokens"], about["ending"]))

    def external_bytes(self) -> int:
        """Nothing else is needed."""
        return 0


def rounded(model: Any, dtype: torch.dtype) -> Any:
    """The model with its weights in another dtype; buffers (rotary frequencies) stay in theirs, as on loading."""
    for one in model.parameters():
        one.data = one.data.to(dtype)
    model.config.dtype = dtype
    return model


def on_device(model: Any, device: torch.device) -> Any:
    """A model ready to answer; bfloat16 becomes float32 where the hardware only emulates it."""
    if model.dtype == torch.bfloat16 and choose_dtype("auto", device) == torch.float32:
        model = model.float()
    return model.to(device).eval()


def _pooled(states: Tensor, mask: Tensor, pooling: Pooling) -> Tensor:
    """One state a row out of (n_rows, n_tokens, width)."""
    if pooling == "first":
        return states[:, 0]
    if pooling == "last":
        return states[torch.arange(len(states), device=states.device), mask.sum(dim=1) - 1]
    weights = mask[:, :, None].to(states.dtype)
    return (states * weights).sum(dim=1) / weights.sum(dim=1)
