"""What every baseline must do, whatever its family. A new line in BASELINES is tested here."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fakes import toy_splits, toy_task
from sklearn.base import clone
from sklearn.model_selection import cross_val_score

from baselines import BASELINES, OF_CHOICES, size_bytes
from labelwright.task import texts_and_labels

# Those of rows with their own choices are in test_choices.py.
NAMES = [name for name in BASELINES if name not in OF_CHOICES]
pytestmark = pytest.mark.usefixtures("word_model")

SPLITS = toy_splits()
X, Y = texts_and_labels(SPLITS.train)
X_TEST, _ = texts_and_labels(SPLITS.test)


def make(name: str, seed: int = 0) -> Any:
    return BASELINES[name](toy_task(), seed)


@pytest.mark.parametrize("name", NAMES)
def test_is_a_classifier_with_probabilities(name: str) -> None:
    fitted = make(name).fit(X, Y)
    probs = fitted.predict_proba(X_TEST)
    assert list(fitted.classes_) == sorted(toy_task().names)
    assert probs.shape == (len(X_TEST), 3)
    assert (probs >= 0).all()
    assert probs.sum(axis=1) == pytest.approx(np.ones(len(X_TEST)))
    assert (fitted.predict(X_TEST) == fitted.classes_[probs.argmax(axis=1)]).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_row_does_not_depend_on_the_others(name: str) -> None:
    fitted = make(name).fit(X, Y)
    assert fitted.predict_proba(X_TEST[:1]) == pytest.approx(fitted.predict_proba(X_TEST)[:1])


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_same_probabilities(name: str) -> None:
    first, second = (make(name, seed=3).fit(X, Y).predict_proba(X_TEST) for _ in range(2))
    assert (first == second).all()


@pytest.mark.parametrize("name", NAMES)
def test_works_with_scikit_learn(name: str) -> None:
    assert not hasattr(clone(make(name).fit(X, Y)), "classes_")
    assert cross_val_score(make(name), X, Y, cv=2, error_score="raise").shape == (2,)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "majority"])
def test_beats_the_majority_on_train(name: str) -> None:
    assert make(name).fit(X, Y).score(X, Y) > 0.4 > make("majority").fit(X, Y).score(X, Y)


@pytest.mark.parametrize("name", NAMES)
def test_size_is_plausible(name: str) -> None:
    size = size_bytes(make(name).fit(X, Y))
    assert (size > 1000) if name != "majority" else (0 < size < 1000)


def test_size_counts_what_was_learned() -> None:
    fitted = make("sgd-ngrams").fit(X, Y)
    terms = fitted["ngrams"].vocabulary_
    coefficients = fitted["linear"].coef_.nbytes
    expected = coefficients + fitted["ngrams"].idf_.nbytes + sum(len(term) + 8 for term in terms)
    assert expected < size_bytes(fitted) < expected + 500
    logreg = make("minilm-logreg").fit(X, Y)
    assert 1000 + logreg["logreg"].coef_.nbytes < size_bytes(logreg) < 1000 + logreg["logreg"].coef_.nbytes + 500
