import json

import numpy as np
import pytest
from tiny import tiny_model_folder

from labelwright.data.task import Label
from labelwright.engines.opening import open_engine
from labelwright.engines.settings import EngineSettings
from labelwright.errors import MissingExtraError, ModelError
from labelwright.models.folders import folder_from_gguf
from labelwright.models.weights import Base
from labelwright.prompt import Prompt

gguf_file = pytest.importorskip("labelwright.models.gguf", reason="gguf is not installed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_model_folder(tmp_path_factory.mktemp("tiny"))


def test_a_file_is_written_once_for_the_same_content(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(gguf_file, "cache_dir", lambda: tmp_path)
    first = gguf_file.cached_gguf(folder, "f16")
    written = first.stat().st_mtime_ns
    assert gguf_file.cached_gguf(folder, "f16") == first
    assert first.stat().st_mtime_ns == written
    assert gguf_file.cached_gguf(folder, "f32") != first
    assert sorted(path.suffix for path in (tmp_path / "gguf").iterdir()) == [".gguf", ".gguf"], "nothing unfinished"


def test_every_tensor_and_token_is_there(folder, tmp_path):
    import gguf

    gguf_file.write_gguf(folder, tmp_path / "m.gguf", "f32")
    reader = gguf.GGUFReader(tmp_path / "m.gguf")
    config = json.loads((folder / "config.json").read_text())
    assert len(reader.tensors) == 2 + 9 * config["num_hidden_layers"]
    assert len(reader.fields["tokenizer.ggml.tokens"].data) == config["vocab_size"]


@pytest.mark.parametrize("arch", ["llama", "qwen3"])
def test_llama_cpp_reads_what_was_written(arch, tmp_path):
    pytest.importorskip("xllamacpp", reason="xllamacpp is not installed")
    from labelwright.engines.llamacpp import LlamaCppEngine

    folder = tiny_model_folder(tmp_path / arch, arch)
    inner = open_engine(Base(str(folder)), EngineSettings(device="cpu", dtype="float32"))
    gguf_file.write_gguf(folder, tmp_path / "m.gguf", "f32")
    engine = LlamaCppEngine(tmp_path / "m.gguf", inner.tokenizer, "tiny", exact=True)
    prompt = Prompt("Name it.", tuple(map(Label, ("pool", "fence", "water heater"))), template=inner.template)
    prompts = prompt.render_all(["the pool is green", "no hot water"])
    np.testing.assert_allclose(engine.score(prompts, prompt.options), inner.score(prompts, prompt.options), atol=1e-3)
    assert engine.generate(prompts, 4) == inner.generate(prompts, 4)
    assert set(engine.decode(prompts, prompt.options)) <= set(prompt.options)
    assert engine.count_tokens("water heater") == inner.count_tokens("water heater")


def test_a_folder_made_of_a_file_answers_as_the_model_did(folder, tmp_path):
    gguf_file.write_gguf(folder, tmp_path / "m.gguf", "f32")
    folder_from_gguf(tmp_path / "m.gguf", tmp_path / "made" / "model")
    given, made = (
        open_engine(Base(str(one)), EngineSettings(device="cpu", dtype="float32"))
        for one in (folder, tmp_path / "made" / "model")
    )
    prompt = Prompt("Name it.", tuple(map(Label, ("pool", "fence", "water heater"))), template=given.template)
    prompts = prompt.render_all(["the pool is green", "no hot water"])
    assert made.template == given.template
    # The weights were rounded to bfloat16.
    np.testing.assert_allclose(made.score(prompts, prompt.options), given.score(prompts, prompt.options), atol=0.3)
    with pytest.raises(ModelError, match="is there already; name a folder that is not"):
        folder_from_gguf(tmp_path / "m.gguf", tmp_path / "made" / "model")


def test_a_tokenizer_that_ends_answers_otherwise_than_its_file_is_refused(folder, tmp_path, monkeypatch):
    """As transformers 5.17 made one of SmolLM2's file."""
    from transformers import AutoTokenizer

    def wrong(*given, real=AutoTokenizer.from_pretrained, **named):
        tokenizer = real(*given, **named)
        if "gguf_file" in named:
            tokenizer.eos_token = tokenizer.convert_ids_to_tokens(5)
        return tokenizer

    gguf_file.write_gguf(folder, tmp_path / "m.gguf", "f32")
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", wrong)
    with pytest.raises(
        ModelError, match=r"^m.gguf: transformers .+ answers end with token 5, not \d+ as the file says"
    ):
        folder_from_gguf(tmp_path / "m.gguf", tmp_path / "made")
    assert not (tmp_path / "made").exists()


def test_what_is_no_gguf_is_refused_in_one_line_and_leaves_nothing(tmp_path):
    with pytest.raises(ModelError, match="there is no such file"):
        folder_from_gguf(tmp_path / "none.gguf", tmp_path / "model")
    (tmp_path / "other.gguf").write_bytes(b"something else")
    with pytest.raises(ModelError, match=r"other.gguf: cannot be read as a GGUF language model \(.+\)$"):
        folder_from_gguf(tmp_path / "other.gguf", tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["other.gguf"]


def tensors(path):
    import gguf

    return {one.name: one for one in gguf.GGUFReader(path).tensors}


def test_four_bits_are_the_mixture_of_that_name(tmp_path):
    """As llama.cpp: six bits for the embedding that is the output too, and for some values and down projections."""
    pytest.importorskip("libgguf", reason="libgguf is not installed")
    import gguf
    from safetensors.numpy import load_file

    folder = tiny_model_folder(tmp_path / "wide", width=256)
    gguf_file.write_gguf(folder, tmp_path / "m.gguf", "q4_k_m")
    found = {name: one.tensor_type.name for name, one in tensors(tmp_path / "m.gguf").items()}
    assert found["token_embd.weight"] == "Q6_K"
    assert found["output_norm.weight"] == "F32"
    # Two layers: n / 8 is 0, so the second is beyond seven eighths, and no third one lies between.
    assert [found[f"blk.{layer}.ffn_down.weight"] for layer in (0, 1)] == ["Q4_K", "Q6_K"]
    assert [found[f"blk.{layer}.attn_v.weight"] for layer in (0, 1)] == ["Q4_K", "Q6_K"]
    assert {found[f"blk.{layer}.{one}.weight"] for layer in (0, 1) for one in ("attn_q", "ffn_up")} == {"Q4_K"}
    exact = load_file(folder / "model.safetensors")["model.layers.0.mlp.up_proj.weight"]
    packed = tensors(tmp_path / "m.gguf")["blk.0.ffn_up.weight"]
    near = gguf.quants.dequantize(packed.data, packed.tensor_type)
    assert 0 < np.abs(near - exact).max() < 0.12 * np.abs(exact).max()


def test_rows_that_fill_no_block_get_the_next_larger_format(folder, tmp_path):
    pytest.importorskip("libgguf", reason="libgguf is not installed")
    gguf_file.write_gguf(folder, tmp_path / "m.gguf", "q4_k_m")
    found = {one.tensor_type.name for one in tensors(tmp_path / "m.gguf").values()}
    assert found == {"F32", "Q5_0", "Q8_0"}


def test_four_bits_without_their_library_are_refused(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(gguf_file, "libgguf", None)
    with pytest.raises(MissingExtraError, match=r'4-bit GGUF needs libgguf: pip install "labelwright\[llamacpp\]"'):
        gguf_file.write_gguf(folder, tmp_path / "m.gguf", "q4_k_m")
    assert not list(tmp_path.iterdir())


def test_metadata_beside_the_models_own(folder, tmp_path):
    import gguf

    gguf_file.write_gguf(folder, tmp_path / "m.gguf", "f32", {"{arch}.a.b": "é {{", "c": 1.5})
    fields = gguf.GGUFReader(tmp_path / "m.gguf").fields
    assert fields["llama.a.b"].contents() == "é {{"
    assert fields["c"].contents() == 1.5


WORDS = gguf_file._WORDS + r"\p{N}" + gguf_file._REST
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}


@pytest.mark.parametrize(
    ("steps", "rule"),
    [
        ([{**BYTES, "use_regex": True}], "gpt-2"),
        ([{"type": "Digits", "individual_digits": True}, {**BYTES, "use_regex": True}], "smollm"),
        ([{"type": "Split", "pattern": {"Regex": WORDS}, "behavior": "Isolated"}, BYTES], "qwen2"),
        ([{"type": "Split", "pattern": {"Regex": WORDS.replace("p{N}|", "p{N}{1,3}|")}}, BYTES], "llama-bpe"),
        ([{"type": "Split", "pattern": {"Regex": "a+"}}, BYTES], None),
        ([{**BYTES, "use_regex": True, "add_prefix_space": True}], None),
        ([BYTES], None),
    ],
)
def test_how_a_tokenizer_splits_text_has_a_name_or_none(steps, rule):
    assert gguf_file.split_rule({"pre_tokenizer": {"type": "Sequence", "pretokenizers": steps}}) == rule
    if len(steps) == 1:
        assert gguf_file.split_rule({"pre_tokenizer": steps[0]}) == rule


def test_what_cannot_be_written_is_refused(folder, tmp_path):
    with pytest.raises(ModelError, match="GGUF kind 'q2'"):
        gguf_file.write_gguf(folder, tmp_path / "m.gguf", "q2")
    with pytest.raises(ModelError, match=r"config\.json: not there"):
        gguf_file.write_gguf(tmp_path, tmp_path / "m.gguf", "f32")
    other = tiny_model_folder(tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "model_type": "mamba"}))
    with pytest.raises(ModelError, match="'mamba' cannot be written"):
        gguf_file.write_gguf(other, tmp_path / "m.gguf", "f32")
    assert not list(tmp_path.glob("*.gguf"))
