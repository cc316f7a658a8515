"""What is particular to multiple choice; the contract over all candidates is in test_contract.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from baselines import BASELINES, make
from baselines.asked.choices import Chance, NearestChoice, PairLogistic
from labelwright.data.choices import lettered
from labelwright.data.task import Label, Task
from labelwright.errors import DataError

TASK = Task("quiz", "Answer.", max_choices=3)
SHARED = Task("t", "Name it.", (Label("a"), Label("b")))
ROWS = [
    ("pool water pool", ["fence", "pool", "duct"], "B"),
    ("fence post fence", ["fence", "pool"], "A"),
    ("duct vent duct", ["pool", "fence", "duct"], "C"),
    ("pool liner pool", ["pool", "duct"], "A"),
]
X = [lettered(text, choices) for text, choices, _ in ROWS]
Y = [label for *_, label in ROWS]


@pytest.mark.parametrize("name", [name for name in BASELINES if BASELINES[name].rows == "choices"])
def test_probabilities_are_over_the_rows_own_choices(name: str, settings_for: Callable[[str], dict[str, Any]]) -> None:
    fitted = make(name, TASK, 0, settings_for(name)).fit(X, Y)
    probs = fitted.predict_proba(X)
    assert list(fitted.classes_) == ["A", "B", "C"]
    assert (probs[[1, 3], 2] == 0).all()
    assert (probs[[0, 2]] > 0).all()
    np.testing.assert_allclose(probs.sum(axis=1), 1)


@pytest.mark.parametrize("name", ["minilm-nearest-choice", "pair-logreg"])
def test_a_choice_that_says_what_is_asked_is_found(name: str, settings_for: Callable[[str], dict[str, Any]]) -> None:
    assert make(name, TASK, 0, settings_for(name)).fit(X, Y).predict(X).tolist() == Y


def test_chance_knows_nothing_and_needs_no_encoder() -> None:
    fitted = Chance().fit(X, Y)
    np.testing.assert_allclose(fitted.predict_proba(X)[:2], [[1 / 3, 1 / 3, 1 / 3], [1 / 2, 1 / 2, 0]])
    assert fitted.predictor_.external_bytes() == 0
    assert fitted.size_bytes() < 1000


def test_the_order_of_choices_is_no_evidence(encoder: str) -> None:
    """What is learnt is about a choice beside its question, not about its letter."""
    for estimator in (NearestChoice(encoder), PairLogistic(encoder)):
        probs = estimator.fit(X, Y).predict_proba(
            [lettered("pool", ["pool", "fence"]), lettered("pool", ["fence", "pool"])]
        )
        np.testing.assert_allclose(probs[0, :2], probs[1, 1::-1])


def test_columns_are_as_many_as_the_longest_row_or_the_task_needs() -> None:
    short = ([X[1], lettered("fence?", ["pool", "fence"])], ["A", "B"])
    fitted = Chance().fit(*short)
    assert fitted.classes_.tolist() == ["A", "B"]
    with pytest.raises(DataError, match="row 1 has 3 choices, but the task at most 2"):
        fitted.predict(X)
    assert make("chance", TASK, 0).fit(*short).predict_proba(X).shape == (4, 3)


@pytest.mark.parametrize(
    ("texts", "labels", "message"),
    [
        (X, ["B", "C", "C", "A"], "row 2: the label C is none of its 2 choices"),
        (X, ["B", "D", "C", "A"], "label 'D' is no letter of a choice: expected A, B, C"),
        (X, [1, 0, 2, 0], "label 1 is no letter"),
        ([*X[:3], "no choices"], Y, "no lettered choices"),
        ([*X[:3], lettered("q", ["a", "b", "c", "d"])], Y, r"labels = \['A', 'B', 'C'\]: expected letters, A to D"),
    ],
)
def test_rows_that_are_no_questions_with_answers_are_refused(texts: Any, labels: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        make("chance", TASK, 0).fit(texts, labels)


def test_a_baseline_of_the_other_kind_is_refused() -> None:
    for name, task in (("chance", SHARED), ("sgd-ngrams", TASK)):
        with pytest.raises(DataError, match="take it off"):
            make(name, task, 0)
    for task in (TASK, SHARED):
        make("majority", task, 0)
