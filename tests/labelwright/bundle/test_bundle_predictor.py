"""Bundles of small classifiers: the same files, checks and command line as those of a language model, without torch."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeEngine, toy_bundle, toy_splits, toy_task
from safetensors.numpy import load_file, save_file
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import baselines
from labelwright.bundle import card
from labelwright.bundle import files as bundle_files
from labelwright.bundle.making import predictor_bundle
from labelwright.bundle.store import load, save, verify
from labelwright.bundle.types import Bundle
from labelwright.classifier import Classifier
from labelwright.cli import main
from labelwright.data.task import Label, Task, texts_and_labels
from labelwright.engines.opening import open_engine
from labelwright.errors import BundleError, MissingExtraError
from labelwright.models.weights import Predictor
from labelwright.predictors.pipeline import TextPipeline
from labelwright.predictors.prior import Prior
from labelwright.predictors.store import save_predictor
from labelwright.statistics.calibration import Calibration

X, Y = texts_and_labels(toy_splits().train)
DEV = toy_splits().dev
CALIBRATION = Calibration(0.7, (0.1, 0.0, -0.1))
KINDS_WITHOUT_TORCH = ["ngrams", "pipeline", "prior"]


def predictor_folder(kind: str, folder: Path) -> Path:
    labels = sorted(set(Y))
    if kind == "prior":
        save_predictor(Prior(np.array([0.2, 0.5, 0.3])), labels, folder)
    elif kind == "pipeline":
        from sklearn.feature_extraction.text import CountVectorizer

        fitted = make_pipeline(CountVectorizer(), LogisticRegression()).fit(X, [labels.index(label) for label in Y])
        save_predictor(TextPipeline(fitted), labels, folder)
    else:
        baselines.make("sgd-ngrams", toy_task(), 0).fit(X, Y).save(folder)
    return folder


def saved(kind: str, folder: Path) -> Bundle:
    """A bundle with golden rows under ``folder / "b"``; what was trained is no longer where it was."""
    bundle = predictor_bundle(toy_task(), f"the-{kind}", predictor_folder(kind, folder / "trained"), CALIBRATION)
    loaded = save(bundle, folder / "b", engine=open_engine(bundle.weights), golden=DEV)
    (folder / "trained").rename(folder / "gone")
    return loaded


# ------------------------------------------------------------------------------------------------------- round trips


@pytest.mark.parametrize("kind", KINDS_WITHOUT_TORCH)
def test_what_was_fitted_is_what_the_bundle_answers(tmp_path, kind):
    bundle = saved(kind, tmp_path)
    assert bundle == load(tmp_path / "b")
    assert bundle.weights == Predictor(f"the-{kind}", tmp_path / "b" / "predictor")
    copied, trained = ({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in
                       ("b/predictor", "gone"))  # fmt: skip
    assert copied == trained
    result = verify(tmp_path / "b", open_engine(bundle.weights))
    assert (result.ok, result.n_golden, result.max_difference) == (True, len(DEV), 0.0)


def test_equal_bundles_are_equal_bytes_and_can_be_saved_over_themselves(tmp_path):
    first = saved("ngrams", tmp_path)
    engine = open_engine(first.weights)
    for place in ("b", "c"):
        again = save(first, tmp_path / place, engine=engine, golden=DEV)
        assert replace(again, weights=first.weights) == first
    one, other = (
        {path.relative_to(tmp_path / place): path.read_bytes() for path in (tmp_path / place).rglob("*.*")}
        for place in ("b", "c")
    )
    assert one == other


def test_report_and_history_are_kept(tmp_path):
    report, history = {"accuracy": 0.5}, ({"stage": "sgd-ngrams", "seed": 1},)
    bundle = predictor_bundle(toy_task(), "x", predictor_folder("prior", tmp_path / "p"), CALIBRATION, report, history)
    loaded = save(bundle, tmp_path / "b")
    assert (loaded.report, loaded.history, loaded.calibration) == (report, history, CALIBRATION)
    assert loaded.task == toy_task()


def test_the_estimator_gives_what_its_bundle_gives(tmp_path):
    bundle = replace(saved("ngrams", tmp_path), calibration=Calibration())
    estimator = baselines.make("sgd-ngrams", toy_task(), 0).fit(X, Y)
    classifier = Classifier.from_bundle(bundle)
    order = [list(estimator.classes_).index(name) for name in classifier.classes_]
    np.testing.assert_allclose(classifier.predict_proba(X), estimator.predict_proba(X)[:, order])
    assert list(classifier.predict(X)) == list(estimator.predict(X))


def test_labels_without_a_training_row_get_nothing(tmp_path):
    task = Task("toy", "Which?", (*toy_task().labels, Label("new")))
    bundle = predictor_bundle(task, "x", predictor_folder("ngrams", tmp_path / "p"), Calibration())
    save(bundle, tmp_path / "b", engine=open_engine(bundle.weights), golden=DEV[:2])
    probs = Classifier.from_bundle(tmp_path / "b").predict_proba(X)
    assert (probs[:, 3] == 0).all()
    np.testing.assert_allclose(probs.sum(axis=1), 1)


# ------------------------------------------------------------------------------------------------ what is not accepted


def test_a_predictor_of_other_labels_is_refused(tmp_path):
    save_predictor(Prior(np.array([0.5, 0.5])), ["pool", "garden"], tmp_path)
    with pytest.raises(BundleError, match="its label 'garden' is not one of the 3 labels of task 'toy'"):
        predictor_bundle(toy_task(), "x", tmp_path, Calibration())
    with pytest.raises(BundleError, match=r"no predictor\.json"):
        predictor_bundle(toy_task(), "x", tmp_path / "absent", Calibration())


@pytest.mark.parametrize("name", ["model.pkl", "model.joblib", "model.bin", "model.py", "notes"])
def test_pickles_and_code_are_refused_when_saving_and_when_loading(tmp_path, name):
    saved("prior", tmp_path)
    (tmp_path / "gone" / name).write_bytes(b"x")
    with pytest.raises(BundleError, match=f"{name}: not allowed in a bundle"):
        save(predictor_bundle(toy_task(), "x", tmp_path / "gone", Calibration()), tmp_path / "c")
    (tmp_path / "b" / "predictor" / name).write_bytes(b"x")
    bundle_files.write_hashes(tmp_path / "b")
    with pytest.raises(BundleError, match=f"{name}: not allowed in a bundle"):
        load(tmp_path / "b")


def test_sub_folders_are_refused_and_a_tokenizers_template_is_not(tmp_path):
    trained = predictor_folder("prior", tmp_path / "p")
    (trained / "chat_template.jinja").write_text("x")
    save(predictor_bundle(toy_task(), "x", trained, Calibration()), tmp_path / "b")
    (trained / "checkpoint.json").mkdir()
    with pytest.raises(BundleError, match=r"checkpoint\.json: not allowed in a bundle"):
        save(predictor_bundle(toy_task(), "x", trained, Calibration()), tmp_path / "c")


def test_a_skops_file_with_foreign_types_is_not_run(tmp_path):
    """As somebody would make one who wants code to run: a type that is not scikit-learn's, hashes written anew."""
    bundle = saved("pipeline", tmp_path)
    path = tmp_path / "b" / "predictor" / "estimator.skops"
    with zipfile.ZipFile(path) as files:
        members = {name: files.read(name) for name in files.namelist()}
    schema = members["schema.json"].decode().replace("sklearn.linear_model._logistic", "evil.module")
    assert "evil.module" in schema
    with zipfile.ZipFile(path, "w") as files:
        for name, data in (members | {"schema.json": schema.encode()}).items():
            files.writestr(name, data)
    bundle_files.write_hashes(tmp_path / "b")
    with pytest.raises(BundleError, match=r"holds evil\.module\.LogisticRegression, which is not scikit-learn's"):
        open_engine(bundle.weights)


def test_every_altered_file_is_named_and_other_weights_are_noticed(tmp_path):
    saved("ngrams", tmp_path)
    path = tmp_path / "b" / "predictor" / "ngrams.safetensors"
    tensors = load_file(path)
    save_file(tensors | {"coef": -tensors["coef"]}, path)
    assert verify(tmp_path / "b").problems == (
        "predictor/ngrams.safetensors: altered, its sha256 is not the recorded one",
    )
    bundle_files.write_hashes(tmp_path / "b")
    assert "golden.jsonl, row 1 (" in verify(tmp_path / "b", open_engine(load(tmp_path / "b").weights)).problems[0]


def test_versions_that_know_no_predictors_say_so(tmp_path, monkeypatch):
    """The format's version stays: what an older labelwright meets is a kind of weights that it does not know."""
    from labelwright.bundle import document as bundle_json

    saved("prior", tmp_path)
    monkeypatch.delitem(bundle_json.KINDS, "predictor")
    with pytest.raises(BundleError, match="weights of kind 'predictor'; this version knows base, adapter, full"):
        load(tmp_path / "b")


# ------------------------------------------------------------------------------------------------------------ the card


def test_the_card_says_what_it_is_and_what_to_install(tmp_path):
    saved("ngrams", tmp_path)
    text = (tmp_path / "b" / "README.md").read_text()
    assert "A classifier of texts into 3 labels, `the-ngrams`: a linear model on n-grams" in text
    assert "    pip install labelwright\n" in text
    assert f"the {len(DEV)} golden rows" in text
    for word in ("base model", "base_model", "prompt", "LoRA", "torch", "Untuned", "bfloat16"):
        assert word not in text


@pytest.mark.parametrize(
    ("kind", "about", "install", "external"),
    [
        ("pipeline", {}, '"labelwright[sklearn]"', ""),
        ("embeddings", {"encoder": "minilm"}, '"labelwright[embeddings]"', "all-MiniLM-L6-v2"),
        ("nearest-label", {"encoder": "some/model"}, '"labelwright[embeddings]"', "some/model"),
        ("embeddings", {"encoder": "model2vec:some/model"}, '"labelwright[sklearn,model2vec]"', "model2vec:some/model"),
        ("embeddings", {"encoder": "model2vec:minilm"}, '"labelwright[distill]"', "model2vec:minilm"),
        ("choices", {}, '"labelwright[embeddings]"', "all-MiniLM-L6-v2"),
        ("finetuned", {}, '"labelwright[transformers]"', ""),
        ("entailment", {"model": "some/nli"}, '"labelwright[transformers]"', "some/nli"),
        ("gliclass", {"model": "some/gliclass"}, '"labelwright[gliclass]"', "some/gliclass"),
    ],
)
def test_the_card_names_what_a_kind_needs(tmp_path, kind, about, install, external):
    (tmp_path / "predictor.json").write_text(json.dumps({"kind": kind, "labels": list(toy_task().names)}))
    if about:
        (tmp_path / ("encoder.json" if "encoder" in about else "zero_shot.json")).write_text(json.dumps(about))
    text = card.card(predictor_bundle(toy_task(), "x", tmp_path, Calibration()))
    assert f"pip install {install}\n" in text
    assert (f"not in this folder: `{external}`" in text) == bool(external)
    assert "base model" not in text


# ---------------------------------------------------------------------------------------------------- the command line


@pytest.mark.parametrize("kind", KINDS_WITHOUT_TORCH)
def test_the_command_line_answers_without_torch(tmp_path, kind):
    """predict, evaluate and check in a process in which nobody may import torch, transformers or a sentence encoder."""
    saved(kind, tmp_path)
    rows = tmp_path / "rows.jsonl"
    rows.write_text(
        "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in zip(X, Y, strict=True))
    )
    program = f"""
import sys
class Refuse:
    def find_spec(self, name, *_):
        if name.split(".")[0] in {{"torch", "transformers", "tokenizers", "sentence_transformers"}}:
            raise ImportError(name + " is not installed")
sys.meta_path.insert(0, Refuse())
from labelwright.cli import main
b, rows = {str(tmp_path / "b")!r}, {str(rows)!r}
assert main(["predict", b, {X[0]!r}, "--json"]) == 0
assert main(["evaluate", b, "--input", rows, "--json"]) == 0
assert main(["check", b]) == 0
assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    predicted, evaluated, checked = done.stdout.splitlines()
    expected = Classifier.from_bundle(tmp_path / "b")
    found = json.loads(predicted)["probabilities"]
    assert list(found) == list(toy_task().names)
    np.testing.assert_allclose(list(found.values()), expected.predict_proba(X[:1])[0])
    assert json.loads(evaluated)["metrics"]["accuracy"]["value"] == pytest.approx(expected.score(X, Y))
    assert f"{len(DEV)} answered as recorded (largest difference 0.0000)" in checked


@pytest.mark.parametrize("kind", KINDS_WITHOUT_TORCH)
def test_torch_is_not_imported_where_it_is_installed(tmp_path, kind):
    saved(kind, tmp_path)
    program = (
        f"import sys\nfrom labelwright.cli import main\nassert main(['predict', {str(tmp_path / 'b')!r}, 'x']) == 0\n"
        "assert not {'torch', 'transformers', 'sentence_transformers'} & set(sys.modules)\n"
    )
    if kind != "pipeline":
        program += "assert not {'sklearn', 'skops'} & set(sys.modules)\n"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--backend", "llamacpp"], "--backend"),
        (["--backend", "vllm", "--url", "http://127.0.0.1:9/v1"], "--backend and --url"),
        (["--device", "cuda"], "--device"),
    ],
)
def test_options_that_only_a_model_can_follow_are_refused(tmp_path, capsys, options, named):
    saved("prior", tmp_path)
    commands = (["predict", str(tmp_path / "b"), "x"], ["check", str(tmp_path / "b")])
    for command in commands:
        assert main([*command, *options]) == 2
        error = capsys.readouterr().err
        assert "holds the-prior, a small classifier that runs in this process without a language model" in error
        assert error.endswith(f"leave out {named}\n")
    assert main([*commands[0], "--device", "cpu", "--dtype", "float32", "--long-rows", "head"]) == 0


def test_what_is_not_installed_is_named_with_its_extra(tmp_path, monkeypatch):
    bundle = saved("pipeline", tmp_path)
    monkeypatch.setitem(sys.modules, "skops.io", None)
    with pytest.raises(MissingExtraError, match=r'pip install "labelwright\[sklearn\]"'):
        open_engine(bundle.weights)


def test_a_bundle_of_a_model_is_read_as_before(tmp_path):
    save(toy_bundle(), tmp_path / "b", engine=FakeEngine(), golden=DEV)
    content = json.loads((tmp_path / "b" / "bundle.json").read_text())
    assert content["weights"] == {"base": "fake", "kind": "base"}
    assert load(tmp_path / "b") == toy_bundle()
