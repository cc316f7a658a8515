"""Which models are read without transformers: only what is plainly one of them, to the last tensor and setting."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import tiny_model_folder

from labelwright.engines.lean import model as lean
from labelwright.engines.lean.model import NotLeanError, lean_folder, load_lean
from labelwright.models.weights import Adapter, Base

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return tiny_model_folder(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def folder(tiny, tmp_path):
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((tiny / name).read_bytes())
    return tmp_path


def load(folder, weights=None):
    return load_lean(weights or Base(str(folder)), folder, CPU, torch.float32)


def changed(path, **values):
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.mark.parametrize(
    "odd",
    [
        {"model_type": "gemma2"},
        {"architectures": ["LlamaForSequenceClassification"]},
        {"hidden_act": "gelu"},
        {"layer_types": ["full_attention", "sliding_attention"]},
        {"model_type": "mistral", "architectures": ["MistralForCausalLM"], "sliding_window": 8},
        {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "sliding_window": 8, "use_sliding_window": True},
        {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4, "factor": 2.0}},
        {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5}},
        {"rope_scaling": {"type": "linear", "factor": 2.0}},
        {"quantization_config": {"bits": 4}},
        {"num_hidden_layers": 1},
        {"num_hidden_layers": 3},
        {"vocab_size": 7},
        {"rms_norm_eps": None},
    ],
    ids=str,
)
def test_another_kind_of_model_is_not_read(folder, odd):
    load(folder)
    changed(folder / "config.json", **odd)
    with pytest.raises(NotLeanError):
        load(folder)


def _without(tensors):
    tensors.pop("model.norm.weight")


def _with(tensors):
    tensors["model.layers.0.self_attn.extra.weight"] = torch.zeros(2)


def _whole_numbers(tensors):
    tensors["model.norm.weight"] = tensors["model.norm.weight"].to(torch.int8)


@pytest.mark.parametrize("how", [_without, _with, _whole_numbers])
def test_every_tensor_has_its_place(folder, how):
    tensors = load_file(folder / "model.safetensors")
    how(tensors)
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(NotLeanError):
        load(folder)


def test_several_files_are_one_model_and_an_index_names_no_files_elsewhere(folder):
    tensors = load_file(folder / "model.safetensors")
    names = sorted(tensors)
    half = {name: f"model-{int(name > names[5])}.safetensors" for name in names}
    for file in set(half.values()):
        save_file({name: tensors[name] for name in names if half[name] == file}, folder / file)
    (folder / "model.safetensors").unlink()
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": half}))
    assert torch.equal(load(folder).model.norm.weight, tensors["model.norm.weight"])
    index.write_text(json.dumps({"weight_map": {**half, names[0]: f"../{folder.name}/model-0.safetensors"}}))
    with pytest.raises(NotLeanError, match="elsewhere"):
        load(folder)


PLAIN = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"], "init_lora_weights": True}


@pytest.mark.parametrize(
    "odd",
    [
        {"peft_type": "IA3"},
        {"use_dora": True},
        {"use_rslora": True},
        {"bias": "all"},
        {"rank_pattern": {"q_proj": 4}},
        {"modules_to_save": ["lm_head"]},
        {"init_lora_weights": "pissa"},
        {"fan_in_fan_out": True},
        {"target_modules": ".*q_proj"},
        {"target_modules": ["q_proj", "v_proj"]},
        {"target_modules": ["k_proj"]},
        {"something_new": 1},
    ],
    ids=str,
)
def test_an_adapter_of_another_kind_is_not_added(folder, odd):
    place = folder / "adapter"
    place.mkdir()
    name = "base_model.model.model.layers.{}.self_attn.q_proj.lora_{}.weight"
    shapes = {"A": (2, 32), "B": (32, 2)}
    tensors = {name.format(layer, part): torch.ones(shapes[part]) for layer in (0, 1) for part in "AB"}
    save_file(tensors, place / "adapter_model.safetensors")
    (place / "adapter_config.json").write_text(json.dumps(PLAIN))
    weights = Adapter(str(folder), place)
    before, after = load(folder), load(folder, weights)
    moved = after.model.layers[0].self_attn.q_proj.weight - before.model.layers[0].self_attn.q_proj.weight
    # (4 / 2) B A of ones of rank 2.
    torch.testing.assert_close(moved, torch.full((32, 32), 4.0))
    changed(place / "adapter_config.json", **odd)
    with pytest.raises(NotLeanError):
        load(folder, weights)


def test_what_a_hub_would_have_to_find_or_takes_long_to_read_is_left_to_transformers(folder, monkeypatch):
    assert lean_folder(Base(str(folder))) == folder
    with pytest.raises(NotLeanError, match="huggingface_hub"):
        lean_folder(Base("Qwen/Qwen3-0.6B"))
    monkeypatch.setattr(lean, "MOST_BYTES", 100)
    with pytest.raises(NotLeanError, match="bytes"):
        lean_folder(Base(str(folder)))
