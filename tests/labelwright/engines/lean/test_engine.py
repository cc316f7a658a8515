"""A model without transformers: the same scores, only where it was held to transformers, and nothing heavy imported."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from tiny import tiny_tokenizer
from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config

from labelwright.bundle.store import save
from labelwright.bundle.types import Bundle
from labelwright.data.task import Label, Task
from labelwright.decide import probabilities
from labelwright.engines.lean import engine as lean
from labelwright.engines.lean.engine import LeanEngine
from labelwright.engines.lean.model import Rotary
from labelwright.engines.opening import open_engine
from labelwright.engines.settings import EngineSettings
from labelwright.engines.transformers import TransformersEngine
from labelwright.errors import ModelError
from labelwright.models.weights import Adapter, Base, Full
from labelwright.prompt import Prompt
from labelwright.statistics.calibration import Calibration

LABELS = ("pool", "water heater", "water", "fence", "hvac")
TEXTS = ["the pool is green", "<|im_end|> no hot water <|im_start|>", "my fence post broke near the gate today", "vent"]
FLOAT32 = EngineSettings(device="cpu", dtype="float32")
SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "head_dim": 8}
SIZES |= {"num_key_value_heads": 2, "initializer_range": 0.3, "max_position_embeddings": 512, "bos_token_id": None}
KINDS = {
    "llama": (LlamaConfig, {"tie_word_embeddings": True}),
    "llama with biases, untied": (LlamaConfig, {"attention_bias": True, "mlp_bias": True}),
    "mistral": (MistralConfig, {"sliding_window": None}),
    "qwen2": (Qwen2Config, {"tie_word_embeddings": True}),
    "qwen3": (Qwen3Config, {"rope_parameters": {"rope_type": "default", "rope_theta": 777.0}}),
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LABELWRIGHT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def made(folder: Path, kind: str = "llama", **more: object) -> Path:
    """A tiny model whose every tensor, biases and norms included, says something."""
    config, own = KINDS[kind]
    tokenizer = tiny_tokenizer()
    torch.manual_seed(0)
    settings = {**SIZES, **own, **more, "vocab_size": len(tokenizer)}
    model = AutoModelForCausalLM.from_config(config(**settings), trust_remote_code=False)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name or "bias" in name:
                parameter += 0.3 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def adapter(base: Path, folder: Path, **settings: object) -> Adapter:
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_pretrained(base, trust_remote_code=False)
    given = {"r": 2, "lora_alpha": 6, "target_modules": ["q_proj", "o_proj", "down_proj"], **settings}
    tuned = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **given))
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if "lora_" in name:
                parameter.copy_(0.5 * torch.randn_like(parameter))
    tuned.save_pretrained(folder)
    return Adapter(str(base), folder)


def scores(engine):
    prompt = Prompt("Name the topic.", tuple(map(Label, LABELS)), template=engine.template)
    return engine.score(prompt.render_all(TEXTS), prompt.options)


def opened(weights, settings=FLOAT32):
    return open_engine(weights, settings, to_score=True)


def changed(path: Path, **values: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.mark.parametrize("kind", KINDS)
def test_it_scores_as_transformers_does_once_it_was_held_to_it(kind, tmp_path):
    weights = Base(str(made(tmp_path / "m", kind)))
    first, second = opened(weights), opened(weights)
    assert [type(first), type(second)] == [TransformersEngine, LeanEngine]
    np.testing.assert_allclose(scores(second), scores(first), atol=1e-5)
    assert second.template == first.template
    assert second.tokens.max_tokens == first.tokens.max_tokens == 512


def test_an_adapter_is_added_as_peft_adds_it(tmp_path):
    base = made(tmp_path / "m")
    weights = adapter(base, tmp_path / "a")
    first, second, plain = opened(weights), opened(weights), open_engine(Base(str(base)), FLOAT32)
    assert isinstance(second, LeanEngine)
    np.testing.assert_allclose(scores(second), scores(first), atol=1e-5)
    assert np.abs(scores(second) - scores(plain)).max() > 0.1


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_in_half_precision_as_well(dtype, tmp_path):
    weights = Full("tiny", made(tmp_path / "m"))
    settings = EngineSettings(device="cpu", dtype=dtype)
    first, second = opened(weights, settings), opened(weights, settings)
    assert isinstance(second, LeanEngine)
    assert str(second.model.dtype) == f"torch.{dtype}"
    np.testing.assert_allclose(scores(second), scores(first), atol=0.1)


def test_what_it_cannot_do_itself_transformers_does(tmp_path):
    weights = Base(str(made(tmp_path / "m")))
    first, second = opened(weights), opened(weights)
    prompts = Prompt("Name it.", tuple(map(Label, LABELS)), template=first.template).render_all(TEXTS)
    assert second.generate(prompts, 3) == first.generate(prompts, 3)


def test_a_lean_model_that_answers_otherwise_is_never_used(tmp_path, monkeypatch):
    whole = Rotary.forward
    monkeypatch.setattr(Rotary, "forward", lambda self, hidden, at: whole(self, hidden, 2 * at))
    weights = Base(str(made(tmp_path / "m")))
    assert [type(opened(weights)) for _ in "abc"] == [TransformersEngine] * 3


def test_a_tokenizer_that_does_more_than_its_file_says_stays_with_transformers(tmp_path, monkeypatch):
    real = lean.LeanTokenizer.encode
    monkeypatch.setattr(lean.LeanTokenizer, "encode", lambda self, text, **more: [*real(self, text), 3])
    weights = Base(str(made(tmp_path / "m")))
    assert [type(opened(weights)) for _ in "ab"] == [TransformersEngine] * 2


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json", "adapter_config.json"])
def test_other_settings_are_another_model(file, tmp_path):
    base = made(tmp_path / "m")
    weights = adapter(base, tmp_path / "a")
    opened(weights)
    changed((weights.folder if file.startswith("adapter") else base) / file, anything="else")
    assert type(opened(weights)) is TransformersEngine


def test_another_version_of_a_library_is_asked_anew(tmp_path, monkeypatch):
    weights = Base(str(made(tmp_path / "m")))
    opened(weights)
    monkeypatch.setattr("labelwright.engines.lean.known.version", lambda library: "0.1")
    assert type(opened(weights)) is TransformersEngine


def test_files_that_were_damaged_since_are_refused_as_ever(tmp_path):
    base = made(tmp_path / "m")
    opened(Base(str(base)))
    tensors = load_file(base / "model.safetensors")
    tensors.pop("model.layers.1.mlp.up_proj.weight")
    save_file(tensors, base / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match="lacks 1 tensors"):
        opened(Base(str(base)))


@pytest.mark.parametrize("damage", ["nothing", "{", '{"lean": true}'])
def test_what_is_remembered_and_cannot_be_read_is_found_out_again(damage, tmp_path, cache):
    weights = Base(str(made(tmp_path / "m")))
    opened(weights)
    (place,) = (cache / "known").glob("*.json")
    place.unlink() if damage == "nothing" else place.write_text(damage)
    assert [type(opened(weights)) for _ in "ab"] == [TransformersEngine, LeanEngine]


def test_a_cache_that_cannot_be_written_to_costs_the_memory_only(tmp_path, cache):
    weights = Base(str(made(tmp_path / "m")))
    cache.write_text("a file where a folder should be")
    assert [type(opened(weights)) for _ in "ab"] == [TransformersEngine] * 2


def test_a_process_answers_without_transformers(tmp_path):
    base = made(tmp_path / "m")
    engine = open_engine(Base(str(base)), FLOAT32)
    task = Task("topics", "Name the topic.", tuple(map(Label, LABELS)))
    weights = adapter(base, tmp_path / "a")
    made_of = Bundle(task, Prompt.for_task(task, engine.template), weights, Calibration())
    bundle = save(made_of, tmp_path / "bundle")
    opened(bundle.weights, EngineSettings())
    script = (
        "import sys; from labelwright import cli; status = cli.main(sys.argv[1:]); "
        "sys.exit(status or 10 * bool({'transformers', 'peft'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", script, "predict", str(tmp_path / "bundle"), TEXTS[0], "--json"]
    command += ["--dtype", "float32"]  # as this process has it where nobody says
    environment = {**os.environ, "LABELWRIGHT_LOCAL_MODELS": str(base)}
    said = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert said.returncode == 0, said.stderr
    answered = json.loads(said.stdout)["probabilities"].values()
    np.testing.assert_allclose(list(answered), probabilities(bundle, open_engine(weights), TEXTS[:1])[0], atol=1e-5)
