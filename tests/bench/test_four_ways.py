"""The four ways: each asks over HTTP what it says it asks, and the table is of the rows that were asked."""

from __future__ import annotations

import json

import numpy as np
import openai
import pytest
from fakes import toy_examples, toy_task
from model_server import ModelServer
from model_server import serving as model_serving
from serving import model_bundle, running
from serving import served as served_models

from bench import four_ways
from bench.four_ways import FREE, GRAMMAR, TUNED, Way, compare, served, table, written
from labelwright.bundle.making import predictor_bundle
from labelwright.bundle.store import save
from labelwright.bundle.types import Bundle
from labelwright.data.task import Example
from labelwright.decide import probabilities
from labelwright.models.weights import Base
from labelwright.predictors.prior import Prior
from labelwright.predictors.store import save_predictor
from labelwright.prompt import Prompt
from labelwright.serve.application import application
from labelwright.statistics.calibration import Calibration
from labelwright.statistics.proportions import wilson

TEXTS = [row.text for row in toy_examples(1)[:2]]
BUNDLE = Bundle(
    toy_task(), Prompt.for_task(toy_task(), Prompt("x", toy_task().labels).template), Base("x"), Calibration()
)


def client(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=url, api_key="none", max_retries=0)


def test_what_is_written_is_read_as_a_label_or_as_none(setting):
    prompt = Prompt.for_task(toy_task(), setting.engine.template)
    server = ModelServer(setting.engine, "tiny")
    with model_serving(server) as url:
        free = written(FREE, client(url), "tiny", setting.engine, prompt, TEXTS, {})
        choice = {"structured_outputs": {"choice": list(prompt.options)}}
        held = written(GRAMMAR, client(url), "tiny", setting.engine, prompt, TEXTS, choice)
    assert len(free.chosen) == len(free.ms) == len(TEXTS)
    assert all(chosen >= 0 for chosen in held.chosen)
    expected = setting.engine.score(prompt.render_all(TEXTS), prompt.options).argmax(axis=1)
    assert list(held.chosen) == expected.tolist()
    # The first text is asked once more, before the clock runs; and what is sent are the tokens that engines read.
    assert len(server.requests) == 2 * (len(TEXTS) + 1)
    rendered = prompt.render(TEXTS[0])
    tokens = setting.engine.tokens
    assert server.requests[0]["prompt"] == [[*tokens.prefix(rendered), *tokens.row(rendered)]]


def test_what_a_bundle_serves_is_read_with_its_probabilities(tmp_path):
    bundle, engine = model_bundle(tmp_path, context=512)
    models = served_models(bundle, engine)
    with running(application(models)) as url:
        way = served(TUNED, client(f"{url}/v1"), "tickets", bundle.task.names, TEXTS)
    models["tickets"].close()
    for found, text in zip(way.probs, TEXTS, strict=False):
        np.testing.assert_allclose(found, probabilities(bundle, engine, [text])[0], rtol=0, atol=1e-12)


def rows(n: int) -> list[Example]:
    return [Example(str(i), "t", "pool") for i in range(n)]


def test_shares_have_wilsons_interval_and_differences_are_paired():
    ways = [
        Way(FREE, (0, -1, 1, -1), (1.0, 2.0, 3.0, 10.0)),
        Way(TUNED, (0, 0, 1, 0), (1.0,) * 4, ((0.5, 0.25, 0.25),) * 2 + ((0.25, 0.5, 0.25), (0.5, 0.25, 0.25))),
    ]
    free, tuned = compare(ways, BUNDLE, rows(4))
    assert free.answered == wilson(0.5, 4)
    assert free.accuracy == wilson(0.25, 4)
    assert tuned.accuracy == wilson(0.75, 4)
    assert free.behind_tuned.value == 0.5
    assert (free.log_loss, tuned.behind_tuned) == (None, None)
    assert tuned.log_loss.value == pytest.approx((3 * np.log(2) + np.log(4)) / 4)
    assert free.ms_p50 == 2.5
    lines = table([free, tuned]).splitlines()
    assert lines[0].startswith("| 4 rows |")
    assert lines[2].startswith("| free generation | 50.0 [15.0, 85.0] | 25.0 [4.6, 69.9] | 50.0 ")
    assert lines[3].split(" | ")[3] == "–"


def test_a_bundle_without_a_language_model_is_refused(tmp_path, capsys):
    save_predictor(Prior(np.array([0.2, 0.3, 0.5])), toy_task().names, tmp_path / "prior")
    save(predictor_bundle(toy_task(), "majority", tmp_path / "prior", Calibration()), tmp_path / "bundle")
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps({"text": row.text, "label": row.label}) + "\n" for row in toy_examples(1)))
    assert four_ways.main([str(tmp_path / "bundle"), "--input", str(data)]) == 2
    assert "expected a language model over labels" in capsys.readouterr().err


def test_llamacpps_own_server_answers_under_a_grammar(model, tmp_path):
    pytest.importorskip("xllamacpp", reason="xllamacpp is not installed")
    from labelwright.engines.llamacpp import LlamaCppEngine
    from labelwright.engines.options.grammar import gbnf
    from labelwright.models.gguf import write_gguf
    from labelwright.models.loading import load_tokenizer

    write_gguf(model, tmp_path / "tiny.gguf", "f32")
    engine = LlamaCppEngine(tmp_path / "tiny.gguf", load_tokenizer(Base(str(model))), "tiny", slots=1)
    prompt = Prompt.for_task(toy_task(), engine.template)
    api = client(engine.url)
    name = next(iter(api.models.list())).id
    way = written(GRAMMAR, api, name, engine, prompt, TEXTS, {"grammar": gbnf(prompt.options)})
    decoded = [prompt.options.index(text) for text in engine.decode(prompt.render_all(TEXTS), prompt.options)]
    assert list(way.chosen) == decoded
