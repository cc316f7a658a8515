"""Tiny, randomly initialised models in folders, for candidates that train or ask a transformer: made in a moment."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import torch
from fakes import toy_examples
from tiny import CORPUS, tiny_model_folder
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification, BertModel, PreTrainedTokenizerFast

NLI_LABELS = {0: "entailment", 1: "neutral", 2: "contradiction"}
_SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_MARKERS = ["<<LABEL>>", "<<SEP>>", "<<EXAMPLE>>"]


def settings_for(name: str, folder: Path) -> dict[str, Any]:
    """Settings with which the candidate of that name uses a tiny model, made in ``folder``; {} for the others."""
    if name == "llm-head":
        return {"model": str(tiny_model_folder(folder / "llama")), "epochs": 2}
    if name == "entailment":
        return {"model": str(nli_folder(folder / "nli"))}
    if name == "gliclass":
        return {"model": str(gliclass_folder(folder / "gliclass"))}
    if name == "encoder-pairs":
        return {"model": str(encoder_folder(folder / "encoder")), "n_pairs": 1}
    if name.startswith("encoder-"):
        return {"model": str(encoder_folder(folder / "encoder")), "epochs": 2}
    return {}


def encoder_folder(folder: Path) -> Path:
    """A two-layer BERT."""
    tokenizer = _tokenizer()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertModel(_config(len(tokenizer))).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def nli_folder(folder: Path, labels: dict[int, str] | None = None) -> Path:
    """A two-layer BERT with a classification layer over pairs, trained for nothing."""
    tokenizer = _tokenizer()
    names = labels or NLI_LABELS
    config = _config(len(tokenizer))
    config.id2label, config.label2id = names, {name: place for place, name in names.items()}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def gliclass_folder(folder: Path, **changes: Any) -> Path:
    """A GLiClass uni-encoder over a two-layer BERT; ``changes`` go into its config."""
    from gliclass import GLiClassModel, GLiClassModelConfig

    tokenizer = _tokenizer(_MARKERS)
    label, sep, example = tokenizer.convert_tokens_to_ids(_MARKERS)
    encoder = _config(len(tokenizer))
    settings = {"encoder_config": encoder.to_dict(), "encoder_model": "tiny", "initializer_range": 0.2}
    places = {"class_token_index": label, "text_token_index": sep, "example_token_index": example}
    config = GLiClassModelConfig(**settings, **places, **({"prompt_first": True} | changes))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        GLiClassModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _config(vocab_size: int) -> BertConfig:
    return BertConfig(
        vocab_size=vocab_size,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=128,
        initializer_range=0.2,
    )


def _tokenizer(markers: list[str] | None = None) -> PreTrainedTokenizerFast:
    """WordPiece as BERT's: the words of the toy rows, and characters for the others. Not trained: ties fall anyhow."""
    words = sorted({word for line in [*CORPUS, *(row.text for row in toy_examples())] for word in line.lower().split()})
    characters = sorted(set(string.ascii_lowercase + string.digits + string.punctuation))
    known = [*_SPECIALS, *characters, *("##" + one for one in characters), *words]
    vocabulary = {piece: place for place, piece in enumerate(dict.fromkeys(known))}
    backend = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, backend.token_to_id(name)) for name in ("[CLS]", "[SEP]")],
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=128,
    )
    if markers:
        tokenizer.add_tokens(markers, special_tokens=True)
    return tokenizer
