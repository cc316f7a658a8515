"""From a model's name to a loaded model and tokenizer.

Owns device and dtype choices and the merging of adapters; ``labelwright.models.folders`` knows where models lie. Remote
code is never run.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch

from labelwright.errors import MissingExtraError, ModelError
from labelwright.models.folders import model_folder
from labelwright.models.packaged import cache_dir, scratch_beside
from labelwright.models.weights import Adapter, Full, Predictor, Weights, is_language_model
from labelwright.reading import no_progress_bar

# Bytes, of torch's own allocations on a processor.
_ALIGNMENT = 64


def load_tokenizer(weights: Weights) -> Any:
    """The tokenizer of a model, from the tuned folder where that holds one."""
    from transformers import AutoTokenizer

    return _load(AutoTokenizer, _source(weights))


def reads_images(weights: Weights) -> bool:
    """Whether a model looks at images as well as at text, by its configuration; False where it has none to read."""
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

    try:
        config = AutoConfig.from_pretrained(str(_source(weights)), trust_remote_code=False)
    except Exception:  # whoever loads the model is told what is wrong with it
        return False
    return config.model_type in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES and hasattr(config, "vision_config")


def load_processor(weights: Weights) -> Any:
    """What turns images and markup into a model's input: its base's processor, with the tokenizer and chat template.

    Images are prepared by Pillow and numpy wherever a model's preparation can be, so that they come out the same with
    torchvision and without. What looks at films, for which transformers needs torchvision, is left out.

    Raises
    ------
    ModelError, MissingExtraError
    """
    from transformers import AutoProcessor

    source = model_folder(weights.base)
    try:
        processor = _load(AutoProcessor, source, backend="pil")
    except ModelError as error:
        if not isinstance(error.__cause__, ImportError):
            raise
        processor = _without_films(source)
    if not getattr(processor.tokenizer, "chat_template", None):
        processor.tokenizer.chat_template = processor.chat_template
    return processor


def _without_films(source: str) -> Any:
    """A model's processor without the part that reads films."""
    from transformers import AutoConfig
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING

    kind: Any = PROCESSOR_MAPPING[type(_load(AutoConfig, source))]
    parts = [name for name in kind.get_attributes() if "video" not in name]
    for_images = type(kind.__name__, (kind,), {"get_attributes": classmethod(lambda _: parts)})
    try:
        return _load(for_images, source, backend="pil")
    except ModelError as error:
        if not isinstance(error.__cause__, ImportError):
            raise
        raise MissingExtraError(
            f"model {source!r} prepares images with what is not installed ({_first_line(error.__cause__)}): "
            f"install the torchvision that fits this torch"
        ) from error


def load_model(weights: Weights, device: str = "auto", dtype: str = "auto") -> Any:
    """A causal model ready to score: adapter merged, evaluation mode, on its device.

    A model that looks at images (``reads_images``) comes with what sees them.

    The adapter is merged in float32 and the sum rounded once, so that a small update is not lost in bfloat16.

    Raises
    ------
    ModelError
        A model or adapter that cannot be read, lacks tensors, or has tensors that are not numbers.
    """
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

    from labelwright.engines.packed.interface import ATTENTION, use_attention

    target_device = choose_device(device)
    target_dtype = choose_dtype(dtype, target_device)
    source = _source(weights)
    adapter = read_adapter(weights.folder) if isinstance(weights, Adapter) else None
    load_dtype = target_dtype if adapter is None else torch.float32
    settings = {"dtype": load_dtype, "output_loading_info": True}
    if reads_images(weights):
        model, loaded = _load(AutoModelForImageTextToText, source, **settings)
        use_attention(model, ATTENTION)
    else:
        model, loaded = _load(AutoModelForCausalLM, source, attn_implementation=ATTENTION, **settings)
    # transformers fills in random weights and warns.
    _refuse_difference(source, "model", loaded["missing_keys"], ())
    if isinstance(weights, Adapter) and adapter is not None:
        model = _merge_adapter(model, weights.folder, adapter)
    try:
        return _converted(model, target_device, target_dtype).eval()
    except RuntimeError as error:  # no such device, or no memory on it
        raise ModelError(f"{target_device} cannot hold the model {str(source)!r}: {_first_line(error)}") from error


def _converted(model: Any, device: torch.device, dtype: torch.dtype) -> Any:
    """A model on a device, in a number format; what it has computed for itself stays as precise as it was.

    The frequencies of rotary positions are such: rounded to bfloat16 they would turn the four hundredth token by an
    angle that is off by a radian.
    """
    computed = [
        (module, name, buffer)
        for module in model.modules()
        for name, buffer in module.named_buffers(recurse=False)
        if name in module._non_persistent_buffers_set
    ]
    model = model.to(device=device, dtype=dtype)
    for module, name, buffer in computed:
        setattr(module, name, buffer.to(device))
    if device.type == "cpu":
        _aligned(model)
    return model


def _aligned(model: Any) -> None:
    """Have weights begin where this processor's widest registers read from, as all that torch itself allocates does.

    Where nothing was converted they still lie in their file, at whatever place. Products are then summed in another
    order by some processors' libraries, and the last digits are not those of who loads the same model otherwise.
    """
    for parameter in model.parameters():
        if parameter.data_ptr() % _ALIGNMENT:
            parameter.data = parameter.data.clone()


def save_merged(weights: Weights, folder: Path) -> None:
    """Write the tuned model as plain safetensors with its tokenizer, adapter merged in, in bfloat16."""
    model = load_model(weights, device="cpu", dtype="float32").to(torch.bfloat16)
    model.save_pretrained(folder)
    load_tokenizer(weights).save_pretrained(folder)


def saved_merged(weights: Weights) -> Path:
    """A folder with the whole tuned model: the one that tuning wrote, or the adapter merged, kept in the cache."""
    if not isinstance(weights, Adapter):
        return Path(_source(weights))
    digest = hashlib.sha256(weights.base.encode())
    for path in sorted(weights.folder.glob("*.*")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    folder = cache_dir() / "merged" / digest.hexdigest()[:16]
    if not (folder / "config.json").is_file():
        with scratch_beside(folder) as scratch:
            save_merged(weights, scratch / "model")
            try:
                (scratch / "model").rename(folder)
            except OSError:
                # Another process finished first; its copy is as good.
                if not (folder / "config.json").is_file():
                    raise
    return folder


def context_length(config: Any) -> int | None:
    """Tokens that a model reads at most; None where it has no limit.

    Rotary positions of the kinds "dynamic" and "longrope" turn otherwise once any sequence of a pass is longer than
    those that the model was first trained on. So as not to let rows change each other, such a model ends there.
    """
    config = config.get_text_config()
    limit = getattr(config, "max_position_embeddings", None)
    rope = getattr(config, "rope_parameters", None) or {}
    kinds = [one for one in (rope, *rope.values()) if isinstance(one, dict)]
    if any(one.get("rope_type") in ("dynamic", "longrope") for one in kinds):
        first = [one.get("original_max_position_embeddings") for one in kinds]
        first.append(getattr(config, "original_max_position_embeddings", None))
        limit = min(length for length in (limit, *first) if length)
    return limit


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


def n_gpus(device: str) -> int:
    """How many CUDA devices there are to choose among for "auto" or "cuda"; 0 where another kind is taken.

    Raises
    ------
    ModelError
        As ``choose_device``.
    """
    return torch.cuda.device_count() if choose_device(device).type == "cuda" else 0


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
    if not is_language_model(weights):
        what = "a small classifier" if isinstance(weights, Predictor) else "several classifiers"
        raise ModelError(
            f"{weights.base} is {what}, not a language model: it has no model to load, tune or merge; "
            f"answer with labelwright.engines.opening.open_engine"
        )
    return weights.folder if isinstance(weights, Full) else model_folder(weights.base)


def _load(auto_class: Any, source: str | Path, **settings: Any) -> Any:
    try:
        with no_progress_bar():
            return auto_class.from_pretrained(str(source), trust_remote_code=False, **settings)
    except Exception as error:  # what a damaged file, or an architecture's own code, raises is not foreseeable
        raise ModelError(f"model {str(source)!r} cannot be loaded: {_first_line(error)}") from error


def read_adapter(folder: Path) -> dict[str, torch.Tensor]:
    """The tensors of an adapter by name, all of them numbers. Raises ModelError."""
    from safetensors.torch import load_file

    path = folder / "adapter_model.safetensors"
    try:
        tensors = load_file(path)
    except Exception as error:  # safetensors has its own for a damaged file
        raise ModelError(f"adapter {str(path)!r} cannot be read: {_first_line(error)}") from error
    if not tensors:
        raise ModelError(f"adapter {str(path)!r} holds no tensors: copy it again, or train again")
    wrong = [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    if wrong:
        raise ModelError(
            f"adapter {str(path)!r}: {len(wrong)} of {len(tensors)} tensors hold NaN or infinity ({wrong[0]} …): "
            f"it was damaged, or its training diverged; train again"
        )
    return tensors


def _merge_adapter(model: Any, folder: Path, tensors: dict[str, torch.Tensor]) -> Any:
    try:
        from peft import PeftModel, get_peft_model_state_dict
    except ImportError as error:
        raise MissingExtraError('an adapter needs peft: pip install "labelwright[transformers]"') from error
    try:
        with warnings.catch_warnings(action="ignore"):
            tuned = PeftModel.from_pretrained(model, str(folder))
            expected = get_peft_model_state_dict(tuned, save_embedding_layers=False)
    except Exception as error:  # another model's shapes, settings of another version, a damaged file
        raise ModelError(f"adapter {str(folder)!r} does not fit the model: {_first_line(error)}") from error
    # PEFT leaves what is missing at random and drops what it does not know, with a warning at most.
    _refuse_difference(folder, "adapter", expected.keys() - tensors.keys(), tensors.keys() - expected.keys())
    return tuned.merge_and_unload()


def _refuse_difference(source: Path | str, what: str, missing: Collection[str], unexpected: Collection[str]) -> None:
    """Raise ModelError where a model needs tensors that its files lack, or has no place for one that they hold."""
    parts = [f"lacks {len(missing)} tensors ({min(missing)} …)"] if missing else []
    parts += [f"holds {len(unexpected)} that the model has no place for ({min(unexpected)} …)"] if unexpected else []
    if parts:
        raise ModelError(
            f"{what} {str(source)!r} {' and '.join(parts)}: its files are incomplete, or another architecture's; "
            f"copy them again"
        )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
