"""N-grams without scikit-learn give what scikit-learn gives."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fakes import toy_examples
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer, TfidfVectorizer
from sklearn.linear_model import SGDClassifier
from sklearn.pipeline import make_pipeline
from sklearn.utils import murmurhash3_32

from labelwright.predictors.ngrams import Ngrams, hashed
from labelwright.predictors.store import load_predictor, save_predictor

X = [example.text for example in toy_examples()]
GOLD = np.arange(len(X)) // 24
ODD = ["", "   ", "zzz", "I'm  a\n\nb\tc", "x", "É straße İSTANBUL 水池の", "pool pool POOL_2 liner's", "a-b c.d 3,5"]


def pipeline(analyzer: str = "word", ngrams: tuple[int, int] = (1, 2), n_features: int = 0, n_labels: int = 3):
    settings = {"analyzer": analyzer, "ngram_range": ngrams}
    if n_features:
        hashing = HashingVectorizer(**settings, n_features=n_features, norm=None, alternate_sign=False)
        steps = [hashing, TfidfTransformer(sublinear_tf=True)]
    else:
        steps = [TfidfVectorizer(**settings, sublinear_tf=True)]
    linear = SGDClassifier(loss="log_loss", alpha=1e-4, random_state=0)
    return make_pipeline(*steps, linear).fit(X, np.minimum(GOLD, n_labels - 1))


@pytest.mark.parametrize("n_labels", [2, 3])
@pytest.mark.parametrize("n_features", [0, 256])
@pytest.mark.parametrize(
    ("analyzer", "ngrams"), [("word", (1, 1)), ("word", (2, 3)), ("char_wb", (2, 5)), ("char_wb", (1, 8))]
)
def test_probabilities_are_scikit_learns(tmp_path, analyzer, ngrams, n_features, n_labels):
    fitted = pipeline(analyzer, ngrams, n_features, n_labels)
    expected = fitted.predict_proba(X + ODD)
    ours = Ngrams.of(fitted)
    # The coefficients are float32.
    np.testing.assert_allclose(ours.probabilities(X + ODD), expected, atol=1e-6)
    save_predictor(ours, ["a", "b", "c"][:n_labels], tmp_path)
    loaded, labels = load_predictor(tmp_path)
    assert labels == ["a", "b", "c"][:n_labels]
    np.testing.assert_array_equal(loaded.probabilities(X + ODD), ours.probabilities(X + ODD))


@pytest.mark.parametrize("n_features", [0, 256])
@given(st.permutations(X + ODD), st.integers(1, 9))
@settings(max_examples=10, deadline=None)
def test_a_text_is_answered_to_the_bit_whatever_stands_beside_it(n_features, texts, n_together):
    ours = Ngrams.of(pipeline("word", (1, 2), n_features))
    parts = [ours.probabilities(texts[at : at + n_together]) for at in range(0, len(texts), n_together)]
    alone = np.concatenate([ours.probabilities([text]) for text in texts])
    np.testing.assert_array_equal(np.concatenate(parts), alone)


@given(st.text(st.characters(blacklist_categories=["Cs"]), max_size=12))
def test_the_hash_is_scikit_learns(text):
    assert hashed(text) == abs(int(murmurhash3_32(text, seed=0)))


def test_all_labels_out_of_the_question_are_alike():
    ours = Ngrams.of(pipeline())
    ours.intercept = np.full(3, -1e4)
    np.testing.assert_array_equal(ours.probabilities(["pool"]), [[1 / 3] * 3])


def test_other_estimators_are_our_own_bug():
    fitted = pipeline()
    fitted[-1].loss = "hinge"
    with pytest.raises(AssertionError):
        Ngrams.of(fitted)


def test_it_answers_without_scikit_learn(tmp_path: Path):
    ours = Ngrams.of(pipeline("char_wb", (2, 4), 512))
    save_predictor(ours, ["a", "b", "c"], tmp_path)
    program = (
        "import json, pathlib, sys\nfrom labelwright.predictors.store import load_predictor\n"
        f"found = load_predictor(pathlib.Path({str(tmp_path)!r}))[0].probabilities({X[:2]!r})\n"
        "assert not {'sklearn', 'scipy', 'skops', 'torch'} & set(sys.modules)\nprint(json.dumps(found.tolist()))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    np.testing.assert_array_equal(json.loads(done.stdout), ours.probabilities(X[:2]))
