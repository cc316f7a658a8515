"""Static embeddings, on a tiny model that model2vec itself wrote."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fakes import toy_examples
from static_model import static_model_folder

from labelwright.data.task import texts_and_labels
from labelwright.errors import MissingExtraError, ModelError
from labelwright.predictors.encoders.sentence_encoder import open_encoder
from labelwright.predictors.encoders.static_embeddings import open_static

ROOT = Path(__file__).parents[4]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return static_model_folder(tmp_path_factory.mktemp("static"))


def test_vectors_are_unit_means_of_word_vectors(folder: Path) -> None:
    from model2vec import StaticModel

    model, place = open_static(str(folder))
    assert place == folder
    vectors = model.encode(["pool fence", "POOL", "pool unheard"])
    expected = StaticModel.from_pretrained(folder).encode(["pool fence", "pool", "pool"])
    np.testing.assert_allclose(vectors, expected / np.linalg.norm(expected, axis=1, keepdims=True), rtol=1e-5)
    assert vectors.dtype == np.float32


def test_texts_without_a_known_word_are_zeros_and_none_is_no_row(folder: Path) -> None:
    encoder = open_encoder(f"model2vec:{folder}")
    assert (encoder.embed(["", "unheard", "\ud83d"]) == 0).all()
    assert encoder.embed([]).shape == (0, 64)
    assert encoder.embed([], remember=True).shape == (0, 64)


def test_its_files_are_counted(folder: Path) -> None:
    sizes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert open_encoder(f"model2vec:{folder}").size_bytes() == sizes > 10_000


def test_a_classifier_on_it_answers_without_torch(folder: Path, tmp_path: Path) -> None:
    from baselines.embeddings import EmbeddingClassifier

    texts, labels = texts_and_labels(toy_examples())
    fitted = EmbeddingClassifier("logreg", f"model2vec:{folder}", [10.0]).fit(texts, labels)
    fitted.save(tmp_path)
    program = f"""
import sys
from pathlib import Path
from labelwright.predictors.store import load_predictor
predictor, labels = load_predictor(Path({str(tmp_path)!r}))
print(labels[int(predictor.probabilities([{texts[0]!r}]).argmax())])
assert not {{"torch", "transformers", "sentence_transformers"}} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == fitted.predict(texts[:1])[0]


def test_without_model2vec_the_extra_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "model2vec", None)
    with pytest.raises(MissingExtraError, match=r'pip install "labelwright\[model2vec\]"'):
        open_static(str(folder))


def test_a_model_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match="cannot be loaded"):
        open_static(str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for name in ("no one/has this", "nobody/has-this"):
        with pytest.raises(ModelError, match=f"model {name} is not in the cache"):
            open_static(name)
