"""Rows that belong to no label: the score by hand, and every face of a bundle that gives such a row none."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeEngine, toy_bundle
from safetensors.numpy import save_file
from serving import served
from starlette.testclient import TestClient

from labelwright.bundle.card import card, needed_package
from labelwright.bundle.files import write_hashes
from labelwright.bundle.store import load, save
from labelwright.classifier import Classifier
from labelwright.cli import main
from labelwright.data.records import Row
from labelwright.decide import probabilities
from labelwright.decisions import scope as module
from labelwright.decisions.decision import NOTHING, OUTSIDE, UNSURE, Decision
from labelwright.decisions.scope import Preference, Scope, both, certainty, nearness
from labelwright.engines import opening
from labelwright.errors import BundleError, MissingExtraError
from labelwright.labelling import label_rows
from labelwright.predictors.encoders.sentence_encoder import Encoder
from labelwright.serve.application import application
from labelwright.serve.served import Served

EMPTY = np.zeros((0, 0), dtype=np.float32)
SCOPE = Scope(0.2, 0.95, 60, "", EMPTY)
INSIDE, OUT = "the pool pump and its liner", "nothing of it"


@pytest.fixture
def bundle():
    """It knows some labels' words; a text without one leaves all labels alike."""
    found = replace(toy_bundle(), scope=SCOPE)
    probs = probabilities(found, FakeEngine(), [INSIDE, OUT])
    assert certainty(probs)[0] > SCOPE.threshold > certainty(probs)[1]
    return found


def test_certainty_is_one_for_one_label_and_nothing_for_all_alike_or_none():
    rows = np.array([[1.0, 0.0, 0.0], [1 / 3, 1 / 3, 1 / 3], [0.0, 0.0, 0.0], [0.5, 0.5, 0.0]])
    assert certainty(rows) == pytest.approx([1.0, 0.0, 0.0, 1 - np.log(2) / np.log(3)])


def test_nearness_is_the_mean_cosine_of_the_three_nearest():
    sketch = np.array([[1, 0], [0.8, 0.6], [0, 1], [-1, 0]], dtype=np.float32)
    near = nearness(np.array([[1, 0], [0, -1]], dtype=np.float32), sketch)
    assert near == pytest.approx([(1 + 0.8 + 0) / 3, 0.0], abs=1e-6)
    assert nearness(sketch[:1], sketch[:1]) == pytest.approx([1.0])
    assert both(np.array([0.5]), np.array([0.6])) == pytest.approx([0.18])


def test_sure_rows_that_are_near_to_nothing_are_out_of_scope(monkeypatch):
    class Encoder:
        def embed(self, texts):
            return np.array([[1, 0] if "pool" in text else [0, 1] for text in texts], dtype=np.float32)

    monkeypatch.setattr(module, "open_encoder", lambda name: Encoder())
    scope = Scope(0.5, 0.95, 60, "minilm", np.array([[1, 0]], dtype=np.float32))
    sure = np.array([[0.98, 0.02], [0.98, 0.02], [0.55, 0.45]])
    assert scope.outside(["a pool", "what is love", "a pool"], sure).tolist() == [False, True, True]


def test_an_encoder_that_is_missing_is_told_before_a_row_comes(bundle, monkeypatch, tmp_path, capsys):
    def missing(name):
        raise MissingExtraError(f"{name} is not here")

    monkeypatch.setattr(module, "open_encoder", missing)
    scoped = replace(bundle, scope=replace(SCOPE, encoder="minilm", vectors=np.eye(3, dtype=np.float32)))
    save(scoped, tmp_path / "b")
    with pytest.raises(MissingExtraError):
        Served.open("toy", tmp_path / "b", lambda folder: (scoped, FakeEngine()))
    monkeypatch.setattr(opening, "open_engine", lambda *_, **__: pytest.fail("a model is loaded first"))
    assert main(["predict", str(tmp_path / "b"), OUT]) == 2
    assert "minilm is not here" in capsys.readouterr().err
    # A threshold that nothing is below needs no encoder.
    never = replace(scoped.scope, threshold=-np.inf)
    never.open()
    assert never.outside([OUT], np.array([[0.4, 0.3, 0.3]])).tolist() == [False]


def test_what_is_out_of_scope_is_not_said_whatever_else_is_asked():
    probs = np.array([[0.9, 0.1], [0.6, 0.4], [0.0, 0.0], [0.9, 0.1]])
    decision = Decision.of(None, ("a", "b"), 0.7)
    found = decision.decide(probs, np.array([True, True, True, False]))
    assert found.why == (OUTSIDE, OUTSIDE, NOTHING, "")
    assert found.said.tolist() == [-1, -1, -1, 0]
    assert found.choice.tolist() == [0, 0, -1, 0]
    assert decision.decide(probs).why == ("", UNSURE, NOTHING, "")
    # Of a part of the labels nothing is known: a row may belong to one that was not asked for.
    assert not replace(decision, scoped=True).among([0], is_part=True).scoped
    assert replace(decision, scoped=True).among([1, 0]).scoped


def test_a_trained_none_of_these_is_one_factor_more_and_travels_with_the_bundle(bundle, monkeypatch, tmp_path):
    class Encoder:
        def embed(self, texts):
            return np.array([[1, 0] if "pool" in text else [0, 1] for text in texts], dtype=np.float32)

    monkeypatch.setattr(module, "open_encoder", lambda name: Encoder())
    none = np.array([0.0, -4.0, 1.0], dtype=np.float32)  # P(in scope) is 1 / (1 + exp(-1)) here, 1 / (1 + exp(3)) there
    plain = Scope(0.05, 0.95, 60, "minilm", np.eye(2, dtype=np.float32))
    trained = replace(plain, none=none, preference=Preference(30, 12, 0.88, 0.95))
    sure = np.array([[0.9, 0.1], [0.9, 0.1]])
    texts = ["a pool", "what is love"]
    expected = plain.scores(texts, sure) / (1 + np.exp([-1.0, 3.0]))
    assert trained.scores(texts, sure) == pytest.approx(expected)
    assert plain.outside(texts, sure).tolist() == [False, False]
    assert trained.outside(texts, sure).tolist() == [False, True]
    save(replace(bundle, scope=trained), tmp_path / "b")
    found = load(tmp_path / "b").scope
    assert found.preference == trained.preference
    np.testing.assert_array_equal(found.none, none)
    assert found.scores(texts, sure) == pytest.approx(expected)
    said = (tmp_path / "b" / "README.md").read_text()
    assert '"none of these" trained on 30 texts out of scope is used: with it 0.950' in said
    document = tmp_path / "b" / "bundle.json"
    written = document.read_text()
    for name, wrong in (("n_taught", 10.5), ("n_taught", 1e300), ("n_calib", True), ("score", 1.5), ("trained", 7.5)):
        content = json.loads(written)
        content["scope"]["preference"][name] = wrong
        document.write_text(json.dumps(content))
        write_hashes(tmp_path / "b")
        with pytest.raises(BundleError, match="two counts and two shares"):
            load(tmp_path / "b")
    document.write_text(written)
    save_file({"vectors": plain.vectors, "none": none[1:]}, tmp_path / "b" / "scope.safetensors")
    write_hashes(tmp_path / "b")
    with pytest.raises(BundleError, match="weights of other vectors"):
        load(tmp_path / "b")


def test_the_command_line_and_python_give_no_label_out_of_scope(bundle):
    engine = FakeEngine()
    inside, out, empty = label_rows(
        [Row(1, {"text": INSIDE}), Row(2, {"text": OUT}), Row(3, {"text": ""})], bundle, engine
    )
    assert inside["label"] == "pool"
    assert (out["label"], out["abstained"]) == (None, "out of scope")
    assert out["suggested"] in bundle.task.names
    assert "error" in empty
    assert Classifier.from_bundle(bundle, engine=engine).predict([INSIDE, OUT]).tolist() == ["pool", None]
    assert Classifier.from_bundle(replace(bundle, scope=None), engine=engine).predict([OUT])[0] is not None


def test_a_classifier_and_its_scope_share_the_encoders_pass(bundle, monkeypatch, tmp_path):
    n_texts: list[int] = []

    class Model:
        def encode(self, texts, **_):
            n_texts.append(len(texts))
            return np.ones((len(texts), 1), dtype=np.float32)

    encoder = Encoder(Model(), tmp_path)

    class Embedding(FakeEngine):
        def score(self, prompts, options):
            encoder.embed([prompt.user for prompt in prompts])
            return super().score(prompts, options)

    monkeypatch.setattr(module, "open_encoder", lambda name: encoder)
    scoped = replace(bundle, scope=Scope(0.2, 0.95, 60, "minilm", np.ones((1, 1), dtype=np.float32)))
    rows = list(label_rows([Row(1, {"text": INSIDE}), Row(2, {"text": OUT})], scoped, Embedding()))
    assert [row["label"] for row in rows] == ["pool", None]
    assert n_texts == [2]
    Classifier.from_bundle(scoped, engine=Embedding()).predict([INSIDE, OUT])
    assert n_texts == [2, 2]


def test_the_server_says_so_beside_its_answer(bundle):
    with TestClient(application(served(bundle, FakeEngine(), "toy"))) as client:
        names = dict.fromkeys(bundle.task.names)

        def systemone(text, criteria=names):
            body = {"model": "toy", "state": text, "questions": {"q": {"type": "choice", "criteria": criteria}}}
            return client.post("/v1/systemone", json=body).json()["answers"]["q"]

        assert systemone(OUT)["x_abstained"] == "out of scope"
        assert systemone(INSIDE)["x_abstained"] is None
        assert "x_abstained" not in systemone(OUT, dict.fromkeys(bundle.task.names[:2]))
        rows = client.post("/invocations", json={"inputs": [OUT, INSIDE]}).json()["predictions"]
        assert [(row["label"], row["abstained"]) for row in rows] == [(None, "out of scope"), ("pool", "")]
        chat = {"model": "toy", "messages": [{"role": "user", "content": OUT}]}
        assert client.post("/v1/chat/completions", json=chat).json()["x_abstained"] == "out of scope"
        assert 'labelwright_abstained_total{model="toy"} 3.0' in client.get("/metrics").text


@pytest.mark.parametrize("threshold", [0.25, float("-inf")])
def test_a_scope_is_part_of_the_bundle_and_holds_no_text(bundle, tmp_path: Path, threshold):
    vectors = np.eye(3, dtype=np.float32)
    saved = save(replace(bundle, scope=Scope(threshold, 0.95, 60, "minilm", vectors)), tmp_path / "b")
    read = load(tmp_path / "b").scope
    assert saved.scope is not None
    assert read is not None
    assert (read.threshold, read.kept, read.n_rows, read.encoder) == (threshold, 0.95, 60, "minilm")
    assert read.vectors.tolist() == vectors.tolist()
    assert load(save_plain(bundle, tmp_path)).scope is None
    assert "embeddings" in needed_package(saved)
    told = "out of scope" if np.isfinite(threshold) else "60 calib rows are too few"
    assert told in card(saved)
    assert saved.with_stage({"stage": "sft"}).scope is None


def save_plain(bundle, folder: Path) -> Path:
    save(replace(bundle, scope=None), folder / "plain")
    return folder / "plain"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"threshold": 7}, "expected a share"),
        ({"kept": True}, "expected a share"),
        ({"encoder": "/etc"}, "/etc"),
        ({"n_rows": "many"}, "many"),
    ],
)
def test_a_damaged_scope_is_refused(bundle, tmp_path: Path, change, told):
    save(replace(bundle, scope=Scope(0.25, 0.95, 60, "minilm", np.eye(3, dtype=np.float32))), tmp_path / "b")
    path = tmp_path / "b" / "bundle.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"scope": content["scope"] | change}))
    write_hashes(tmp_path / "b")
    with pytest.raises(BundleError, match=told):
        load(tmp_path / "b")


def test_vectors_that_are_none_are_refused(bundle, tmp_path: Path):
    save(replace(bundle, scope=Scope(0.25, 0.95, 60, "minilm", np.eye(3, dtype=np.float32))), tmp_path / "b")
    for vectors in (np.full((2, 3), np.nan, dtype=np.float32), np.zeros((0, 3), dtype=np.float32)):
        save_file({"vectors": vectors}, tmp_path / "b" / "scope.safetensors")
        write_hashes(tmp_path / "b")
        with pytest.raises(BundleError, match=r"scope\.safetensors"):
            load(tmp_path / "b")
