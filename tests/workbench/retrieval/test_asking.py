"""What is kept of a bundle and an encoder is theirs: another one is asked anew."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes import toy_task
from word_encoder import WordEncoder

from labelwright.bundle.making import predictor_bundle
from labelwright.bundle.store import load, save
from labelwright.engines.opening import open_engine
from labelwright.engines.settings import EngineSettings
from labelwright.predictors.prior import Prior
from labelwright.predictors.store import save_predictor
from labelwright.statistics.calibration import Calibration
from workbench.retrieval import asking
from workbench.retrieval.asking import answered, embedded

SETTINGS = EngineSettings()


@pytest.fixture
def encoder(monkeypatch) -> WordEncoder:
    one = WordEncoder()
    monkeypatch.setattr(asking, "open_encoder", lambda name: one)
    return one


def test_an_encoder_is_known_by_what_it_says_and_not_by_its_name(tmp_path, encoder, monkeypatch):
    vectors = embedded(["a", "b", "a"], "one", tmp_path, lambda *_: None)
    assert vectors.tolist() == WordEncoder().embed(["a", "b", "a"]).tolist()
    before = len(encoder.asked)
    embedded(["b", "a"], "another name", tmp_path, lambda *_: None)
    assert len(encoder.asked) == before + 1  # the texts that it is known by
    monkeypatch.setattr(WordEncoder, "embed", lambda self, texts: np.eye(len(texts), 64, dtype=np.float32))
    assert embedded(["b", "a"], "one", tmp_path, lambda *_: None).tolist() == np.eye(2, 64).tolist()


def test_an_encoder_that_reads_more_of_a_long_text_is_asked_anew(tmp_path, monkeypatch):
    class Short(WordEncoder):
        def embed(self, texts):
            return super().embed([text[:500] for text in texts])

    for one, text in ((WordEncoder(), "a " * 400 + "b"), (Short(), "a " * 400 + "b")):
        monkeypatch.setattr(asking, "open_encoder", lambda name, one=one: one)
        found = embedded([text], "one", tmp_path, lambda *_: None)
        assert found.tolist() == one.embed([text]).tolist()


def bundle_at(folder: Path, probs: list[float], scratch: Path) -> Path:
    save_predictor(Prior(np.array(probs)), np.array(toy_task().names), scratch)
    save(predictor_bundle(toy_task(), "prior", scratch, Calibration()), folder)
    return folder


def test_answers_are_the_bundles_own_and_another_bundle_is_asked_anew(tmp_path, monkeypatch):
    folder = bundle_at(tmp_path / "one", [0.2, 0.5, 0.3], tmp_path / "a")
    bundle = load(folder)
    engine = open_engine(bundle.weights, SETTINGS)
    given = (["x", "y", "x"], bundle, engine, folder, SETTINGS, tmp_path / "kept", lambda *_: None)
    said = answered(*given)
    assert said.probs == pytest.approx(np.tile([0.2, 0.5, 0.3], (3, 1)), abs=1e-6)
    assert said.category.tolist() == [1, 1, 1]
    assert said.at([2, 0]).probs.shape == (2, 3)
    monkeypatch.setattr(asking, "score_rows", lambda *_: pytest.fail("asked again"))
    assert answered(*given).probs.tolist() == said.probs.tolist()
    monkeypatch.undo()
    other = bundle_at(tmp_path / "two", [0.6, 0.1, 0.3], tmp_path / "b")
    engine = open_engine(load(other).weights, SETTINGS)
    assert answered(["x"], load(other), engine, other, SETTINGS, tmp_path / "kept", lambda *_: None).category[0] == 0


def test_where_the_bundle_gives_no_label_there_is_none(tmp_path):
    folder = bundle_at(tmp_path / "one", [0.2, 0.5, 0.3], tmp_path / "a")
    bundle = replace(load(folder), pass_on=0.6)
    engine = open_engine(bundle.weights, SETTINGS)
    said = answered(["x"], bundle, engine, folder, SETTINGS, tmp_path / "kept", lambda *_: None)
    assert said.category.tolist() == [-1]
    assert said.probs[0].argmax() == 1
