"""Every causal architecture of transformers, tiny and random, and whether the tree scorer is right for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from tiny import tiny_tokenizer
from transformers import AutoModelForCausalLM
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from labelwright.data.task import Label
from labelwright.engines.settings import EngineSettings
from labelwright.engines.tokens import PromptTokens
from labelwright.engines.transformers import TransformersEngine
from labelwright.errors import ModelError
from labelwright.prompt import Prompt, Template

ARCHITECTURES = tuple(sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES))
WINDOW = 8
LABELS = ("pool", "water heater", "water", "fence", "hvac")
TEXTS = ("vent", "my fence post broke near the gate today and the pool pump is loud, who mends it", "no hot water")

# What configurations call their sizes. Only those that a configuration has are set.
SMALL = {
    **dict.fromkeys(("hidden_size", "n_embd", "d_model", "dim", "word_embed_proj_dim", "embedding_size"), 32),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers", "encoder_layers"), 2),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads", "decoder_attention_heads"), 4),
    **dict.fromkeys(("encoder_attention_heads",), 4),
    **dict.fromkeys(("num_key_value_heads", "num_kv_heads"), 2),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "decoder_ffn_dim", "encoder_ffn_dim", "n_inner", "d_inner"), 64),
    **dict.fromkeys(("ffn_hidden_size", "dff", "dim_ff", "moe_intermediate_size", "shared_intermediate_size"), 64),
    **dict.fromkeys(("shared_expert_intermediate_size", "intermediate_size_mlp", "ffn_hidden_dim"), 64),
    **dict.fromkeys(("head_dim", "v_head_dim", "qk_nope_head_dim", "attention_head_size", "kv_channels"), 8),
    **dict.fromkeys(("qk_rope_head_dim", "rotary_dim", "rope_head_dim"), 4),
    **dict.fromkeys(("kv_lora_rank", "q_lora_rank"), 16),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "moe_k", "num_experts_per_token", "moe_topk"), 2),
    **dict.fromkeys(("n_group", "topk_group", "n_shared_experts"), 1),
    **dict.fromkeys(("sliding_window",), WINDOW),
    **dict.fromkeys(("attention_chunk_size",), 16),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len"), 512),
    **dict.fromkeys(("vocab_size_per_layer_input",), 420),
    **dict.fromkeys(("hidden_size_per_layer_input",), 8),
    **dict.fromkeys(("state_size", "mamba_d_state", "ssm_state_size", "mamba_d_head", "mamba_head_dim"), 8),
}
INNER = ("text_config", "vision_config", "audio_config", "decoder", "decoder_config", "encoder_config")
# What a configuration's own checks ask for besides.
EXTRA: dict[str, dict[str, Any]] = {
    "bamba": {"mamba_n_heads": 8},
    "granitemoehybrid": {"mamba_n_heads": 8, "logits_scaling": 4.0},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "window_size": WINDOW},
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    # So that what is scaled or capped is so by much.
    "gemma2": {"attn_logit_softcapping": 0.7, "final_logit_softcapping": 2.0},
    "gemma3_text": {"attn_logit_softcapping": 0.7, "final_logit_softcapping": 2.0},
    **{
        name: {"logits_scaling": 4.0, "attention_multiplier": 0.9, "embedding_multiplier": 3.0}
        for name in ("granite", "granitemoe", "granitemoeshared", "granite_swa", "granitemoe_swa", "hyperclovax")
    },
}


class NotTinyError(Exception):
    """This architecture cannot be built tiny in the general way."""


def tiny_of(model_type: str, seed: int = 0, **changes: Any) -> Any:
    """A random model of an architecture with the tiny tokenizer's vocabulary, float32; windows are eight tokens wide.

    Raises
    ------
    NotTinyError
        Where the general way does not do.
    """
    torch.manual_seed(seed)
    try:
        kind = CONFIG_MAPPING[model_type]
        settings = {**_small(kind()), **EXTRA.get(model_type, {}), **changes}
        config = kind(**settings)
        with torch.device("meta"):
            n_weights = AutoModelForCausalLM.from_config(config, dtype=torch.float32).num_parameters()
        if n_weights > 5e6:
            raise ValueError(f"{n_weights / 1e6:.0f} million weights")
        model = AutoModelForCausalLM.from_config(kind(**settings), dtype=torch.float32).eval()
    except Exception as error:
        raise NotTinyError(f"{model_type}: {type(error).__name__}: {str(error).strip()[:200]}") from error
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1 and weight.is_floating_point():
                weight.normal_(0.0, 0.2)
    return model


def _small(config: Any) -> dict[str, Any]:
    values = {name: size for name, size in SMALL.items() if _is_set(config, name)}
    if _is_set(config, "qk_rope_head_dim") and _is_set(config, "head_dim"):
        values.pop("head_dim")  # what is rotated, and derived
    if _is_set(config, "kv_lora_rank"):
        values["num_key_value_heads"] = values["num_attention_heads"]  # latent attention has as many keys as queries
    values["vocab_size"] = len(tiny_tokenizer())
    values |= {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "is_decoder": True, "use_cache": False}
    for name in INNER:
        inner = getattr(config, name, None)
        if hasattr(inner, "to_dict"):
            values[name] = {**_small(inner), "model_type": inner.model_type}
    return values


def _is_set(config: Any, name: str) -> bool:
    """Whether a configuration has this as a setting of its own, the same for all layers."""
    settable = getattr(getattr(type(config), name, None), "fset", True) is not None
    try:
        return settable and hasattr(config, name)
    except Exception:  # "may vary across layers"
        return False


def off_by(model: Any) -> float:
    """The largest difference in nats between the tree scorer and the model's plain logits, one sequence at a time.

    Raises
    ------
    ModelError
        Where the engine refuses the model.
    """
    tokenizer = tiny_tokenizer()
    template = Template.from_tokenizer(tokenizer)
    prompt = Prompt("Name the topic.", tuple(map(Label, LABELS)), template=template)
    prompts = prompt.render_all(TEXTS)
    try:
        # Before the engine has touched the model.
        plain = _plain_scores(model, PromptTokens(tokenizer, template), prompts, prompt.options)
    except Exception as error:
        raise NotTinyError(f"runs neither plainly: {type(error).__name__}: {str(error)[:200]}") from error
    engine = TransformersEngine(model, tokenizer, settings=EngineSettings(unexpanded_mass=0))
    whole = engine.score(prompts, prompt.options)
    alone = np.vstack([engine.score([one], prompt.options) for one in prompts])
    return float(max(np.abs(whole - plain).max(), np.abs(alone - plain).max()))


def _plain_scores(model: Any, tokens: PromptTokens, prompts: Sequence[Any], options: Sequence[str]) -> np.ndarray:
    out = np.empty((len(prompts), len(options)))
    for i, prompt in enumerate(prompts):
        before = tokens.prefix(prompt) + tokens.row(prompt)
        for k, option in enumerate(tokens.tree(options).options):
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([[*before, *option]]), use_cache=False).logits[0].double()
            log_probs = torch.log_softmax(logits, -1)
            out[i, k] = sum(float(log_probs[len(before) - 1 + t, token]) for t, token in enumerate(option))
    return out


def verdict(model_type: str) -> tuple[str, str]:
    """("right" | "refused" | "not tiny" | "WRONG", details)."""
    try:
        model = tiny_of(model_type)
        off = off_by(model)
    except NotTinyError as error:
        return "not tiny", str(error)
    except ModelError as error:
        return "refused", str(error)
    return ("right" if off <= 1e-4 else "WRONG"), f"{off:.2g} {type(model).__name__}"
