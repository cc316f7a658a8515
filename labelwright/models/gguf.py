"""A Hugging Face model folder as one GGUF file, for llama.cpp and what is built on it.

Covers the Llama family (Llama, SmolLM2, Mistral) and Qwen2 and Qwen3 with byte-level BPE vocabularies, which are the
models that labelwright tunes. Tensor names and metadata keys come from the ``gguf`` package. Files are cached by the
content they were made of.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open

from labelwright.errors import MissingExtraError, ModelError
from labelwright.files import replacing
from labelwright.models.packaged import cache_dir

try:
    import gguf
except ImportError as error:
    raise MissingExtraError('writing GGUF needs gguf: pip install "labelwright[llamacpp]"') from error

try:
    import libgguf
except ImportError:
    libgguf = None  # only 4-bit files need it

_Kind = gguf.GGMLQuantizationType
KINDS = {"f32": _Kind.F32, "f16": _Kind.F16, "bf16": _Kind.BF16, "q8_0": _Kind.Q8_0, "q4_k_m": _Kind.Q4_K}
# What llama.cpp takes where rows are no multiple of a K-quant's 256 numbers: the next larger format with 32.
_SMALLER_BLOCKS = {_Kind.Q4_K: _Kind.Q5_0, _Kind.Q6_K: _Kind.Q8_0}
_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
# Regular expressions that split text into words, and what llama.cpp calls them.
_SPLITS = {rf"{_WORDS}\p{{N}}{_REST}": "qwen2", rf"{_WORDS}\p{{N}}{{1,3}}{_REST}": "llama-bpe"}
_ARCHITECTURES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}


def cached_gguf(folder: Path | str, kind: str = "q8_0") -> Path:
    """The GGUF file of a model folder, written at first use into the cache of ``labelwright.models.packaged``.

    Parameters
    ----------
    folder : Path
        With config.json, tokenizer.json and safetensors; an adapter must have been merged.
    kind : {"f32", "f16", "bf16", "q8_0", "q4_k_m"}
        Number format of the matrices; vectors stay float32.
    """
    folder = Path(folder)
    digest = hashlib.sha256(kind.encode())
    for path in sorted([*folder.glob("*.safetensors"), folder / "config.json", folder / "tokenizer.json"]):
        digest.update(path.name.encode() + b"\0")
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    target = cache_dir() / "gguf" / f"{folder.name}-{digest.hexdigest()[:16]}.{kind}.gguf"
    if not target.is_file():
        write_gguf(folder, target, kind)
    return target


def write_gguf(
    folder: Path | str, target: Path | str, kind: str = "q8_0", extra: Mapping[str, str | float] | None = None
) -> None:
    """Write the GGUF file; it appears under its name when it is whole.

    Parameters
    ----------
    kind : str
        As in ``cached_gguf``. "q4_k_m" is llama.cpp's mixture of that name: four bits, six where they matter most.
    extra : mapping of str to str or float, optional
        Metadata beside the model's own; ``{arch}`` in a key is the file's architecture.

    Raises
    ------
    ModelError
        An unknown kind; a model or tokenizer that this does not cover; no weights in the folder.
    MissingExtraError
        Four bits without libgguf.
    """
    folder, target = Path(folder), Path(target)
    if kind not in KINDS:
        raise ModelError(f"GGUF kind {kind!r}: expected one of {', '.join(map(repr, KINDS))}")
    if kind == "q4_k_m" and libgguf is None:
        raise MissingExtraError('4-bit GGUF needs libgguf: pip install "labelwright[llamacpp]"')
    config = _read_json(folder / "config.json")
    if config.get("model_type") not in _ARCHITECTURES:
        raise ModelError(
            f"{folder}: model type {config.get('model_type')!r} cannot be written as GGUF here: expected one of "
            f"{', '.join(_ARCHITECTURES)}; convert it with llama.cpp's own converter"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as unfinished:
        writer = gguf.GGUFWriter(unfinished, _ARCHITECTURES[config["model_type"]])
        _add_shape(writer, config, kind)
        _add_vocabulary(writer, folder, config)
        for key, value in (extra or {}).items():
            key = key.format(arch=_ARCHITECTURES[config["model_type"]])
            writer.add_string(key, value) if isinstance(value, str) else writer.add_float32(key, value)
        _add_tensors(writer, folder, config, KINDS[kind])
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()


def _add_shape(writer: Any, config: dict[str, Any], kind: str) -> None:
    n_heads = config["num_attention_heads"]
    head_dim = config.get("head_dim") or config["hidden_size"] // n_heads
    rope = config.get("rope_parameters") or config
    writer.add_file_type(getattr(gguf.LlamaFileType, "ALL_F32" if kind == "f32" else f"MOSTLY_{kind.upper()}"))
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(n_heads)
    writer.add_head_count_kv(config.get("num_key_value_heads") or n_heads)
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_rope_dimension_count(head_dim)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(float(rope.get("rope_theta", 10000.0)))
    writer.add_vocab_size(config["vocab_size"])


def _add_vocabulary(writer: Any, folder: Path, config: dict[str, Any]) -> None:
    spec = _read_json(folder / "tokenizer.json")
    if spec["model"].get("type") != "BPE" or "ByteLevel" not in json.dumps(spec.get("decoder")):
        raise ModelError(f"{folder}: its tokenizer is no byte-level BPE, which is all that can be written as GGUF here")
    by_id = {number: token for token, number in spec["model"]["vocab"].items()}
    kinds = dict.fromkeys(by_id, gguf.TokenType.NORMAL)
    for added in spec["added_tokens"]:
        by_id[added["id"]] = added["content"]
        kinds[added["id"]] = gguf.TokenType.CONTROL if added["special"] else gguf.TokenType.USER_DEFINED
    everything = range(config["vocab_size"])
    writer.add_tokenizer_model("gpt2")
    # Our own engine gives prompts as token ids: this counts where llama.cpp reads text.
    writer.add_tokenizer_pre(split_rule(spec) or ("qwen2" if config["model_type"].startswith("qwen") else "smollm"))
    writer.add_token_list([by_id.get(number, f"[UNUSED{number}]") for number in everything])
    writer.add_token_types([kinds.get(number, gguf.TokenType.UNUSED) for number in everything])
    merges = spec["model"]["merges"]
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    settings = _read_json(folder / "tokenizer_config.json")
    for role in ("bos", "eos", "pad"):
        content = settings.get(f"{role}_token")
        content = content["content"] if isinstance(content, dict) else content
        number = next((n for n, token in by_id.items() if token == content), None)
        if number is not None:
            getattr(writer, f"add_{role}_token_id")(number)
    writer.add_add_bos_token(False)
    template = folder / "chat_template.jinja"
    text = template.read_text(encoding="utf-8") if template.is_file() else settings.get("chat_template")
    if text:
        writer.add_chat_template(text)


def _add_tensors(writer: Any, folder: Path, config: dict[str, Any], quantization: Any) -> None:
    arch = next(a for a, name in gguf.MODEL_ARCH_NAMES.items() if name == _ARCHITECTURES[config["model_type"]])
    names = gguf.get_tensor_name_map(arch, config["num_hidden_layers"])
    heads = {"q_proj": config["num_attention_heads"], "k_proj": config.get("num_key_value_heads")}
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ModelError(
            f"{folder}: no safetensors in it; merge the adapter first (labelwright.models.loading.save_merged)"
        )
    for path in files:
        with safe_open(path, framework="pt") as tensors:
            for key in tensors.keys():  # noqa: SIM118 (safe_open is no dictionary)
                name = names.get_name(key, try_suffixes=(".weight", ".bias"))
                if name is None:
                    raise ModelError(f"{path}: tensor {key!r} has no name in GGUF")
                if key == "lm_head.weight" and config.get("tie_word_embeddings"):
                    continue
                values = tensors.get_tensor(key).float().numpy()
                projection = next((p for p in heads if p in key), None)
                if projection and arch == gguf.MODEL_ARCH.LLAMA:
                    values = _interleaved(values, heads[projection] or config["num_attention_heads"])
                kind = _kind_of(name, values.shape, config, quantization)
                writer.add_tensor(name, _quantised(values, kind), raw_dtype=kind)


def _kind_of(name: str, shape: tuple[int, ...], config: dict[str, Any], asked: Any) -> Any:
    """The number format of one tensor: that asked for, or what llama.cpp's mixture of 4 and 6 bits gives it."""
    if len(shape) < 2:
        return _Kind.F32
    if asked != _Kind.Q4_K:
        return asked
    kind, n_blocks = asked, config["num_hidden_layers"]
    if name == "output.weight" or (name == "token_embd.weight" and config.get("tie_word_embeddings")):
        kind = _Kind.Q6_K
    elif "attn_v.weight" in name or "ffn_down.weight" in name:
        # The first and the last eighth of the layers, and every third between (llama.cpp's use_more_bits).
        layer, eighth = int(name.split(".")[1]), n_blocks // 8
        if layer < eighth or layer >= 7 * n_blocks // 8 or (layer - eighth) % 3 == 2:
            kind = _Kind.Q6_K
    return _SMALLER_BLOCKS[kind] if shape[-1] % 256 else kind


def _quantised(values: np.ndarray, kind: Any) -> np.ndarray:
    """The bytes of a tensor. ``gguf`` writes every format but the K-quants."""
    if kind in _SMALLER_BLOCKS:
        packed: np.ndarray = libgguf.quantize_rows(np.ascontiguousarray(values), kind)
        return packed
    return gguf.quants.quantize(values, kind)


def split_rule(tokenizer: Mapping[str, Any]) -> str | None:
    """What llama.cpp calls the way in which this tokenizer (``tokenizer.json``) splits text; None where it has no name.

    >>> split_rule({"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}})
    'gpt-2'
    """
    given = tokenizer.get("pre_tokenizer") or {}
    steps = given.get("pretokenizers", [given])
    kinds = [step.get("type") for step in steps]
    if any(step.get("add_prefix_space") for step in steps):
        return None
    if kinds == ["ByteLevel"] and steps[0].get("use_regex", True):
        return "gpt-2"
    if kinds == ["Digits", "ByteLevel"] and steps[0].get("individual_digits") and steps[1].get("use_regex", True):
        return "smollm"
    if kinds == ["Split", "ByteLevel"] and not steps[1].get("use_regex", True):
        return _SPLITS.get(str((steps[0].get("pattern") or {}).get("Regex")))
    return None


def _interleaved(values: np.ndarray, n_heads: int) -> np.ndarray:
    """Rows of a projection as llama.cpp's rotation of Llama models wants them: the pairs of a head side by side."""
    shape = values.shape
    split = values.reshape(n_heads, 2, shape[0] // n_heads // 2, *shape[1:])
    return np.ascontiguousarray(split.swapaxes(1, 2).reshape(shape))


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ModelError(f"{path}: not there; expected a Hugging Face model folder")
    return json.loads(path.read_text(encoding="utf-8"))
