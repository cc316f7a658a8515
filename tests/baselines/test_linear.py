"""N-grams and a linear model: small, quick, without torch."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from fakes import toy_examples, toy_task

from baselines import make
from baselines.linear import NgramClassifier
from labelwright.data.task import read_examples, texts_and_labels
from labelwright.errors import RecipeError
from labelwright.predictors.ngrams import Ngrams

ROOT = Path(__file__).parents[2]
X, Y = texts_and_labels(toy_examples())


@pytest.mark.parametrize("name", ["sgd-ngrams", "sgd-chars"])
def test_on_the_data_that_ships_it_is_small_and_quick(name: str) -> None:
    """Fitted on three rows in five, which is what a run shows it."""
    rows = read_examples(ROOT / "data" / "homeowner" / "homeowner.jsonl", group="group")
    families = sorted({str(row.group) for row in rows})
    shown = {family for k, family in enumerate(families) if k % 5 < 3}
    begun = time.process_time()
    fitted = make(name, toy_task(), 0).fit(*texts_and_labels([row for row in rows if row.group in shown]))
    assert time.process_time() - begun < 10
    assert fitted.size_bytes() < 1_000_000
    others = [row for row in rows if row.group not in shown]
    # Chance is 1 in 18.
    assert fitted.score(*texts_and_labels(others)) > 0.5


@pytest.mark.parametrize("name", ["sgd-ngrams", "sgd-chars"])
def test_loading_and_predicting_import_no_torch(name: str, tmp_path: Path) -> None:
    fitted = make(name, toy_task(), 0).fit(X, Y)
    fitted.save(tmp_path)
    program = f"""
import sys
from pathlib import Path
from labelwright.predictors.store import load_predictor
predictor, labels = load_predictor(Path({str(tmp_path)!r}))
print(labels[int(predictor.probabilities([{X[0]!r}]).argmax())])
heavy = {{"torch", "transformers", "sentence_transformers", "sklearn", "skops"}} & set(sys.modules)
assert not heavy, heavy
from baselines.linear import NgramClassifier
assert NgramClassifier.load({str(tmp_path)!r}).predict([{X[0]!r}])[0] == {Y[0]!r}
assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == Y[0]


def test_words_and_pairs_of_words_and_nothing_longer() -> None:
    fitted = NgramClassifier().fit(["I see a pool", "a fence"], ["pool", "fence"])
    predictor = fitted.predictor_
    assert isinstance(predictor, Ngrams)
    assert set(predictor.counting.terms) == {"i", "see", "a", "pool", "fence", "i see", "see a", "a pool", "a fence"}


def test_hashing_bounds_the_columns() -> None:
    predictor = NgramClassifier("char", 2, 5, n_features=64).fit(X, Y).predictor_
    assert isinstance(predictor, Ngrams)
    assert predictor.coef.shape == (64, 3)
    assert predictor.counting.terms == {}


def test_two_labels_have_two_columns() -> None:
    fitted = NgramClassifier().fit(["red pool", "blue fence", "red swim", "blue gate"], ["p", "f", "p", "f"])
    probs = fitted.predict_proba(["red", "blue"])
    assert (probs.argmax(axis=1) == [1, 0]).all()
    np.testing.assert_allclose(probs.sum(axis=1), 1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"analyzer": "wurd"}, 'analyzer = \'wurd\': expected "word" or "char"'),
        ({"shortest": 3}, "shortest = 3 and longest = 2"),
        ({"alpha": 0.0}, "alpha = 0.0: expected a number above 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        NgramClassifier().set_params(**settings).fit(X, Y)


def test_rows_without_words_are_for_characters() -> None:
    texts, labels = ["?!", "🦆", ":-)", "…"], ["a", "b", "a", "b"]
    with pytest.raises(RecipeError, match='analyzer = "char"'):
        NgramClassifier().fit(texts, labels)
    assert NgramClassifier("char", 1, 2).fit(texts, labels).predict(texts).tolist() == labels
