"""How much of the machine's arithmetic the scorer puts to use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode, register_flop_formula

from bench.machine import SQUARES, product_rate, shapes_rate
from bench.setting import Setting
from bench.timing import Measurement, Side, ratio, seconds_of
from labelwright.engines.packed import packing
from labelwright.statistics.calibration import UNCALIBRATED

SHARE_GOAL = 0.6


# torch counts matrix products and the attention kernels of GPUs; of the processor's own kernel it knows nothing.
@register_flop_formula(torch.ops.aten._scaled_dot_product_flash_attention_for_cpu, get_raw=True)
def attention_flops(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    attn_mask: Tensor | None = None,
    **_: object,
) -> int:
    """FLOPs that an attention call needs: the (query, key) pairs that may look at each other, and no others.

    A pair costs a multiply and an add for every entry of its key and of its value. What the kernel computes and then
    masks, padding above all, is work nobody needs.
    """
    n_rows, n_heads, n_queries, width = query.shape
    n_keys = key.shape[2]
    if attn_mask is not None:
        allowed = attn_mask if attn_mask.dtype == torch.bool else attn_mask > float("-inf")
        pairs = int(allowed.expand(n_rows, n_heads, n_queries, n_keys).sum())
    elif is_causal:
        pairs = n_rows * n_heads * int(torch.ones(n_queries, n_keys).tril().sum())
    else:
        pairs = n_rows * n_heads * n_queries * n_keys
    return pairs * 2 * (width + value.shape[3])


def count_flops(call: Callable[[], object]) -> int:
    """FLOPs of the matrix products and the attention in a call; everything elementwise counts as nothing."""
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


@register_flop_formula([torch.ops.mkldnn._linear_pointwise], get_raw=True)
def packed_linear_flops(x: Tensor, *others: object, **_: object) -> int:
    """FLOPs of a linear layer with a packed weight, alone or joined to an elementwise operation."""
    # Of both overloads: (x, weight, …) and (x, other, weight, …); ``other`` has the result's shape.
    tensors = [one for one in others if isinstance(one, Tensor) and one.dim() == 2]
    weight = tensors[-1]
    return 2 * (x.numel() // x.shape[-1]) * weight.shape[0] * weight.shape[1]


def only_needed(count: Callable[[], int]) -> int:
    """A count of needed work: packed batches are not rounded up.

    Masked pairs in a row's own block of attention remain: with rows of some thirty tokens half a percent of the FLOPs.
    """
    multiples = packing.PACK_MULTIPLE, packing.SHORT_MULTIPLE
    packing.PACK_MULTIPLE = packing.SHORT_MULTIPLE = 1
    try:
        return count()
    finally:
        packing.PACK_MULTIPLE, packing.SHORT_MULTIPLE = multiples


def layer_shapes(model: Any) -> list[tuple[int, int]]:
    """(inputs, outputs) of the linear layers of a model's decoder layer, from its configuration."""
    config = model.config
    width, inner = config.hidden_size, config.intermediate_size
    head = getattr(config, "head_dim", None) or width // config.num_attention_heads
    heads, groups = config.num_attention_heads * head, config.num_key_value_heads * head
    return [(width, heads), (width, groups), (width, groups), (heads, width), *[(width, inner)] * 2, (inner, width)]


def flop_share(setting: Setting, n_rows: int = 128, rounds: int = 3) -> Measurement:
    """The scorer's FLOPs per second over those of plain matrix products of the model's own shapes.

    The products are those of one layer on as many tokens as a full pass has, in the same number format. They are timed
    right before and right after each call of the scorer; the faster of the two counts.
    """
    prompts = setting.rendered(n_rows)
    options = setting.prompt.options
    engine = setting.engine

    def score() -> None:
        engine.forget()
        engine.score(prompts, options, UNCALIBRATED)

    n_flops = only_needed(lambda: count_flops(score))
    dtype = engine.model.dtype
    scorer, product = [], []
    shapes = layer_shapes(engine.model)
    n_tokens = engine.pass_tokens
    square = product_rate(dtype, engine.device)
    before = shapes_rate(shapes, n_tokens, dtype, engine.device)
    for _ in range(rounds):
        scorer.append(n_flops / seconds_of(score))
        after = shapes_rate(shapes, n_tokens, dtype, engine.device)
        product.append(max(before, after))
        before = after
    return ratio(
        "flop_share",
        [own / plain for own, plain in zip(scorer, product, strict=True)],
        goal=SHARE_GOAL,
        unit="share",
        sides={"scorer": Side("FLOP/s", tuple(scorer)), "product": Side("FLOP/s", tuple(product))},
        facts={
            "rows": len(prompts),
            "flops": n_flops,
            "dtype": str(dtype).removeprefix("torch."),
            "product_shapes": [[n_tokens, *shape] for shape in shapes],
            "square_product_flops_per_s": square,
            "square_sizes": list(SQUARES),
        },
    )
