"""The engines that ask a server: what they send, what they make of refusals, and errors in one line."""

import numpy as np
import pytest
from model_server import ModelServer, serving
from tiny import tiny_model_folder

from labelwright.data.task import Label
from labelwright.engines.coalesce import CoalescingEngine
from labelwright.engines.one_hot import unanswered
from labelwright.engines.opening import open_engine
from labelwright.engines.protocol import has_probabilities, n_invalid
from labelwright.engines.settings import EngineSettings
from labelwright.errors import DataError, ModelError
from labelwright.models.weights import Adapter, Base, Full
from labelwright.prompt import Prompt

pytest.importorskip("openai")

LABELS = ("pool", "water heater", "fence")
TEXTS = ["the pool is green", "no hot water", "my fence post broke near the gate today"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_model_folder(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def inner(folder):
    return open_engine(Base(str(folder)), EngineSettings(device="cpu", dtype="float32"))


@pytest.fixture
def server(inner, folder):
    return ModelServer(inner, str(folder))


@pytest.fixture(autouse=True)
def no_key(monkeypatch):
    for name in ("LABELWRIGHT_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def prompt(inner):
    return Prompt("Name the topic.", tuple(map(Label, LABELS)), template=inner.template)


def vllm(folder, url, **settings):
    return open_engine(Base(str(folder)), EngineSettings(backend="vllm", url=url, **settings))


def chat(name, url, **settings):
    return open_engine(Base(str(name)), EngineSettings(backend="openai", url=url, **settings))


# --- vLLM -------------------------------------------------------------------------------------------------------------


def test_vllm_is_asked_for_many_rows_at_once_and_only_for_what_matters(server, folder, prompt):
    texts = [f"{text} {n}" for n in range(10) for text in TEXTS]
    with serving(server) as url:
        engine = vllm(folder, url)
        engine.score(prompt.render_all(texts), prompt.options)
    first = [body for body in server.requests if len(body["logprob_token_ids"]) == 3]
    assert max(len(body["prompt"]) for body in first) == 16
    assert sum(len(body["prompt"]) for body in first) == len(texts)
    assert {body["max_tokens"] for body in server.requests} == {1}


def test_vllm_without_log_probabilities_names_winners(server, folder, prompt, inner):
    server.logprobs = False
    with serving(server) as url:
        engine = vllm(folder, url)
        scores = engine.score(prompt.render_all(TEXTS), prompt.options)
        assert not has_probabilities(engine)
        np.testing.assert_allclose(np.exp(scores).sum(axis=1), 1)
        asked = len(server.requests)
        engine.score(prompt.render_all(TEXTS), prompt.options)
    assert all("structured_outputs" in body for body in server.requests[asked:]), "it is not asked again"
    assert has_probabilities(inner)


def test_vllm_generates_and_counts_tokens(server, folder, prompt, inner):
    with serving(server) as url:
        engine = vllm(folder, url)
        assert engine.generate(prompt.render_all(TEXTS), 3) == inner.generate(prompt.render_all(TEXTS), 3)
        assert engine.count_tokens("water heater") == inner.count_tokens("water heater")


def test_vllm_reads_the_servers_context(server, folder, prompt):
    server.max_model_len = 64
    long = prompt.render_all(["pool", "gate " * 60])
    with serving(server) as url:
        with pytest.raises(DataError, match=r"row 2 .*at most 64"):
            vllm(folder, url).score(long, prompt.options)
        engine = vllm(folder, url, long_rows="head_tail")
        assert np.isfinite(engine.score(long, prompt.options)).all()
    assert engine.n_shortened == 1


def test_vllm_that_serves_something_else_is_refused(server, folder):
    server.name = "other"
    with serving(server) as url:
        with pytest.raises(ModelError, match="serves other, not"):
            vllm(folder, url)
        adapter = Adapter("other", folder)
        with pytest.raises(ModelError, match="merge the adapter"):
            open_engine(adapter, EngineSettings(backend="vllm", url=url))


# --- OpenAI-compatible ------------------------------------------------------------------------------------------------


def test_openai_asks_for_an_enumeration(server, folder, prompt):
    with serving(server) as url:
        engine = chat(folder, url)
        scores = engine.score(prompt.render_all(TEXTS), prompt.options)
    schema = server.requests[0]["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["label"]["enum"] == list(LABELS)
    assert [message["role"] for message in server.requests[0]["messages"]] == ["system", "user"]
    assert scores.shape == (3, 3)
    assert not has_probabilities(engine)
    assert engine.n_invalid == 0


def test_openai_goes_on_in_plain_text_where_structure_is_refused(server, folder, prompt):
    server.json_schema = False
    server.says = " fence\n"
    with serving(server) as url:
        engine = chat(folder, url)
        assert (engine.score(prompt.render_all(TEXTS), prompt.options).argmax(axis=1) == 2).all()
    assert engine.n_invalid == 0


def test_an_invented_label_gets_no_score_of_its_own(server, folder, prompt):
    server.says = "swimming"
    with serving(server) as url:
        engine = chat(folder, url)
        scores = engine.score(prompt.render_all(TEXTS), prompt.options)
        with CoalescingEngine(engine) as shared:
            shared.score(prompt.render_all(TEXTS[:1]), prompt.options)
            assert n_invalid(shared) == n_invalid(engine) == 4
        assert n_invalid(server.engine) == 0
    np.testing.assert_allclose(np.exp(scores), 1 / 3)
    assert unanswered(scores).all()
    assert engine.n_invalid == 4


@pytest.mark.parametrize("json_schema", [True, False])
def test_an_answer_is_read_where_its_meaning_is_plain(server, folder, prompt, json_schema):
    server.json_schema = json_schema
    server.says = '<think>\n\n</think>\n\n{"label": "Fence."}'
    with serving(server) as url:
        engine = chat(folder, url)
        assert (engine.score(prompt.render_all(TEXTS), prompt.options).argmax(axis=1) == 2).all()
    assert engine.n_invalid == 0


@pytest.mark.parametrize("change", ["cut", "empty", "none", "parts"])
def test_what_a_server_leaves_out_or_cuts_is_no_answer(server, folder, prompt, change, monkeypatch):
    server.says = "fence"
    answer = server.answer

    def changed(path, body):
        status, said = answer(path, body)
        if path.endswith("/completions"):
            choice = said["choices"][0]
            if change == "cut":
                choice["finish_reason"] = "length"
            elif change == "empty":
                said["choices"] = []
            else:
                choice["message"]["content"] = None if change == "none" else [{"type": "text", "text": "fence"}]
        return status, said

    monkeypatch.setattr(server, "answer", changed)
    with serving(server) as url:
        engine = chat(folder, url)
        scores = engine.score(prompt.render_all(TEXTS[:1]), prompt.options)
    assert unanswered(scores).tolist() == [change != "parts"]
    assert engine.n_invalid == (change != "parts")


def test_a_vllm_choice_may_come_in_other_words_but_must_be_one(server, folder, prompt, monkeypatch):
    server.logprobs = False
    with serving(server) as url:
        engine = vllm(folder, url)
        monkeypatch.setattr(engine, "_complete", lambda *a, **k: ["Fence.", " water heater", "pool"])
        assert engine.chosen(prompt.render_all(TEXTS), prompt.options).tolist() == [2, 1, 0]
        monkeypatch.setattr(engine, "_complete", lambda *a, **k: ["a pond"])
        with pytest.raises(ModelError, match="answered 'a pond', which is none of the choices"):
            engine.chosen(prompt.render_all(TEXTS[:1]), prompt.options)


def test_a_row_too_long_for_the_endpoint_is_named(server, folder, prompt):
    with serving(server) as url, pytest.raises(DataError, match=r"row 2 .*too long"):
        chat(folder, url).score(prompt.render_all(["pool", "gate " * 600]), prompt.options)


# --- both -------------------------------------------------------------------------------------------------------------


def test_a_failing_server_is_tried_again(server, folder, prompt):
    server.fail = 2
    with serving(server) as url:
        assert chat(folder, url).score(prompt.render_all(TEXTS[:1]), prompt.options).shape == (1, 3)


@pytest.mark.parametrize("opened", [vllm, chat])
def test_nobody_there(opened, folder):
    with pytest.raises(ModelError, match="cannot be reached: start the server"):
        opened(folder, "http://127.0.0.1:9/v1")


@pytest.mark.parametrize("opened", [vllm, chat])
def test_the_key_comes_from_the_environment(opened, server, folder, monkeypatch):
    server.key = "secret-word"
    with serving(server) as url:
        with pytest.raises(ModelError, match="refuses the key: set LABELWRIGHT_API_KEY") as refused:
            opened(folder, url)
        assert "secret-word" not in str(refused.value)
        monkeypatch.setenv("LABELWRIGHT_API_KEY", "secret-word")
        assert opened(folder, url).name == str(folder)


def test_a_server_that_repeats_the_key_is_told_without_it(monkeypatch):
    import httpx
    import openai

    from labelwright.engines.servers.http import reason

    monkeypatch.setenv("LABELWRIGHT_API_KEY", "secret-word")
    response = httpx.Response(500, request=httpx.Request("POST", "http://127.0.0.1:9"))
    error = openai.APIStatusError("Bearer secret-word\nfailed", response=response, body=None)
    assert reason(error) == "Bearer *** failed"


def test_what_an_endpoint_cannot_do_is_said(folder):
    with pytest.raises(ModelError, match="needs the server's url"):
        chat(folder, "")
    with pytest.raises(ModelError, match="cannot count tokens"):
        chat(folder, "http://127.0.0.1:9/v1", long_rows="head")
    with pytest.raises(ModelError, match="serve the tuned weights"):
        open_engine(Full("x", folder), EngineSettings(backend="openai", url="http://127.0.0.1:9/v1"))
