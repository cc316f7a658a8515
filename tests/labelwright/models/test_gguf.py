import json

import numpy as np
import pytest
from tiny import tiny_model_folder

from labelwright.data.task import Label
from labelwright.engines.opening import open_engine
from labelwright.engines.settings import EngineSettings
from labelwright.errors import ModelError
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
