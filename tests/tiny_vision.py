"""Tiny, randomly initialised vision-language models as folders: weights, processor, tokenizer, chat template.

Idefics3 (SmolVLM) has a Llama as its decoder, with ordinary positions; Qwen's positions have three axes, Qwen3-VL adds
features of the image to its lower layers, and most layers of Qwen3.5 are recurrent.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers
from tiny import CORPUS, tiny_tokenizer
from tokenizers import AddedToken

FAMILIES = ("idefics3", "qwen2_vl", "qwen3_vl")
# Most of its layers are recurrent.
RECURRENT = "qwen3_5"

# As the models' own templates place a picture, and nothing else of theirs.
_IDEFICS3 = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] | capitalize }}"
    "{% if message['content'][0]['type'] == 'image' %}{{ ':' }}{% else %}{{ ': ' }}{% endif %}"
    "{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}"
    "{% elif part['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
_QWEN = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}{{ '<|vision_start|><|image_pad|><|vision_end|>' }}{% else %}{{ part['text'] }}"
    "{% endif %}{% endfor %}{% endif %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_MARKS = {
    "idefics3": ["<fake_token_around_image>", "<image>", "<end_of_utterance>", "<global-img>"]
    + [f"<row_{i}_col_{j}>" for i in range(1, 4) for j in range(1, 4)],
    "qwen": ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"],
}


# What SmolVLM-256M-Instruct's configuration says of its size, for who measures speed on random weights.
SMOLVLM_256M = {
    "text": {
        "vocab_size": 49280,
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "head_dim": 64,
        "max_position_embeddings": 8192,
    },
    "vision": {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "image_size": 512,
        "patch_size": 16,
    },
    "scale_factor": 4,
    "image_seq_len": 64,
    "longest_edge": 512,
}


def tiny_vision_folder(
    folder: Path, family: str = "idefics3", seed: int = 0, spread: float = 0.3, like: Mapping[str, Any] | None = None
) -> Path:
    """Save a tiny model of a family with its processor, as a hub's folder holds them; an Idefics3 of a size like."""
    make = partial(_idefics3, like=like or {}) if family == "idefics3" else _qwen
    marks = _MARKS["idefics3" if family == "idefics3" else "qwen"]
    tokenizer = tiny_tokenizer(_IDEFICS3 if family == "idefics3" else _QWEN, [*CORPUS, "one\n\ntwo\n"])
    tokenizer.add_tokens([AddedToken(mark, special=True, normalized=False) for mark in marks], special_tokens=True)
    torch.manual_seed(seed)
    model, image_processor, about = make(family, tokenizer, spread)
    # The towers' own ways to begin leave pictures without a say.
    for name, weight in model.named_parameters():
        if weight.dim() > 1 and "embed_tokens" not in name:
            torch.nn.init.normal_(weight, std=spread)
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    image_processor.save_pretrained(folder)
    written = {"processor_class": type(model).__name__.replace("ForConditionalGeneration", "Processor"), **about}
    if family == RECURRENT:
        written["processor_class"] = "Qwen3VLProcessor"
    (folder / "processor_config.json").write_text(json.dumps(written), encoding="utf-8")
    (folder / "chat_template.jinja").write_text(tokenizer.chat_template, encoding="utf-8")
    return folder


def _text_settings(tokenizer: Any, spread: float) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 1024,
        "initializer_range": spread,
        "bos_token_id": None,
        "eos_token_id": 2,
        "pad_token_id": 0,
    }


def _idefics3(family: str, tokenizer: Any, spread: float, like: Mapping[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
    config = transformers.Idefics3Config(
        text_config={"model_type": "llama", **_text_settings(tokenizer, spread), "head_dim": 8} | like.get("text", {}),
        vision_config={
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": 32,
            "patch_size": 8,
            "initializer_range": spread,
        }
        | like.get("vision", {}),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=like.get("scale_factor", 2),
        pad_token_id=0,
        tie_word_embeddings=True,
    )
    image_processor = transformers.Idefics3ImageProcessorPil(
        size={"longest_edge": like.get("longest_edge", 64)},
        max_image_size={"longest_edge": like.get("longest_edge", 32)},
        do_image_splitting=True,
    )
    about = {"image_seq_len": like.get("image_seq_len", 4)}
    return transformers.Idefics3ForConditionalGeneration(config), image_processor, about


def _qwen(family: str, tokenizer: Any, spread: float) -> tuple[Any, Any, dict[str, Any]]:
    text = {**_text_settings(tokenizer, spread), "head_dim": 8}
    ids = {
        f"{name}_token_id": tokenizer.convert_tokens_to_ids(f"<|{mark}|>")
        for name, mark in {
            "vision_start": "vision_start",
            "vision_end": "vision_end",
            "image": "image_pad",
            "video": "video_pad",
        }.items()
    }
    if family == RECURRENT:
        rope = {"rope_type": "default", "mrope_section": [1, 1, 0], "mrope_interleaved": True, "rope_theta": 10000.0}
        linear = {f"linear_{side}_head_dim": 8 for side in ("key", "value")}
        linear |= {f"linear_num_{side}_heads": 2 for side in ("key", "value")}
        layers = {"num_hidden_layers": 3, "layer_types": ["linear_attention", "linear_attention", "full_attention"]}
        vision = {"hidden_size": 16, "intermediate_size": 32, "depth": 1, "num_heads": 2, "patch_size": 8}
        vision |= {"out_hidden_size": 32, "num_position_embeddings": 64}
        more = {"rope_parameters": {**rope, "partial_rotary_factor": 0.5}, "linear_conv_kernel_dim": 4}
        config = transformers.Qwen3_5Config(
            text_config=text | layers | linear | more, vision_config=vision, tie_word_embeddings=True, **ids
        )
        made = transformers.Qwen3_5ForConditionalGeneration(config)
    elif family == "qwen3_vl":
        rope = {"rope_type": "default", "mrope_section": [2, 1, 1], "mrope_interleaved": True, "rope_theta": 10000.0}
        vision = {"hidden_size": 16, "intermediate_size": 32, "depth": 2, "num_heads": 2, "patch_size": 8}
        vision |= {"out_hidden_size": 32, "deepstack_visual_indexes": [0, 1], "num_position_embeddings": 64}
        config = transformers.Qwen3VLConfig(
            text_config=text | {"rope_parameters": rope}, vision_config=vision, tie_word_embeddings=True, **ids
        )
        made = transformers.Qwen3VLForConditionalGeneration(config)
    else:
        rope = {"rope_type": "default", "mrope_section": [2, 1, 1], "rope_theta": 10000.0}
        vision = {"depth": 1, "embed_dim": 16, "hidden_size": 32, "num_heads": 2, "mlp_ratio": 2, "patch_size": 8}
        config = transformers.Qwen2VLConfig(
            text_config=text | {"rope_parameters": rope}, vision_config=vision, tie_word_embeddings=True, **ids
        )
        made = transformers.Qwen2VLForConditionalGeneration(config)
    image_processor = transformers.Qwen2VLImageProcessorPil(
        patch_size=8, size={"shortest_edge": 16 * 16, "longest_edge": 64 * 64}
    )
    return made, image_processor, {}


if __name__ == "__main__":
    # python tests/tiny_vision.py FOLDER [FAMILY]: a model for `python -m bench.images FOLDER`. Without a family it is
    # random weights of SmolVLM-256M's size.
    if len(sys.argv) > 2:
        tiny_vision_folder(Path(sys.argv[1]), sys.argv[2])
    else:
        tiny_vision_folder(Path(sys.argv[1]), "idefics3", spread=0.04, like=SMOLVLM_256M)
