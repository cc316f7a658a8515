"""All engines, the same prompts and options, one slow reference."""

import os
from functools import partial

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from model_server import ModelServer, serving
from tiny import tiny_model_folder

from labelwright.data.task import Label
from labelwright.engines import transformers
from labelwright.engines.opening import open_engine
from labelwright.engines.passes import room
from labelwright.engines.settings import EngineSettings
from labelwright.errors import DataError
from labelwright.models.weights import Base
from labelwright.prompt import Prompt

from conformance import CASES, Case, check, reference  # isort: skip

FLOAT32 = EngineSettings(device="cpu", dtype="float32")


@pytest.fixture(scope="module", params=["llama", "qwen3"])
def engine(request, tmp_path_factory):
    folder = tiny_model_folder(tmp_path_factory.mktemp(request.param), request.param)
    return open_engine(Base(str(folder)), FLOAT32)


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return tiny_model_folder(tmp_path_factory.mktemp("llama"), "llama")


def of(engine):
    return partial(reference, engine.model, engine.tokens)


# --- transformers, in several ways of cutting the work ---------------------------------------------------------------


@pytest.mark.parametrize("pack_tokens", [16, 1024])
@pytest.mark.parametrize("round_tokens", [0, 48])
@pytest.mark.parametrize("name", CASES)
def test_transformers(engine, name, pack_tokens, round_tokens, monkeypatch):
    if name == "255 labels" and (pack_tokens, round_tokens) != (1024, 0):
        pytest.skip("the slowest reference once")
    monkeypatch.setitem(room.PACK_TOKENS, "cpu", pack_tokens)
    monkeypatch.setitem(transformers.ROUND_TOKENS, "cpu", round_tokens)
    check(engine, CASES[name], of(engine))


def test_transformers_in_small_groups(engine, monkeypatch):
    monkeypatch.setattr(room, "KEPT_BYTES", 1)
    monkeypatch.setitem(room.PACK_TOKENS, "cpu", 32)
    check(engine, CASES["short and long rows"], of(engine))


words = st.text(alphabet="abpoolwater héß水🙂\"',", min_size=1, max_size=12).map(str.strip).filter(bool)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(words, min_size=1, max_size=6, unique=True),
    st.lists(st.text(max_size=30), min_size=1, max_size=4),
)
def test_any_labels_and_rows(engine, labels, texts):
    try:
        engine.tokens.tree([f" {label}" for label in labels])
    except DataError:
        return  # two labels of the same tokens, which is refused and tested below
    check(engine, Case(tuple(labels), tuple(texts)), of(engine))


def test_options_of_the_same_tokens_are_refused(engine):
    prompt = Prompt("Name it.", (Label("pool"), Label("fence")), template=engine.template)
    for options in ([" pool", " pool"], [" pool", ""]):
        with pytest.raises(DataError, match="give each label its own name"):
            engine.score([prompt.render("x")], options)


def test_no_rows_no_scores(engine):
    assert engine.score([], (" pool", " fence")).shape == (0, 2)


# --- vLLM, through a server that answers as it does ------------------------------------------------------------------


@pytest.fixture(scope="module")
def vllm(llama):
    pytest.importorskip("openai")
    inner = open_engine(Base(str(llama)), FLOAT32)
    with serving(ModelServer(inner, str(llama))) as url:
        yield open_engine(Base(str(llama)), EngineSettings(backend="vllm", url=url)), inner


@pytest.mark.parametrize("name", [name for name in CASES if name not in ("255 labels", "twelve tokens")])
def test_vllm(vllm, name):
    engine, inner = vllm
    check(engine, CASES[name], of(inner))


@pytest.fixture(scope="module")
def real_vllm():
    """A vLLM that serves smollm2 in float32: `DTYPE=float32 make vllm-server`."""
    settings = EngineSettings(backend="vllm", url=os.environ["LABELWRIGHT_VLLM_URL"])
    return open_engine(Base("smollm2"), settings), open_engine(Base("smollm2"), FLOAT32)


@pytest.mark.real
@pytest.mark.skipif("LABELWRIGHT_VLLM_URL" not in os.environ, reason="LABELWRIGHT_VLLM_URL names no running vLLM")
@pytest.mark.parametrize("name", [name for name in CASES if name != "255 labels"])
def test_vllm_itself(real_vllm, name):
    engine, inner = real_vllm
    check(engine, CASES[name], inner.score)


# --- llama.cpp -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def llamacpp(llama, tmp_path_factory):
    pytest.importorskip("xllamacpp", reason="xllamacpp is not installed")
    from labelwright.engines.llamacpp import LlamaCppEngine
    from labelwright.models.gguf import write_gguf

    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    write_gguf(llama, path, "f32")
    inner = open_engine(Base(str(llama)), FLOAT32)
    return LlamaCppEngine(path, inner.tokenizer, "tiny", EngineSettings(backend="llamacpp"), exact=True), inner


@pytest.mark.parametrize("name", [name for name in CASES if name not in ("255 labels", "twelve tokens")])
def test_llamacpp(llamacpp, name):
    engine, inner = llamacpp
    check(engine, CASES[name], of(inner))


@pytest.fixture(scope="module")
def real_llamacpp():
    pytest.importorskip("xllamacpp", reason="xllamacpp is not installed")
    settings = EngineSettings(backend="llamacpp", dtype="float32")
    return open_engine(Base("smollm2"), settings), open_engine(Base("smollm2"), FLOAT32)


@pytest.mark.real
@pytest.mark.parametrize("name", ["prefixes of one another", "emoji", "single tokens"])
def test_llamacpp_on_the_real_model(real_llamacpp, name):
    engine, inner = real_llamacpp
    check(engine, CASES[name], inner.score)


# --- OpenAI-compatible endpoints: the winner only --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["two labels", "quotes and commas", "other scripts", "emoji", "an empty row"])
def test_openai_names_the_same_winner(llama, name):
    pytest.importorskip("openai")
    inner = open_engine(Base(str(llama)), FLOAT32)
    with serving(ModelServer(inner, "tiny")) as url:
        engine = open_engine(Base("tiny"), EngineSettings(backend="openai", url=url))
        prompts, options = CASES[name].prompts(inner.template)
        scores = engine.score([prompt._replace(user=prompt.user or " ") for prompt in prompts], options)
    np.testing.assert_allclose(np.exp(scores).sum(axis=1), 1)
    spaced = [prompt._replace(user=prompt.user or " ") for prompt in prompts]
    wanted = inner.score([one._replace(user=one.user.strip()) for one in spaced], options)
    assert (scores.argmax(axis=1) == wanted.argmax(axis=1)).all()
