"""Weights that are not what they should be: one clear line each, never random ones in their place."""

import json
import warnings

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from tiny import tiny_model_folder
from transformers import AutoModelForCausalLM

from labelwright.errors import ModelError
from labelwright.models.loading import load_model
from labelwright.models.weights import Adapter, Base


@pytest.fixture
def base(tmp_path):
    return tiny_model_folder(tmp_path / "base")


@pytest.fixture
def adapter(base, tmp_path):
    model = AutoModelForCausalLM.from_pretrained(base)
    tuned = get_peft_model(model, LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM"))
    with torch.no_grad():
        for name, weight in tuned.named_parameters():
            if "lora_B" in name:
                weight.normal_()
    tuned.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


def change(path, how):
    """Rewrite a safetensors file: ``how`` maps its tensors to others."""
    save_file({name: tensor.contiguous() for name, tensor in how(load_file(path)).items()}, path, {"format": "pt"})


def without(name):
    return lambda tensors: {key: value for key, value in tensors.items() if name not in key}


def renamed(old, new):
    return lambda tensors: {key.replace(old, new): value for key, value in tensors.items()}


def refused(weights, match):
    with warnings.catch_warnings(action="error"), pytest.raises(ModelError, match=match) as error:
        load_model(weights, "cpu", "float32")
    assert "\n" not in str(error.value)


def test_a_whole_adapter_is_merged(base, adapter):
    plain, merged = (load_model(one, "cpu", "float32") for one in (Base(str(base)), Adapter(str(base), adapter)))
    tensors = load_file(adapter / "adapter_model.safetensors")
    name = "model.layers.0.mlp.up_proj"
    a, b = (tensors[f"base_model.model.{name}.lora_{part}.weight"] for part in "AB")
    scale = json.loads((adapter / "adapter_config.json").read_text())["lora_alpha"] / 2
    wanted = plain.get_submodule(name).weight + scale * b @ a
    torch.testing.assert_close(merged.get_submodule(name).weight, wanted)


@pytest.mark.parametrize(
    ("how", "match"),
    [
        (without("layers.1.self_attn.q_proj"), r"base.*lacks 1 tensors \(model\.layers\.1\.self_attn\.q_proj"),
        (renamed("layers.1.mlp", "layers.1.ffn"), r"base.*lacks 3 tensors"),
        (without("norm"), r"lacks 5 tensors"),
        (without(""), r"base"),
    ],
    ids=["missing", "renamed", "norms", "empty"],
)
def test_a_checkpoint_without_some_of_its_tensors(base, how, match):
    change(base / "model.safetensors", how)
    refused(Base(str(base)), match)


def test_a_checkpoint_of_another_shape_or_damaged(base):
    change(base / "model.safetensors", lambda t: {k: v[:-1] if "up_proj" in k else v for k, v in t.items()})
    refused(Base(str(base)), "cannot be loaded")
    (base / "model.safetensors").write_bytes(b"no weights")
    refused(Base(str(base)), "cannot be loaded")


@pytest.mark.parametrize(
    ("how", "match"),
    [
        (without("layers.0.mlp.up_proj.lora_B"), r"adapter.*lacks 1 tensors \(base_model"),
        (renamed("lora_B", "lora_C"), r"lacks 14 tensors .* and holds 14 that the model has no place for"),
        (lambda t: {**t, "base_model.model.extra.lora_A.weight": torch.ones(2)}, r"holds 1 that .*extra"),
        (lambda t: {}, "holds no tensors"),
        (lambda t: {k: v * float("nan") for k, v in t.items()}, "28 of 28 tensors hold NaN or infinity"),
        (lambda t: {k: v / 0 if "layers.0.mlp.up_proj" in k else v for k, v in t.items()}, "2 of 28 tensors hold NaN"),
        (lambda t: {k: v[:-1] if "up_proj.lora_B" in k else v for k, v in t.items()}, "does not fit the model"),
    ],
    ids=["missing", "renamed", "unexpected", "empty", "nan", "inf", "shape"],
)
def test_an_adapter_that_is_not_whole(base, adapter, how, match):
    change(adapter / "adapter_model.safetensors", how)
    refused(Adapter(str(base), adapter), match)


def test_an_adapter_without_its_file(base, adapter):
    (adapter / "adapter_model.safetensors").write_bytes(b"short")
    refused(Adapter(str(base), adapter), "cannot be read")
    (adapter / "adapter_model.safetensors").unlink()
    refused(Adapter(str(base), adapter), "cannot be read")


def test_positions_turn_as_precisely_whatever_the_weights_are_kept_in(base, adapter):
    """Rounded to bfloat16, an angle of 400 is off by a radian."""
    exact = load_model(Base(str(base)), "cpu", "float32").model.rotary_emb.inv_freq
    for weights in (Base(str(base)), Adapter(str(base), adapter)):
        model = load_model(weights, "cpu", "bfloat16")
        assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
        assert torch.equal(model.model.rotary_emb.inv_freq, exact)


def test_weights_begin_where_registers_read_from_wherever_they_lie_in_their_file(base):
    """Else products are summed in another order than by who loads the model otherwise, and last digits differ."""

    def misplaced(model):
        return [name for name, weight in model.named_parameters() if weight.data_ptr() % 64]

    file = base / "model.safetensors"
    in_files = []
    for filler in ("", "8 bytes."):  # a header is filled up to eight
        save_file(load_file(file), file, {"format": "pt", "filler": filler})
        in_files += misplaced(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32))
        assert not misplaced(load_model(Base(str(base)), "cpu", "float32"))
    assert in_files
