"""The lean decoder against the transformers model, and packed linear layers against plain ones."""

import pytest
import torch
from tiny import tiny_model
from torch import nn

from labelwright.engines.options.tree import OptionTree
from labelwright.engines.packed.decoder import (
    HubDecoder,
    LeanDecoder,
    PackedLinear,
    encode_prefix,
    open_decoder,
    pack_linears,
)
from labelwright.engines.packed.interface import ATTENTION
from labelwright.engines.packed.packing import Row, pack

TREE = OptionTree.build([[5, 6, 2], [5, 7, 2], [8, 2], [9, 10, 11, 2]])
ROWS = [Row([3, 4, 5, 6], TREE), Row([7], TREE), Row(list(range(20, 43)), TREE)]
has_packing = hasattr(torch.ops.mkldnn, "_reorder_linear_weight")


@pytest.fixture(scope="module", params=["llama", "qwen3"])
def model(request):
    model = tiny_model(request.param)
    model.set_attn_implementation(ATTENTION)
    return model


def passes(prefix_length):
    """Decoder -> hidden states of a pass over ROWS behind a prefix that it encodes itself."""

    def run(decoder, places=None):
        prefix = encode_prefix(decoder, tuple(range(100, 100 + prefix_length))) if prefix_length else None
        packed = pack(ROWS, prefix=prefix)
        n = packed.input_ids.shape[1] - packed.layout.n_filler
        with torch.inference_mode():
            hidden = decoder(packed, places)
        return hidden if places is not None else hidden[:n]

    return run


@pytest.mark.parametrize("prefix_length", [0, 5, 200])
def test_the_lean_decoder_equals_the_transformers_model(model, prefix_length):
    run = passes(prefix_length)
    torch.testing.assert_close(
        run(LeanDecoder(model.get_decoder())), run(HubDecoder(model.get_decoder())), atol=2e-5, rtol=1e-4
    )


def test_only_the_places_that_are_read_come_back(model):
    run, places = passes(5), torch.tensor([0, 7, 3])
    for decoder in (LeanDecoder(model.get_decoder()), HubDecoder(model.get_decoder())):
        torch.testing.assert_close(run(decoder, places), run(decoder)[places], atol=2e-5, rtol=1e-4)


def test_other_families_go_through_transformers(model):
    assert isinstance(open_decoder(model), LeanDecoder)
    model.config.hidden_act, kept = "gelu", model.config.hidden_act
    try:
        assert isinstance(open_decoder(model), HubDecoder)
    finally:
        model.config.hidden_act = kept


@pytest.mark.skipif(not has_packing, reason="this torch has no packed linear layers")
@pytest.mark.parametrize("bias", [False, True])
def test_packed_linear_layers_multiply_as_plain_ones(bias):
    torch.manual_seed(0)
    linear = nn.Linear(48, 32, bias=bias).bfloat16()
    packed = PackedLinear(linear)
    x, other = torch.randn(13, 48).bfloat16(), torch.randn(13, 32).bfloat16()
    with torch.inference_mode():
        plain = linear(x)
        torch.testing.assert_close(packed(x), plain, atol=0.02, rtol=0.02)
        torch.testing.assert_close(packed.silu(x), nn.functional.silu(plain), atol=0.02, rtol=0.02)
        torch.testing.assert_close(packed.with_other(x, other, "add"), plain + other, atol=0.03, rtol=0.02)
        torch.testing.assert_close(packed.with_other(x, other, "mul"), plain * other, atol=0.03, rtol=0.02)


@pytest.mark.skipif(not has_packing, reason="this torch has no packed linear layers")
def test_a_packed_model_has_no_second_copy_of_its_weights_and_answers_the_same():
    plain, packed = (tiny_model("llama").bfloat16() for _ in range(2))
    pack_linears(packed)
    linear = [m for m in packed.get_decoder().modules() if type(m) is nn.Linear]
    assert linear == []
    for model in (plain, packed):
        model.set_attn_implementation(ATTENTION)
    run = passes(5)
    torch.testing.assert_close(
        run(LeanDecoder(packed.get_decoder())), run(LeanDecoder(plain.get_decoder())), atol=0.1, rtol=0.05
    )


def test_a_float32_model_stays_as_it_is():
    model = tiny_model("llama")
    before = [type(m) for m in model.modules()]
    pack_linears(model)
    assert [type(m) for m in model.modules()] == before
