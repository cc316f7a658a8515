"""Zero-shot classifiers that ask a ready-made model: entailment of a hypothesis a label, and GLiClass.

They learn nothing and store the model's name and the label texts; the model's files stay where they are. One model of
each kind is kept open a process.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from labelwright.errors import BundleError, DataError, MissingExtraError, ModelError
from labelwright.files import folder_bytes
from labelwright.models.loading import choose_device
from labelwright.predictors.encoders.long_texts import LongTexts
from labelwright.predictors.encoders.model_files import find_model
from labelwright.predictors.encoders.sentence_encoder import token_places
from labelwright.predictors.finetuned import on_device
from labelwright.predictors.protocol import softmax
from labelwright.reading import AGAIN, no_progress_bar, no_prompts, one_line, read_object

_FILE = "zero_shot.json"
_BATCH_PAIRS = 32


class Entailment:
    """P(label) = softmax over labels of the entailment logit of (text, hypothesis), after Yin et al. 2019
    (arXiv:1909.00161): a pass a text and label.

    Parameters
    ----------
    model : str
        Folder or Hugging Face id of a sequence classifier with a label that begins with "entail".
    hypotheses : sequence of str
        One a label, in order.
    """

    kind: ClassVar[str] = "entailment"

    def __init__(self, model: str, hypotheses: Sequence[str]) -> None:
        self.model = model
        self.hypotheses = tuple(hypotheses)
        self.long_texts = LongTexts()

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Shape (n_texts, n_labels)."""
        logits = open_entailment(self.model).logits(texts, self.hypotheses, self.long_texts)
        return softmax(logits)

    def save(self, folder: Path) -> None:
        """Write the model's name and the hypotheses."""
        _write(folder, {"model": self.model, "hypotheses": self.hypotheses})

    @classmethod
    def load(cls, folder: Path) -> Entailment:
        """Read them. Raises BundleError where there is no such file; the model is opened on first use."""
        return cls(*_read(folder, "hypotheses"))

    def external_bytes(self) -> int:
        """Bytes of the model's files."""
        return folder_bytes(find_model(self.model))


class Gliclass:
    """GLiClass (Stepanov et al. 2025, arXiv:2508.07662) through its own library: a pass a text, labels beside it.

    Parameters
    ----------
    model : str
        Folder or Hugging Face id of a uni-encoder GLiClass model.
    label_texts : sequence of str
        One a label, in order.
    """

    kind: ClassVar[str] = "gliclass"

    def __init__(self, model: str, label_texts: Sequence[str]) -> None:
        self.model = model
        self.label_texts = tuple(label_texts)
        self.long_texts = LongTexts()

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Shape (n_texts, n_labels)."""
        return softmax(open_gliclass(self.model).logits(texts, self.label_texts, self.long_texts))

    def save(self, folder: Path) -> None:
        """Write the model's name and the label texts."""
        _write(folder, {"model": self.model, "label_texts": self.label_texts})

    @classmethod
    def load(cls, folder: Path) -> Gliclass:
        """Read them. Raises BundleError where there is no such file; the model is opened on first use."""
        return cls(*_read(folder, "label_texts"))

    def external_bytes(self) -> int:
        """Bytes of the model's files."""
        return folder_bytes(find_model(self.model))


class EntailmentModel:
    """A sequence classifier over pairs of texts, and which of its labels means entailment."""

    def __init__(self, model: Any, tokenizer: Any, entailment: int) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.entailment = entailment

    def logits(
        self, texts: Sequence[str], hypotheses: Sequence[str], long_texts: LongTexts | None = None
    ) -> NDArray[np.float64]:
        """Entailment logits, shape (n_texts, n_hypotheses); pairs of similar length share a batch."""
        if long_texts is not None:
            longest = max(map(len, token_places(self.tokenizer, list(hypotheses))))
            taken = longest + self.tokenizer.num_special_tokens_to_add(pair=True)
            room = max(1, _longest(self.model, self.tokenizer) - taken)
            texts = long_texts.fit(texts, room, lambda some: token_places(self.tokenizer, some), "the model")
        pairs = [(text, hypothesis) for text in texts for hypothesis in hypotheses]
        found = np.empty(len(pairs))
        order = np.argsort([len(text) + len(hypothesis) for text, hypothesis in pairs], kind="stable")
        for start in range(0, len(order), _BATCH_PAIRS):
            batch = order[start : start + _BATCH_PAIRS]
            inputs = self.tokenizer(
                [pairs[one][0] for one in batch],
                [pairs[one][1] for one in batch],
                truncation="only_first",
                padding=True,
                max_length=_longest(self.model, self.tokenizer),
                split_special_tokens=True,
                return_tensors="pt",
            )
            with torch.inference_mode():
                logits = self.model(**inputs.to(self.model.device)).logits
            found[batch] = logits[:, self.entailment].float().cpu().numpy()
        return found.reshape(len(texts), len(hypotheses))


class GliclassModel:
    """A GLiClass pipeline, asked one text at a time: some of its poolings read the padding of a batch."""

    def __init__(self, pipeline: Any) -> None:
        self.pipeline = pipeline

    def logits(
        self, texts: Sequence[str], label_texts: Sequence[str], long_texts: LongTexts | None = None
    ) -> NDArray[np.float64]:
        """Logits of shape (n_texts, n_labels)."""
        labels = [self._unmarked(text) for text in label_texts]
        room = self._room(labels)
        texts = [self._unmarked(text) for text in texts]
        if long_texts is not None:
            texts = long_texts.fit(texts, room, lambda some: token_places(self.pipeline.tokenizer, some), "the model")
        rows = []
        for text in texts:
            inputs = self.pipeline.prepare_inputs([self._cut(text, room)], labels, same_labels=True)
            with torch.inference_mode():
                logits = self.pipeline.model(**inputs, max_num_classes=len(labels)).logits
            rows.append(logits[0, : len(labels)].float().cpu().numpy())
        return np.stack(rows).astype(np.float64)

    def _unmarked(self, text: str) -> str:
        """A text that cannot forge markup: GLiClass's markers, such as <<LABEL>>, or the tokenizer's, such as [SEP].

        The library puts its markers into the text that it tokenises, so these cannot be told apart later: a space
        behind the first character makes a row's own ones plain.
        """
        text = text.replace("<<", "< <")
        for mark in self.pipeline.tokenizer.all_special_tokens:
            text = text.replace(mark, f"{mark[0]} {mark[1:]}")
        return text

    def _room(self, labels: list[str]) -> int:
        """Tokens left for a text: the labels may stand behind it, and must not be cut off."""
        taken = len(self.pipeline.tokenizer(self.pipeline.prepare_input("", labels))["input_ids"])
        room = int(self.pipeline.max_length) - taken - 1
        if room < 1:
            raise DataError(
                f"{len(labels)} labels take {taken} of the {self.pipeline.max_length} tokens that the model reads: "
                f"leave gliclass out, or shorten the descriptions"
            )
        return room

    def _cut(self, text: str, room: int) -> str:
        cut = self.pipeline.tokenizer(
            text, add_special_tokens=False, truncation=True, max_length=room, return_offsets_mapping=True
        )
        places = cut["offset_mapping"]
        return text[: places[-1][1]] if places else ""


@functools.lru_cache(maxsize=1)
def open_entailment(name: str) -> EntailmentModel:
    """The model of that name, loaded on first use and kept.

    Raises
    ------
    ModelError
        Files that cannot be had or loaded, or a model that does not judge entailment.
    """
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = find_model(name)
    model = _loaded(AutoModelForSequenceClassification, name, folder, dtype="auto", use_safetensors=True)
    found = [place for place, label in model.config.id2label.items() if label.lower().startswith("entail")]
    if len(found) != 1:
        labels = ", ".join(map(str, model.config.id2label.values()))
        raise ModelError(
            f'model {name} has the labels {labels}: expected one that begins with "entail", as models trained on '
            f"natural language inference have"
        )
    return EntailmentModel(on_device(model, choose_device("auto")), _loaded(AutoTokenizer, name, folder), int(found[0]))


@functools.lru_cache(maxsize=1)
def open_gliclass(name: str) -> GliclassModel:
    """The model of that name, loaded on first use and kept.

    Raises
    ------
    MissingExtraError
        gliclass is not installed.
    ModelError
        Files that cannot be had or loaded, or a model of another architecture than uni-encoder.
    """
    try:
        from gliclass import GLiClassModel
        from gliclass.pipeline import UniEncoderZeroShotClassificationPipeline
    except ImportError as error:
        raise MissingExtraError(
            'GLiClass models need gliclass: pip install "labelwright[gliclass]", or take gliclass off the recipe'
        ) from error
    from transformers import AutoTokenizer

    folder = find_model(name)
    _check_gliclass(name, folder)
    model = on_device(_loaded(GLiClassModel, name, folder, use_safetensors=True), choose_device("auto"))
    tokenizer = _loaded(AutoTokenizer, name, folder)
    longest = _longest(model.model.encoder_model, tokenizer)
    return GliclassModel(
        UniEncoderZeroShotClassificationPipeline(
            model, tokenizer, max_length=longest, device=model.device, progress_bar=False
        )
    )


def _check_gliclass(name: str, folder: Path) -> None:
    """Refuse an encoder that transformers does not know: gliclass would run code from the hub for it."""
    from transformers.models.auto import CONFIG_MAPPING

    config = read_object(folder / "config.json")
    if config.get("model_type") != "GLiClass" or config.get("architecture_type", "uni-encoder") != "uni-encoder":
        kind = config.get("architecture_type", config.get("model_type"))
        raise ModelError(f'model {name} is a {kind}: expected a uni-encoder such as "knowledgator/gliclass-small-v1.0"')
    encoder = config.get("encoder_config")
    if not isinstance(encoder, dict) or encoder.get("model_type", "deberta-v2") not in CONFIG_MAPPING:
        raise ModelError(f"model {name}: its config.json does not describe an encoder that transformers knows")


def _loaded(loader: Any, name: str, folder: Path, **settings: Any) -> Any:
    try:
        with no_progress_bar(), no_prompts():
            return loader.from_pretrained(folder, local_files_only=True, trust_remote_code=False, **settings)
    except Exception as error:
        raise ModelError(f"model {name} cannot be loaded from {folder}: {one_line(error)}") from error


def _longest(model: Any, tokenizer: Any) -> int:
    """Tokens that the model reads at most; 1024 for one that names no limit."""
    positions = getattr(model.config, "max_position_embeddings", None) or 1024
    return min(positions, tokenizer.model_max_length)


def _write(folder: Path, about: dict[str, Any]) -> None:
    (folder / _FILE).write_text(json.dumps(about, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _read(folder: Path, key: str) -> tuple[str, list[str]]:
    """The model's name, and a text for each label."""
    about = read_object(folder / _FILE)
    texts = about.get(key)
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise BundleError(f"{folder / _FILE}: expected a list of texts under {key!r}; {AGAIN}")
    return about["model"], texts
