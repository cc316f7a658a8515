from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from fakes import toy_bundle, toy_splits, toy_task
from tiny import tiny_tokenizer
from transformers import BertConfig, BertModel

from labelwright.bundle.files import write_hashes
from labelwright.bundle.making import predictor_bundle
from labelwright.bundle.store import load, save
from labelwright.cli import main
from labelwright.conversion import converting, encoders
from labelwright.conversion.certificate import Certificate
from labelwright.conversion.rows import golden_rows
from labelwright.engines.opening import open_engine
from labelwright.engines.settings import EngineSettings
from labelwright.errors import BundleError, DataError
from labelwright.predictors.embeddings import head_probabilities
from labelwright.predictors.encoders.long_texts import LongTexts
from labelwright.predictors.finetuned import FineTuned, Network, Tokens
from labelwright.predictors.onnx import Onnx
from labelwright.predictors.prior import Prior
from labelwright.predictors.store import save_predictor
from labelwright.statistics.calibration import Calibration

DEV = toy_splits().dev
MAX_TOKENS = 48


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    """A tiny fine-tuned encoder, calibrated."""
    place = tmp_path_factory.mktemp("encoder")
    torch.manual_seed(0)
    tokenizer = tiny_tokenizer()
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.5,
    )
    head = torch.nn.Linear(32, 3)
    head.weight.data *= 40
    predictor = FineTuned(Network(BertModel(config, add_pooling_layer=False), head, "mean"),
                          Tokens(tokenizer, MAX_TOKENS, "<|im_end|>"))  # fmt: skip
    save_predictor(predictor, ["hvac", "pool", "fence"], place / "fitted")
    made = predictor_bundle(toy_task(), "tiny-encoder", place / "fitted", Calibration(0.7, (0.2, 0.0, -0.1)))
    save(made, place / "b", engine=open_engine(made.weights), golden=DEV)
    return place / "b"


def converted(bundle: Path, out: Path, quantise: str = "", **settings) -> Certificate:
    found = converting.convert(
        bundle, "onnx", out, lambda one: golden_rows(bundle, one.task.names), quantise=quantise, **settings
    )
    assert found is not None
    return found


@pytest.fixture(scope="module")
def written(bundle) -> Path:
    out = bundle.with_name("onnx")
    assert converted(bundle, out).max_difference < 1e-5
    return out


def both(bundle: Path, written: Path):
    here, there = load(bundle), load(written / "bundle")
    return [(one, open_engine(one.weights, EngineSettings(long_rows="head"))) for one in (here, there)]


def test_the_graph_answers_what_torch_answers_to_texts_of_every_kind(bundle, written):
    from labelwright.decide import probabilities

    texts = ["x", "a <|im_end|> b", "pool " * 80, *[f"the fence {'rail ' * i}" for i in range(9)], "ü"]
    answers = [probabilities(one, engine, texts) for one, engine in both(bundle, written)]
    np.testing.assert_allclose(*answers, atol=2e-5)
    # They differ between texts, or the test would show nothing.
    assert np.abs(answers[0] - answers[0][0]).max() > 0.1


def test_long_rows_are_refused_or_shortened_as_by_torch(bundle, written):
    long = "pool " * 80
    shortened = []
    for _, engine in both(bundle, written):
        engine.predictor.long_texts = LongTexts("head_tail")
        shortened.append(engine.predictor.probabilities([long, "pool"]))
        assert engine.n_shortened == 1
        engine.predictor.long_texts = LongTexts("refuse")
        with pytest.raises(DataError, match="tokens"):
            engine.predictor.probabilities([long])
    columns = [[["hvac", "pool", "fence"].index(name) for name in engine._names] for _, engine in both(bundle, written)]
    np.testing.assert_allclose(shortened[0][:, columns[0]], shortened[1][:, columns[1]], atol=2e-5)


def test_eight_bits_are_another_graph_and_the_certificate_says_how_far(bundle, written, tmp_path):
    certificate = converted(bundle, tmp_path / "small", "int8", tolerance=1.0)
    assert certificate.quantise == "int8"
    assert 0 < certificate.max_difference < 0.3
    sizes = [(one / "bundle/predictor/graph.onnx").stat().st_size for one in (tmp_path / "small", written)]
    assert sizes[0] < 0.75 * sizes[1]
    assert (tmp_path / "small/README.md").read_text(encoding="utf-8").count("int8")


def test_it_answers_without_torch(written):
    code = (
        "import sys; sys.modules['torch'] = sys.modules['transformers'] = sys.modules['sklearn'] = None\n"
        "from labelwright.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "predict", str(written / "bundle"), "the pool", "--json"]
    answered = subprocess.run(command, capture_output=True, text=True, check=True)
    assert sum(json.loads(answered.stdout)["probabilities"].values()) == pytest.approx(1)


@pytest.mark.parametrize("make", ["language model", "prior"])
def test_what_is_no_encoder_is_refused_and_leaves_nothing(tmp_path, make, capsys):
    bundle = toy_bundle()
    if make == "prior":
        save_predictor(Prior(np.array([0.2, 0.5, 0.3])), ["pool", "fence", "hvac"], tmp_path / "fitted")
        bundle = predictor_bundle(toy_task(), "prior", tmp_path / "fitted", Calibration())
    save(bundle, tmp_path / "b")
    (tmp_path / "rows.jsonl").write_text('{"text": "a"}\n')
    command = ["convert", str(tmp_path / "b"), "--to", "onnx", "--input", str(tmp_path / "rows.jsonl")]
    assert main(command) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not [one for one in tmp_path.iterdir() if "onnx" in one.name]


def test_a_graph_that_names_other_files_is_not_opened(written, tmp_path):
    """ONNX can keep tensors in any file, by a path under the key "location"."""
    import onnx
    from onnx.external_data_helper import convert_model_to_external_data

    folder = tmp_path / "predictor"
    shutil.copytree(written / "bundle/predictor", folder)
    model = onnx.load(folder / "graph.onnx")
    convert_model_to_external_data(model, location="elsewhere.bin", size_threshold=0)
    onnx.save(model, str(folder / "graph.onnx"))
    with pytest.raises(BundleError, match="other files"):
        Onnx(folder)


@pytest.mark.parametrize("about", [{}, {"max_tokens": 0}, {"filler": "0"}, {"ending": [-1]}, {"ending": [1] * 99}])
def test_settings_that_somebody_changed_are_refused(written, tmp_path, about):
    folder = tmp_path / "predictor"
    shutil.copytree(written / "bundle/predictor", folder)
    known = json.loads((folder / "onnx.json").read_text()) | about
    (folder / "onnx.json").write_text(json.dumps(known if about else {}))
    with pytest.raises(BundleError, match=r"onnx\.json"):
        Onnx(folder)


def test_another_graph_is_refused(written, tmp_path):
    import onnx
    from onnx import TensorProto, helper

    folder = tmp_path / "b"
    shutil.copytree(written / "bundle", folder)
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    same = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [value], [same])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(folder / "predictor/graph.onnx"))
    write_hashes(folder)
    with pytest.raises(BundleError, match="expected a graph from input_ids"):
        open_engine(load(folder).weights)


@pytest.mark.parametrize("n_labels", [2, 3])
@pytest.mark.parametrize("kind", ["logreg", "svm", "mlp"])
def test_heads_of_scikit_learn_as_layers(kind, n_labels):
    """Of two labels scikit-learn keeps one column; the layers must give the same two probabilities."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier
    from sklearn.svm import LinearSVC

    rng = np.random.default_rng(0)
    vectors, gold = rng.normal(size=(60, 8)), np.arange(60) % n_labels
    head = {
        "logreg": LogisticRegression(),
        "svm": LinearSVC(),
        "mlp": MLPClassifier((5,), max_iter=300, tol=1e-2, random_state=0),
    }[kind].fit(vectors, gold)
    from labelwright.predictors.embeddings import EmbeddingHead

    layers = torch.nn.Sequential(*encoders._layers(EmbeddingHead("minilm", head), "x"))
    with torch.inference_mode():
        there = layers(torch.from_numpy(vectors).float()).softmax(1).numpy()
    np.testing.assert_allclose(there, head_probabilities(head, vectors), atol=1e-5)
