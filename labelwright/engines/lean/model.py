"""A model of the Llama family as the modules that scoring calls, straight from its files.

Importing transformers and PEFT takes longer than reading a small model and scoring a row with it, most of it for what
scoring never touches. ``labelwright.engines.packed.decoder.LeanDecoder`` needs the weights of the layers and little
else, which is here. Whether that little is right for a model is not decided here: it is held to transformers once, and
remembered (``labelwright.engines.lean.known``).

Whatever is not plainly one of these models raises ``NotLeanError``, and so does every damaged file: who loads it then
with transformers (``labelwright.models.loading``) is told what is wrong with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from labelwright.errors import ModelError
from labelwright.models.folders import SMOLLM2, model_folder
from labelwright.models.loading import read_adapter
from labelwright.models.weights import Adapter, Base, Full, Weights
from labelwright.reading import read_object

# What a configuration must call itself, by its model type.
FAMILIES = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
}
# Larger models take longer to read than libraries to import, and while a model is held to transformers it is there
# twice.
MOST_BYTES = 3 * 2**29
# Of an adapter's settings, those that do not change what is added; all others must be off.
_WITHOUT_EFFECT = {
    "auto_mapping",
    "base_model_name_or_path",
    "inference_mode",
    "init_lora_weights",
    "lora_alpha",
    "lora_dropout",
    "megatron_core",
    "peft_type",
    "peft_version",
    "qalora_group_size",
    "r",
    "revision",
    "target_modules",
    "task_type",
}
_ATTENTION, _MLP = ("q_proj", "k_proj", "v_proj", "o_proj"), ("gate_proj", "up_proj", "down_proj")
_NORMS = ("input_layernorm", "post_attention_layernorm")
_READ_BY_TOKENIZERS = {".json", ".jinja", ".txt", ".model"}


class NotLeanError(ModelError):
    """A model that has to be loaded by transformers."""


def lean_folder(weights: Weights) -> Path:
    """Where a model's whole weights lie on this machine.

    Raises
    ------
    NotLeanError
        If that is not known without a hub, or the files are too large.
    """
    if isinstance(weights, Full):
        folder = weights.folder
    elif isinstance(weights, Base | Adapter) and (weights.base == SMOLLM2 or Path(weights.base).expanduser().is_dir()):
        folder = Path(model_folder(weights.base))
    else:
        raise NotLeanError(f"{weights.base}: its files are found by huggingface_hub")
    n_bytes = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    if not 0 < n_bytes <= MOST_BYTES:
        raise NotLeanError(f"{folder}: {n_bytes} bytes of safetensors")
    return folder


def digest_of_settings(weights: Weights, folder: Path) -> str:
    """sha256 over all about a model but its tensors: its configuration, its tokenizer, its adapter's settings."""
    digest = hashlib.sha256()
    paths = [path for path in sorted(folder.iterdir()) if path.suffix in _READ_BY_TOKENIZERS and path.is_file()]
    if isinstance(weights, Adapter):
        paths.append(weights.folder / "adapter_config.json")
    for path in paths:
        content = path.read_bytes()
        digest.update(f"{path.name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def load_lean(weights: Weights, folder: Path, device: torch.device, dtype: torch.dtype) -> LeanModel:
    """Read a model; an adapter is added in float32 and the sum rounded once, as ``load_model`` does.

    Raises
    ------
    NotLeanError
        A configuration, a tensor or an adapter that is not exactly what these models have.
    """
    try:
        config = read_object(folder / "config.json")
        tensors = _read_tensors(folder)
        added = _Added(weights.folder) if isinstance(weights, Adapter) else None
        model = LeanModel(config, tensors, added, dtype)
        left = {*tensors, *(added.left if added else ())}
        if left:
            raise NotLeanError(f"{folder}: {len(left)} tensors have no place ({min(left)} …)")
        return model.to(device).eval()
    except NotLeanError:
        raise
    except Exception as error:  # whatever is odd about a file, transformers is asked
        raise NotLeanError(f"{folder}: {error}") from error


class LeanModel(nn.Module):
    """Embedding, layers, last norm and output matrix under the names that transformers gives them.

    Parameters
    ----------
    config : mapping
        As ``config.json`` has it.
    tensors : dict of str to tensor
        By their names in the file; emptied.
    added : _Added, optional
    dtype : torch.dtype
        Of everything.
    """

    def __init__(
        self, config: Mapping[str, Any], tensors: dict[str, Tensor], added: _Added | None, dtype: torch.dtype
    ) -> None:
        super().__init__()
        _require_plain(config)

        def take(name: str) -> nn.Parameter:
            given = tensors.pop(name)
            if not given.is_floating_point():
                raise NotLeanError(f"{name}: of type {given.dtype}")
            own = (given if added is None else added.to(name, given)).to(dtype)
            # A file that is mapped into memory may be gone tomorrow.
            return nn.Parameter(own.clone() if own is given else own, requires_grad=False)

        def linear(name: str, n_in: int, n_out: int) -> nn.Linear:
            weight = _of_shape(f"{name}.weight", take(f"{name}.weight"), (n_out, n_in))
            has_bias = f"{name}.bias" in tensors
            return _linear(weight, _of_shape(f"{name}.bias", take(f"{name}.bias"), (n_out,)) if has_bias else None)

        def norm(name: str, width: int) -> nn.Module:
            weight = _of_shape(f"{name}.weight", take(f"{name}.weight"), (width,))
            return _Holding(weight=weight, variance_epsilon=float(config["rms_norm_eps"]))

        width, n_heads = int(config["hidden_size"]), int(config["num_attention_heads"])
        n_groups = int(config.get("num_key_value_heads") or n_heads)
        head = int(config.get("head_dim") or width // n_heads)
        inner, n_words = int(config["intermediate_size"]), int(config["vocab_size"])
        sizes = {
            **dict(zip(_ATTENTION, ((width, n_heads * head), *[(width, n_groups * head)] * 2), strict=False)),
            "o_proj": (n_heads * head, width),
            **dict.fromkeys(_MLP, (width, inner)),
            "down_proj": (inner, width),
        }
        decoder = nn.Module()
        name = "model.embed_tokens.weight"
        words = _of_shape(name, take(name), (n_words, width))
        decoder.embed_tokens = nn.Embedding(1, 1)
        # The very parameter, so that a device holds it once where the output matrix is the same.
        decoder.embed_tokens.weight = words
        decoder.rotary_emb = Rotary(head, float(_rope_theta(config)))
        layers = []
        for number in range(int(config["num_hidden_layers"])):
            layer, place = nn.Module(), f"model.layers.{number}"
            layer.self_attn, layer.mlp = _Holding(head_dim=head, scaling=head**-0.5), nn.Module()
            for room, names in (("self_attn", _ATTENTION), ("mlp", _MLP)):
                for one in names:
                    setattr(getattr(layer, room), one, linear(f"{place}.{room}.{one}", *sizes[one]))
            if config["model_type"] == "qwen3":
                for one in ("q_norm", "k_norm"):
                    setattr(layer.self_attn, one, norm(f"{place}.self_attn.{one}", head))
            for one in _NORMS:
                setattr(layer, one, norm(f"{place}.{one}", width))
            layers.append(layer)
        decoder.layers = nn.ModuleList(layers)
        decoder.norm = norm("model.norm", width)
        self.model = decoder
        if config.get("tie_word_embeddings"):
            # Some files hold the same matrix twice.
            tensors.pop("lm_head.weight", None)
            self.lm_head = _linear(words, None)
        else:
            self.lm_head = linear("lm_head", width, n_words)

    @property
    def dtype(self) -> torch.dtype:
        """Of its weights."""
        return self.lm_head.weight.dtype

    def get_decoder(self) -> nn.Module:
        """As transformers calls it."""
        return self.model

    def get_output_embeddings(self) -> nn.Module:
        """As transformers calls it."""
        return self.lm_head


class _Holding(nn.Module):
    """A module that has weights and numbers, and no forward pass of its own."""

    def __init__(self, **held: Any) -> None:
        super().__init__()
        for name, value in held.items():
            setattr(self, name, value)


class Rotary(nn.Module):
    """Plain rotary positions: cos and sin (1, T, width) of the angles, their two halves alike."""

    def __init__(self, width: int, theta: float) -> None:
        super().__init__()
        self._width, self._theta = width, theta

    def forward(self, hidden: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """In float32, whatever the model's type, and rounded to that."""
        powers = torch.arange(0, self._width, 2, dtype=torch.int64, device=hidden.device).float() / self._width
        angles = positions[..., None].float() * (1.0 / self._theta**powers)
        both = torch.cat((angles, angles), dim=-1)
        return both.cos().to(hidden.dtype), both.sin().to(hidden.dtype)


class _Added:
    """A LoRA adapter: what is to be added to which weight.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        settings = read_object(folder / "adapter_config.json")
        on = {name for name, value in settings.items() if value and name not in _WITHOUT_EFFECT} - {"bias"}
        plain = settings["peft_type"] == "LORA" and settings.get("bias", "none") == "none"
        if on or not plain or settings.get("init_lora_weights", True) is not True:
            raise NotLeanError(f"{folder}: an adapter of a special kind ({', '.join(sorted(on))})")
        self._scale = float(settings["lora_alpha"]) / int(settings["r"])
        self._targets = tuple(settings["target_modules"]) if isinstance(settings["target_modules"], list) else ()
        self.left = read_adapter(folder)

    def to(self, name: str, weight: Tensor) -> Tensor:
        """A weight of the model in float32, with what is added to it."""
        module = name.removesuffix(".weight")
        if module.rpartition(".")[2] not in self._targets or module == name:
            return weight.float()
        down, up = (self.left.pop(f"base_model.model.{module}.lora_{part}.weight").float() for part in "AB")
        # In place, but not in the file.
        return weight.to(torch.float32, copy=True).addmm_(up, down, alpha=self._scale)


def _read_tensors(folder: Path) -> dict[str, Tensor]:
    """Every tensor of a model, of one file or of those that its index names."""
    index = folder / "model.safetensors.index.json"
    files = set(read_object(index)["weight_map"].values()) if index.is_file() else {"model.safetensors"}
    if any(Path(name).name != name for name in files):
        raise NotLeanError(f"{index}: names files elsewhere")
    tensors: dict[str, Tensor] = {}
    for name in sorted(files):
        tensors |= load_file(folder / name)
    return tensors


def _require_plain(config: Mapping[str, Any]) -> None:
    """Raise NotLeanError for what a configuration says that the modules here do not follow."""
    family = FAMILIES.get(config.get("model_type", ""))
    if family is None or config.get("architectures") != [family]:
        raise NotLeanError(f"no model of {', '.join(FAMILIES)}")
    odd = set(_odd(config))
    if odd:
        raise NotLeanError(f"its {', '.join(sorted(odd))} is of another kind")


def _odd(config: Mapping[str, Any]) -> Iterator[str]:
    rope = config.get("rope_parameters") or {}
    if config.get("hidden_act", "silu") != "silu":
        yield "hidden_act"
    if set(config.get("layer_types") or ()) - {"full_attention"}:
        yield "layer_types"
    if config.get("sliding_window") and (config["model_type"] == "mistral" or config.get("use_sliding_window")):
        yield "sliding_window"
    if rope.get("rope_type", "default") != "default" or config.get("rope_scaling"):
        yield "rope_parameters"
    for name in ("quantization_config", "partial_rotary_factor"):
        if config.get(name) or rope.get(name):
            yield name


def _rope_theta(config: Mapping[str, Any]) -> Any:
    return (config.get("rope_parameters") or config)["rope_theta"]


def _linear(weight: nn.Parameter, bias: nn.Parameter | None) -> nn.Linear:
    """A layer of weights that are there: to make one of its size would fill it with random numbers first."""
    made = nn.Linear(1, 1, bias=bias is not None)
    made.weight, made.bias = weight, bias  # type: ignore[assignment]
    made.out_features, made.in_features = weight.shape
    return made


def _of_shape(name: str, weight: nn.Parameter, shape: Any) -> nn.Parameter:
    if tuple(weight.shape) != tuple(shape):
        raise NotLeanError(f"{name}: of shape {tuple(weight.shape)}, expected {tuple(shape)}")
    return weight
