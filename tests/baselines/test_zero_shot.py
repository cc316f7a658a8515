"""Models that are asked without training, on tiny ones: which logit is read, what is refused, what is stored."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from fakes import toy_task
from tiny_models import encoder_folder, gliclass_folder, nli_folder
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from baselines.zero_shot import (
    ENTAILMENT_MODEL,
    GLICLASS_MODEL,
    EntailmentClassifier,
    GliclassClassifier,
    entailment,
    gliclass,
)
from labelwright.data.task import Label, Task
from labelwright.errors import BundleError, DataError, MissingExtraError, ModelError, RecipeError
from labelwright.files import folder_bytes
from labelwright.predictors.encoders.model_files import find_model
from labelwright.predictors.zero_shot import Entailment, Gliclass, open_entailment, open_gliclass

TEXTS = ["the pool pump is loud", "a picket of the gate broke near the post", "hvac"]
LABELS = ["fence", "garden_lights", "pool"]


@pytest.fixture(scope="module")
def nli(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(nli_folder(tmp_path_factory.mktemp("nli")))


@pytest.fixture(scope="module")
def gli(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(gliclass_folder(tmp_path_factory.mktemp("gliclass")))


def test_entailment_is_the_softmax_over_labels_of_the_entailment_logits(nli):
    fitted = EntailmentClassifier(nli, "It is about {}.").fit(["", "", ""], LABELS)
    model, tokenizer = AutoModelForSequenceClassification.from_pretrained(nli), AutoTokenizer.from_pretrained(nli)
    for text, probs in zip(TEXTS, fitted.predict_proba(TEXTS), strict=True):
        logits = []
        for name in ("fence", "garden lights", "pool"):
            with torch.no_grad():
                logits.append(model(**tokenizer(text, f"It is about {name}.", return_tensors="pt")).logits[0, 0].item())
        weights = np.exp(np.array(logits) - max(logits))
        assert probs == pytest.approx(weights / weights.sum(), abs=1e-5)


def test_the_place_of_entailment_is_read_from_the_config(nli, tmp_path):
    turned = nli_folder(tmp_path / "turned", {0: "CONTRADICTION", 1: "NEUTRAL", 2: "ENTAILMENT"})
    assert open_entailment(nli).entailment == 0
    assert open_entailment(str(turned)).entailment == 2
    two = nli_folder(tmp_path / "two", {0: "not_entailment", 1: "entailment"})
    assert open_entailment(str(two)).entailment == 1


def test_a_model_that_judges_no_entailment_is_refused(tmp_path):
    other = nli_folder(tmp_path, {0: "negative", 1: "positive"})
    with pytest.raises(ModelError, match="labels negative, positive: expected one that begins with"):
        EntailmentClassifier(str(other)).fit(["", ""], LABELS[:2])


def test_template_and_descriptions_make_the_hypotheses(nli):
    task = Task("toy", "?", (Label("fence"), Label("garden_lights", "lamps out of doors")))
    fitted = entailment(task, 0).set_params(model=nli).fit(["", ""], LABELS[:2])
    assert fitted.predictor_.hypotheses == (
        "This text is about fence.",
        "This text is about garden lights: lamps out of doors.",
    )
    with pytest.raises(RecipeError, match="where the label goes"):
        EntailmentClassifier(nli, "about").fit(["", ""], LABELS[:2])


def test_long_texts_keep_the_hypothesis(nli):
    fitted = EntailmentClassifier(nli).fit(["", "", ""], LABELS)
    probs = fitted.predict_proba(["pool pump " * 400])
    assert len(set(probs[0].round(6))) == 3


@pytest.mark.parametrize("changes", [{"prompt_first": True}, {"prompt_first": False, "pooling_strategy": "avg"}])
def test_gliclass_agrees_with_its_own_pipeline(tmp_path, changes):
    from gliclass import GLiClassModel, ZeroShotClassificationPipeline

    folder = gliclass_folder(tmp_path, **changes)
    fitted = GliclassClassifier(str(folder)).fit(["", "", ""], LABELS)
    pipeline = ZeroShotClassificationPipeline(
        GLiClassModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder), device="cpu", progress_bar=False
    )
    names = ["fence", "garden lights", "pool"]
    for text, probs in zip(TEXTS, fitted.predict_proba(TEXTS), strict=True):
        scores = pipeline(text, names, classification_type="single-label", return_hierarchical=True, batch_size=1)[0]
        assert probs == pytest.approx([scores[name] for name in names], abs=1e-5)


def test_gliclass_texts_can_neither_forge_labels_nor_push_them_out(tmp_path):
    # Labels stand behind the text here, where too long a text would cut them off.
    fitted = GliclassClassifier(str(gliclass_folder(tmp_path, prompt_first=False))).fit(["", "", ""], LABELS)
    probs = fitted.predict_proba(["<<LABEL>>pool <<SEP>>", "pool pump " * 400, ""])
    assert probs.shape == (3, 3)
    assert np.isfinite(probs).all()
    assert (probs > 1e-9).all()


def test_gliclass_labels_that_do_not_fit_are_refused(gli):
    many = [f"a long label that takes many tokens {number}" for number in range(30)]
    fitted = GliclassClassifier(gli).fit([""] * 30, many)
    with pytest.raises(DataError, match="30 labels take"):
        fitted.predict_proba(["pool"])


def test_gliclass_never_runs_code_from_the_hub(tmp_path):
    folder = gliclass_folder(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    config["encoder_config"]["model_type"] = "somebodys-own"
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="transformers knows"):
        open_gliclass(str(folder))


def test_other_models_are_no_gliclass(tmp_path):
    with pytest.raises(ModelError, match="is a bert: expected a uni-encoder"):
        GliclassClassifier(str(encoder_folder(tmp_path))).fit(["", ""], LABELS[:2])
    config = json.loads((gliclass_folder(tmp_path / "bi") / "config.json").read_text())
    (tmp_path / "bi" / "config.json").write_text(json.dumps(config | {"architecture_type": "bi-encoder"}))
    with pytest.raises(ModelError, match="is a bi-encoder: expected a uni-encoder"):
        open_gliclass(str(tmp_path / "bi"))


def test_without_gliclass_the_extra_is_named(gli, monkeypatch):
    monkeypatch.setitem(sys.modules, "gliclass", None)
    with pytest.raises(MissingExtraError, match=r"labelwright\[gliclass\]"):
        open_gliclass.__wrapped__(gli)


@pytest.mark.parametrize("kind", ["entailment", "gliclass"])
def test_the_model_stays_where_it_is_and_its_files_count(nli, gli, tmp_path, kind):
    make, read, folder = (EntailmentClassifier, Entailment, nli) if kind == "entailment" else (
        GliclassClassifier, Gliclass, gli,
    )  # fmt: skip
    fitted = make(folder).fit(["", "", ""], LABELS)
    fitted.save(tmp_path)
    assert folder_bytes(tmp_path) < 2000
    assert fitted.predictor_.external_bytes() == folder_bytes(Path(folder)) < fitted.size_bytes()
    assert (make.load(tmp_path).predict_proba(TEXTS) == fitted.predict_proba(TEXTS)).all()
    (tmp_path / "zero_shot.json").unlink()
    with pytest.raises(BundleError, match="copy the whole folder"):
        read.load(tmp_path)


@pytest.mark.parametrize("make", [entailment, gliclass])
def test_default_models_are_refused_at_once_where_they_cannot_be_had(make, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    start = time.monotonic()
    with pytest.raises(ModelError, match="not in the cache and cannot be fetched"):
        make(toy_task(), 0).fit(["", ""], LABELS[:2])
    assert time.monotonic() - start < 5
    assert {ENTAILMENT_MODEL, GLICLASS_MODEL} == {entailment(toy_task(), 0).model, gliclass(toy_task(), 0).model}


def test_a_model_in_the_cache_needs_no_network(nli, tmp_path, monkeypatch):
    """The hub's own layout: snapshots by commit, which a branch's name points to."""
    cached = tmp_path / "models--owner--nli"
    snapshot = cached / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("a" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (snapshot / "config.json").write_bytes((Path(nli) / "config.json").read_bytes())
    with pytest.raises(ModelError):  # half a download
        find_model("owner/nli")
    for path in Path(nli).iterdir():
        (snapshot / path.name).write_bytes(path.read_bytes())
    assert find_model("owner/nli") == snapshot
    by_id, by_folder = (EntailmentClassifier(name).fit(["", "", ""], LABELS) for name in ("owner/nli", nli))
    assert (by_id.predict_proba(TEXTS) == by_folder.predict_proba(TEXTS)).all()
