"""The estimator keeps scikit-learn's contract, and answers as its bundle does."""

from __future__ import annotations

import copyreg
import importlib
import sys
from dataclasses import replace

import numpy as np
import pytest
from fakes import FakeEngine, toy_bundle, toy_examples
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score

from labelwright import classifier as module
from labelwright.bundle.store import save
from labelwright.bundle.types import Bundle
from labelwright.classifier import Classifier
from labelwright.data.asked.questions import Question
from labelwright.data.task import Label, Task, texts_and_labels
from labelwright.decide import probabilities
from labelwright.engines.one_hot import one_hot
from labelwright.errors import DataError, MissingExtraError, RecipeError
from labelwright.models.weights import Adapter, Base, Weights
from labelwright.prompt import Prompt
from labelwright.statistics.calibration import Calibration

X, y = texts_and_labels(toy_examples())


@pytest.fixture
def opened(monkeypatch) -> list[Weights]:
    """Every opening of an engine; fakes are opened instead of models."""
    calls: list[Weights] = []

    def open_fake(weights, settings):
        calls.append(weights)
        return FakeEngine()

    monkeypatch.setattr(module, "open_engine", open_fake)
    module._untuned_engine.cache_clear()
    yield calls
    module._untuned_engine.cache_clear()


def test_parameters_are_stored_as_given_and_cloned():
    given = {
        "model": "some/model",
        "instructions": "Sort it.",
        "style": "code",
        "device": "cpu",
        "dtype": "float32",
        "abstain_below": 0.4,
    }
    classifier = Classifier(**given)
    assert classifier.get_params() == given
    assert clone(classifier).get_params() == given
    assert is_classifier(classifier)
    assert classifier.set_params(model="other").model == "other"


def test_what_may_stay_unexpanded_is_the_bundles(monkeypatch):
    seen = []
    monkeypatch.setattr(module, "open_engine", lambda weights, settings: seen.append(settings) or FakeEngine())
    module._untuned_engine.cache_clear()
    for mass in (0.0, 0.02):
        Classifier.from_bundle(replace(toy_bundle(), unexpanded_mass=mass), device="cpu").predict(["x"])
    module._untuned_engine.cache_clear()
    assert [(settings.unexpanded_mass, settings.device) for settings in seen] == [(0.0, "cpu"), (0.02, "cpu")]
    Classifier.from_bundle(replace(toy_bundle(), long_rows="head_tail"), device="cpu").predict(["x"])
    assert seen[-1].long_rows == "head_tail"


def test_nothing_is_opened_before_it_is_needed(opened):
    classifier = Classifier.from_bundle(toy_bundle())
    clone(classifier)
    assert opened == []
    classifier.predict(X[:1])
    classifier.predict(X[1:2])
    assert len(opened) == 1


def test_fit_returns_self_and_sorts_the_classes():
    classifier = Classifier(instructions="Which?").use_engine(FakeEngine())
    assert classifier.fit(X, y) is classifier
    assert classifier.classes_.tolist() == sorted(set(y))
    assert classifier.bundle_.task.names == tuple(sorted(set(y)))
    assert classifier.bundle_.task.instructions == "Which?"


def test_probabilities_are_rows_of_one_and_predict_is_their_argmax():
    classifier = Classifier().use_engine(FakeEngine()).fit(X, y)
    probs = classifier.predict_proba(X)
    assert probs.shape == (len(X), len(classifier.classes_))
    np.testing.assert_allclose(probs.sum(axis=1), 1)
    assert classifier.predict(X).tolist() == classifier.classes_[probs.argmax(axis=1)].tolist()
    assert classifier.score(X, y) == pytest.approx(np.mean(classifier.predict(X) == np.array(y)))


def test_fit_calibrates():
    """The fake prefers earlier labels; calibrated probabilities have the lower log loss on the rows."""
    classifier = Classifier().use_engine(FakeEngine()).fit(X, y)
    assert classifier.bundle_.calibration != Calibration()
    raw = probabilities(replace(classifier.bundle_, calibration=Calibration()), FakeEngine(), X)
    gold = np.searchsorted(classifier.classes_, y)
    rows = np.arange(len(X))
    assert -np.log(classifier.predict_proba(X)[rows, gold]).mean() < -np.log(raw[rows, gold]).mean()


def test_labels_that_are_no_strings_come_back_as_they_were():
    classifier = Classifier().use_engine(FakeEngine()).fit(X, [len(label) for label in y])
    assert set(classifier.predict(X)) <= {4, 5}
    assert classifier.bundle_.task.names == ("4", "5")


def test_from_bundle_answers_as_the_bundle_does_in_its_label_order(tmp_path):
    bundle = replace(toy_bundle(), calibration=Calibration(2.0, (0.1, 0.0, -0.1)))
    for given in (bundle, tmp_path / "b"):
        save(bundle, tmp_path / "b")
        classifier = Classifier.from_bundle(given, FakeEngine())
        assert tuple(classifier.classes_) == bundle.task.names == ("pool", "fence", "hvac")
        np.testing.assert_array_equal(classifier.predict_proba(X), probabilities(bundle, FakeEngine(), X))


def test_no_rows_in_no_rows_out():
    classifier = Classifier.from_bundle(toy_bundle(), FakeEngine(), abstain_below=0.5)
    assert classifier.predict_proba([]).shape == (0, 3)
    assert classifier.predict([]).shape == (0,)


def test_abstains_below_the_threshold_only():
    classifier = Classifier.from_bundle(toy_bundle(), FakeEngine(), abstain_below=0.6)
    confidence = classifier.predict_proba(X).max(axis=1)
    answers = classifier.predict(X)
    assert {True, False} == set(confidence < 0.6), "the toy rows should lie on both sides"
    assert [answer is None for answer in answers] == list(confidence < 0.6)
    with pytest.raises(RecipeError, match="abstain_below is 3: expected a probability"):
        Classifier.from_bundle(toy_bundle(), FakeEngine(), abstain_below=3).predict(X)


def test_unfitted_says_so():
    with pytest.raises(NotFittedError):
        Classifier().predict(X)


def test_state_leaves_the_engine_behind(opened):
    classifier = Classifier.from_bundle(toy_bundle(), FakeEngine())
    classifier.predict(X[:1])
    state = classifier.__getstate__()
    assert not any(isinstance(value, FakeEngine) for value in state.values())
    copied = copyreg.__newobj__(Classifier)
    copied.__setstate__(state)
    assert opened == []
    np.testing.assert_array_equal(copied.predict_proba(X), classifier.predict_proba(X))
    assert opened == [Base("fake")]


def test_cross_validation_and_search_share_one_engine(opened):
    scores = cross_val_score(Classifier(), X, y, cv=3)
    assert scores.shape == (3,)
    search = GridSearchCV(Classifier(), {"style": ["name", "code"]}, cv=2).fit(X, y)
    assert search.best_params_["style"] == "name", "the fake reads names, not codes"
    assert opened == [Base("smollm2")]


def test_other_weights_are_opened_anew(opened, tmp_path):
    tuned = replace(toy_bundle(), weights=Adapter("fake", tmp_path))
    classifier = Classifier.from_bundle(tuned)
    classifier.predict(X[:1])
    classifier.fit(X, y).predict(X[:1])
    classifier.set_params(model="other").fit(X, y)
    assert opened == [Adapter("fake", tmp_path), Base("fake"), Base("other")]


@pytest.mark.parametrize(
    ("texts", "labels", "message"),
    [
        ("one string", ["a", "b"], "expected a list of texts"),
        (["a", 3], ["a", "b"], "row 2 of X is a int"),
        (["a", "b"], ["a", "b", "c"], "2 texts and 3 labels"),
        (["a", "b"], ["a", "a"], r"1 different label\(s\): a classifier needs at least two"),
        (["a", "b"], [["a"], ["b"]], "expected one label a row"),
        (["a", "b"], np.array(["a", None], dtype=object), "none missing"),
    ],
)
def test_bad_input_is_refused(texts, labels, message):
    with pytest.raises(DataError, match=message):
        Classifier().use_engine(FakeEngine()).fit(texts, labels)


def test_missing_scikit_learn_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.base", None)
    monkeypatch.delitem(sys.modules, "labelwright.classifier")
    with pytest.raises(MissingExtraError, match=r"pip install \"labelwright\[sklearn\]\""):
        importlib.import_module("labelwright.classifier")


def test_a_row_without_a_usable_answer_is_predicted_as_none():
    class Mute(FakeEngine):
        has_probabilities = False

        def score(self, prompts, options):
            chosen = np.array([-1 if "?" in prompt.user else 1 for prompt in prompts])
            return one_hot(chosen, len(options))

    classifier = Classifier.from_bundle(toy_bundle(), engine=Mute())
    assert classifier.predict(["x", "what?"]).tolist() == ["fence", None]
    assert (classifier.predict_proba(["what?"]) == 0).all()
    classifier.set_params(abstain_below=0.0)
    assert classifier.predict(["x", "what?"]).tolist() == ["fence", None]


TOPICS = Question("topics", "labels", (Label("pool", "chlorine skimmer"), Label("fence", "post panel")))
STARS = Question("stars", "score", tuple(map(Label, "123")))
URGENT = Question("urgent", "yes_no")
ROWS = ["chlorine in the skimmer", "a post", "nothing"]


def of_questions(*questions: Question, **params) -> Classifier:
    task = Task.asking("mail", "Read the mail.", questions)
    bundle = Bundle(task, Prompt.for_task(task, FakeEngine().template), Base("fake"), Calibration(1.3))
    return Classifier.from_bundle(bundle, engine=FakeEngine(), **params)


def test_one_question_of_several_labels_has_a_column_a_label_and_a_list_a_row():
    classifier = of_questions(TOPICS)
    probs, said = classifier.predict_proba(ROWS), classifier.predict(ROWS)
    assert classifier.classes_.tolist() == ["pool", "fence"]
    assert probs.shape == (3, 2)
    assert said.shape == (3,)
    assert said.tolist() == [
        [name for name, p in zip(("pool", "fence"), row, strict=True) if p >= 0.5] for row in probs
    ]
    records = classifier.answered(ROWS)
    assert [list(one["probabilities"].values()) for one in records] == probs.tolist()
    assert [one["label"] for one in records] == said.tolist()


def test_several_questions_have_an_array_each_and_a_row_a_dict():
    classifier = of_questions(TOPICS, STARS, URGENT)
    blocks, said = classifier.predict_proba(ROWS), classifier.predict(ROWS)
    assert classifier.outputs_ == ["topics", "stars", "urgent"]
    assert [one.tolist() for one in classifier.classes_] == [["pool", "fence"], ["1", "2", "3"], ["yes", "no"]]
    assert [block.shape for block in blocks] == [(3, 2), (3, 3), (3, 2)]
    for block in blocks[1:]:
        np.testing.assert_allclose(block.sum(axis=1), 1)
    for row, record in enumerate(classifier.answered(ROWS)):
        assert said[row] == record["label"]
        for block, name in zip(blocks, classifier.outputs_, strict=True):
            assert list(record["probabilities"][name].values()) == block[row].tolist()
    assert [block.shape for block in classifier.predict_proba([])] == [(0, 2), (0, 3), (0, 2)]
    assert classifier.predict([]).shape == (0,)


def test_several_questions_abstain_one_by_one():
    said = of_questions(STARS, URGENT, abstain_below=0.45).predict(ROWS)
    records = of_questions(STARS, URGENT).answered(ROWS)
    for one, record in zip(said, records, strict=True):
        for name, label in one.items():
            assert (label is None) == (record["confidence"][name] < 0.45)
    assert {label is None for one in said for label in one.values()} == {True, False}


@pytest.mark.parametrize("labels", [[["pool"], ["fence", "hvac"]], [("a", "b"), ("a", "b")], np.eye(2, dtype=int)])
def test_fit_takes_one_label_a_row(labels):
    with pytest.raises(DataError, match=r"y has several labels in a row: .* Classifier\.from_bundle") as caught:
        Classifier().use_engine(FakeEngine()).fit(ROWS[:2], labels)
    assert "\n" not in str(caught.value)
