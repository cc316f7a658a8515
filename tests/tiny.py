"""Tiny, randomly initialised models with a real tokenizer and a real chat template, made in a folder in a moment."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GraniteConfig,
    GraniteForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
CORPUS = [
    "the pool pump is loud and the water is green",
    "water heater gives no hot water, water everywhere",
    "fence post panel picket gate rail boundary",
    "hvac furnace duct filter cooling vent airflow thing my near broke who mends today",
    "Label: Labels: name the topic of the message system user assistant chlorine skimmer swim liner algae deep",
]


def tiny_tokenizer(
    chat_template: str = CHATML, corpus: Sequence[str] = CORPUS, vocab_size: int = 400
) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer trained on a few lines, with ChatML's special tokens."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(corpus, trainer)
    # Qwen3 adds these as ordinary (not special) added tokens; they are one token each all the same.
    backend.add_tokens(["<think>", "</think>"])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="<|im_end|>", pad_token="<|endoftext|>", chat_template=chat_template
    )


def qwen3_template() -> str:
    """Qwen3's own chat template, as TRL ships it."""
    return (files("trl") / "chat_templates" / "qwen3.jinja").read_text(encoding="utf-8")


def tiny_model(
    arch: str = "llama",
    seed: int = 0,
    vocab_size: int = 420,
    spread: float = 0.3,
    width: int = 32,
    n_layers: int = 2,
) -> Any:
    """A small decoder with grouped-query attention, float32, weights spread widely enough to have opinions."""
    torch.manual_seed(seed)
    settings = {
        "vocab_size": vocab_size,
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": n_layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 512,
        "initializer_range": spread,
        "tie_word_embeddings": True,
        "bos_token_id": None,
        "eos_token_id": 2,
        "pad_token_id": 0,
    }
    if arch == "qwen3":
        return Qwen3ForCausalLM(Qwen3Config(**settings)).eval()
    if arch == "granite":
        return GraniteForCausalLM(GraniteConfig(**settings, logits_scaling=0.5)).eval()
    return LlamaForCausalLM(LlamaConfig(**settings)).eval()


def tiny_model_folder(
    folder: Path, arch: str = "llama", seed: int = 0, spread: float = 0.3, width: int = 32, n_layers: int = 2
) -> Path:
    """Save a tiny model and its tokenizer; ``arch`` is "llama", "granite" or "qwen3" (which has its own template)."""
    tokenizer = tiny_tokenizer(qwen3_template() if arch == "qwen3" else CHATML)
    model = tiny_model(arch, seed, vocab_size=len(tokenizer), spread=spread, width=width, n_layers=n_layers)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
