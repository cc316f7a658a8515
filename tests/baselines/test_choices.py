import numpy as np
import pytest
from sklearn.base import clone

from baselines import BASELINES, OF_CHOICES, refuse_unfit
from labelwright.choices import lettered
from labelwright.errors import DataError
from labelwright.task import Label, Task

pytestmark = pytest.mark.usefixtures("word_model")

TASK = Task("quiz", "Answer.", max_choices=3)
ROWS = [
    ("pool water pool", ["fence", "pool", "duct"], "B"),
    ("fence post fence", ["fence", "pool"], "A"),
    ("duct vent duct", ["pool", "fence", "duct"], "C"),
    ("pool liner pool", ["pool", "duct"], "A"),
]
X = [lettered(text, choices) for text, choices, _ in ROWS]
Y = [label for *_, label in ROWS]


@pytest.mark.parametrize("name", OF_CHOICES)
def test_probabilities_are_over_the_rows_own_choices(name):
    fitted = clone(BASELINES[name](TASK, 0)).fit(X, Y)
    probs = fitted.predict_proba(X)
    assert list(fitted.classes_) == ["A", "B", "C"]
    np.testing.assert_allclose(probs.sum(axis=1), 1)
    assert (probs[[1, 3], 2] == 0).all()
    np.testing.assert_allclose(probs[2:], fitted.predict_proba(X[2:]), atol=1e-6)


@pytest.mark.parametrize("name", ["minilm-nearest-choice", "pair-logreg"])
def test_a_choice_that_says_what_is_asked_is_found(name):
    fitted = BASELINES[name](TASK, 0).fit(X, Y)
    assert fitted.predict(X).tolist() == Y


def test_chance_knows_nothing():
    np.testing.assert_allclose(BASELINES["chance"](TASK, 0).fit(X, Y).predict_proba(X)[0], 1 / 3)


def test_a_baseline_of_the_other_kind_is_refused():
    shared = Task("t", "Name it.", (Label("a"), Label("b")))
    for name, task in (("chance", shared), ("sgd-ngrams", TASK)):
        with pytest.raises(DataError, match="take it off"):
            refuse_unfit(name, task)
    refuse_unfit("majority", TASK)
    refuse_unfit("majority", shared)
