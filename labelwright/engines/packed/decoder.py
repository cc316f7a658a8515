"""A decoder's forward pass without what scoring does not need: no cache objects, no hidden state that nobody reads.

Two ways to the same hidden states. ``HubDecoder`` calls the transformers model through its attention interface,
whatever is in it. ``LeanDecoder`` runs the layers of the Llama family (Llama, SmolLM2, Mistral, Qwen2, Qwen3: RMS
norms, rotary positions, gated feed-forward, full attention) with the model's own modules and weights: in a pass of
forty tokens, much of the time would otherwise go into calls around the matrix products. A test holds the second to the
first, and either is held to the model's plain logits when an engine is opened
(``labelwright.engines.packed.self_check``).
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn

from labelwright.engines.packed.attention import attend_packed, laid_out
from labelwright.engines.packed.packing import KeyValues, Packed, Row, pack
from labelwright.engines.packed.seen import SeenImage, added_below, embedded

# The very classes of transformers whose layers ``LeanDecoder`` repeats; what derives from them may do more.
LEAN = {
    f"transformers.models.{family}.modeling_{family}.{name}Model"
    for family, name in (("llama", "Llama"), ("mistral", "Mistral"), ("qwen2", "Qwen2"), ("qwen3", "Qwen3"))
}


class Decoder(Protocol):
    """From packed tokens to last hidden states."""

    def __call__(self, packed: Packed, places: Tensor | None = None) -> Tensor:
        """Hidden states after the last norm.

        Parameters
        ----------
        places : int64 (n_places,), optional
            Packed indices that are read; all of them by default.

        Returns
        -------
        (n_places, hidden), or (n_packed, hidden)
        """
        ...


def open_decoder(model: Any) -> Decoder:
    """The fastest decoder for a model."""
    decoder = model.get_decoder()
    return LeanDecoder(decoder) if _is_lean(decoder) else HubDecoder(decoder)


def _is_lean(decoder: Any) -> bool:
    kind, config = type(decoder), decoder.config
    windows = {*(getattr(config, "layer_types", None) or ()), "full_attention"} != {"full_attention"}
    # Mistral has a window and no layer types; Qwen's configuration drops a window that is not used.
    windows = windows or bool(getattr(config, "sliding_window", None))
    return f"{kind.__module__}.{kind.__name__}" in LEAN and config.hidden_act == "silu" and not windows


class HubDecoder:
    """The transformers model itself."""

    def __init__(self, decoder: Any) -> None:
        self._decoder = decoder

    def __call__(self, packed: Packed, places: Tensor | None = None) -> Tensor:
        """See ``Decoder``."""
        fed: dict[str, Any] = {"input_ids": packed.input_ids}
        if packed.images:
            fed = {"inputs_embeds": embedded(self._decoder.get_input_embeddings(), packed.input_ids, packed.images)}
            fed |= added_below(packed.images, packed.input_ids)
        with laid_out(packed.layout):
            output = self._decoder(
                **fed,
                position_ids=packed.position_ids,
                # Without one transformers looks for sequences packed its own way, by jumps in the positions.
                attention_mask=torch.ones_like(packed.input_ids),
                use_cache=False,
            )
        hidden = output.last_hidden_state[0]
        return hidden if places is None else hidden[places]


class LeanDecoder:
    """The layers of a Llama-like model, called one by one."""

    def __init__(self, decoder: Any) -> None:
        self._decoder = decoder

    def __call__(self, packed: Packed, places: Tensor | None = None) -> Tensor:
        """See ``Decoder``. In the last layer only the places that are read go on after the attention."""
        decoder = self._decoder
        hidden = embedded(decoder.embed_tokens, packed.input_ids, packed.images)[0]
        cos, sin = (x[0] for x in decoder.rotary_emb(hidden[None], packed.position_ids))
        last = len(decoder.layers) - 1
        for number, layer in enumerate(decoder.layers):
            attention, mlp = layer.self_attn, layer.mlp
            normed = _norm(layer.input_layernorm, hidden)
            query = attention.q_proj(normed).unflatten(-1, (-1, attention.head_dim))
            key = attention.k_proj(normed).unflatten(-1, (-1, attention.head_dim))
            value = attention.v_proj(normed).unflatten(-1, (-1, attention.head_dim))
            if hasattr(attention, "q_norm"):
                query, key = _norm(attention.q_norm, query), _norm(attention.k_norm, key)
            query, key = _rotate(query, cos, sin), _rotate(key, cos, sin)
            attended = attend_packed(
                packed.layout,
                number,
                query.transpose(0, 1),
                key.transpose(0, 1),
                value.transpose(0, 1),
                attention.scaling,
            ).flatten(1)
            if number == last and places is not None:
                attended, hidden = attended[places], hidden[places]
            hidden = _plus(attention.o_proj, attended, hidden)
            normed = _norm(layer.post_attention_layernorm, hidden)
            hidden = _plus(mlp.down_proj, _gated(mlp, normed), hidden)
        return _norm(decoder.norm, hidden)


def encode_prefix(decoder: Decoder, tokens: tuple[int, ...], device: Any = "cpu") -> KeyValues:
    """Keys and values of the shared prefix, one pair a layer."""
    return _encode(decoder, Row(tokens), None, device)


def encode_image(decoder: Decoder, seen: SeenImage, prefix: KeyValues | None, device: Any = "cpu") -> KeyValues:
    """Keys and values of a prefix and of an image behind it, which rows share as well."""
    own = _encode(decoder, Row(seen.tokens, seen=seen), prefix, device)
    if prefix is None:
        return own
    pairs = zip(prefix, own, strict=True)
    return [(torch.cat([k, own_k], dim=1), torch.cat([v, own_v], dim=1)) for (k, v), (own_k, own_v) in pairs]


def _encode(decoder: Decoder, row: Row, prefix: KeyValues | None, device: Any) -> KeyValues:
    packed = pack([row], prefix=prefix, device=device)
    packed.layout.kept = []
    decoder(packed, torch.zeros(1, dtype=torch.int64, device=device))
    n = len(row.tokens)
    return [(keys[:, :n].contiguous(), values[:, :n].contiguous()) for keys, values in packed.layout.kept]


class PackedLinear(nn.Module):
    """A linear layer whose weight lies as the processor's matrix library wants it, instead of being laid out each call.

    For inference in bfloat16 on the CPU. In a pass of forty tokens the laying out takes as long as the product. The
    library's operators that add to or multiply with the result in the same go are used where a decoder needs that.

    Parameters
    ----------
    linear : torch.nn.Linear
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach())
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        """x W^T + b."""
        return torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, "none", [], "")

    def silu(self, x: Tensor) -> Tensor:
        """silu(x W^T + b)."""
        return torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, "swish", [], "")

    def with_other(self, x: Tensor, other: Tensor, operation: str) -> Tensor:
        """(x W^T + b) "add" or "mul" another tensor of the result's shape."""
        return torch.ops.mkldnn._linear_pointwise.binary(x, other, self.packed, self.bias, operation)


def pack_linears(model: Any) -> None:
    """Replace the linear layers of a model's decoder by packed ones, where this processor and torch have them.

    The weights are moved, not doubled: the model can then answer, but neither be trained nor saved.
    """
    parameter = next(model.parameters())
    known = hasattr(torch.ops.mkldnn, "_reorder_linear_weight") and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    if parameter.device.type != "cpu" or parameter.dtype != torch.bfloat16 or not known:
        return
    for module in list(model.get_decoder().modules()):
        for name, child in module.named_children():
            if type(child) is nn.Linear:
                setattr(module, name, PackedLinear(child))


def _plus(linear: nn.Module, x: Tensor, residual: Tensor) -> Tensor:
    return linear.with_other(x, residual, "add") if isinstance(linear, PackedLinear) else residual + linear(x)


def _gated(mlp: Any, x: Tensor) -> Tensor:
    if isinstance(mlp.gate_proj, PackedLinear):
        return mlp.up_proj.with_other(x, mlp.gate_proj.silu(x), "mul")
    return nn.functional.silu(mlp.gate_proj(x)) * mlp.up_proj(x)


def _norm(module: Any, x: Tensor) -> Tensor:
    """Root-mean-square norm, summed in float32 and rounded where transformers rounds."""
    wide = x.float()
    scale = torch.rsqrt(wide.pow(2).mean(-1, keepdim=True).add_(module.variance_epsilon))
    return module.weight * (wide * scale).to(x.dtype)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions: x (T, heads, D); cos and sin (T, D), their two halves alike."""
    half = x.shape[-1] // 2
    turned = x * cos[:, None]
    turned[..., :half].addcmul_(x[..., half:], sin[:, None, :half], value=-1)
    turned[..., half:].addcmul_(x[..., :half], sin[:, None, :half])
    return turned
