"""What every baseline must do, whatever its family: scikit-learn's contract over texts. A new line in BASELINES is
tested here, on tiny models (``conftest.settings_for``)."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import toy_splits, toy_task
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.utils import estimator_checks

from baselines import BASELINES, make
from baselines.base import TextClassifier
from labelwright.data.asked.questions import Question
from labelwright.data.choices import lettered
from labelwright.data.task import Label, Task, texts_and_labels
from labelwright.errors import BundleError, DataError, RecipeError
from labelwright.predictors.store import load_predictor, save_predictor

SPLITS = toy_splits()
# The label names have descriptions, so that every candidate can do the task.
TASK = Task("toy", "Name the topic.", tuple(Label(one.name, f"the {one.name} is broken") for one in toy_task().labels))
QUIZ = Task("quiz", "Answer.", max_choices=3)


def quiz_rows() -> tuple[list[str], list[str]]:
    rows = []
    for question, right, wrong in (("pool water", "pool", "fence"), ("fence post", "fence", "hvac")):
        for word in ("chlorine", "gate", "filter", "panel", "swim", "vent"):
            rows += [
                (lettered(f"{question} {word}", [right, wrong, word]), "A"),
                (lettered(f"{question} {word} near", [wrong, right]), "B"),
                (lettered(f"{question} {word} today", [wrong, word, right]), "C"),
            ]
    return [text for text, _ in rows], [letter for _, letter in rows]


# One of each two paraphrases: six rows a label.
DATA = {True: quiz_rows(), False: texts_and_labels(SPLITS.train[::2])}
NEW = {True: quiz_rows()[0][:5], False: texts_and_labels(SPLITS.dev)[0]}
NAMES = list(BASELINES)
OF_CHOICES = [name for name in NAMES if BASELINES[name].rows == "choices"]
OF_TREE = [name for name in NAMES if BASELINES[name].rows == "tree"]
STRUCTURED = [name for name in NAMES if BASELINES[name].rows in ("levels", "tree")]
LEVELS = Task.asking("toy", "How far is it?", [Question("far", "score", TASK.labels)])
PATHS = {"pool": "out > pool", "fence": "out > fence", "hvac": "in"}
TREE = Task("toy", "Where is it?", tuple(Label(PATHS[name]) for name in TASK.names), tree_separator=" > ")
TRAINED = [name for name in NAMES if not BASELINES[name].zero_shot and name not in (*OF_CHOICES, *STRUCTURED)]
NAMED = [name for name in NAMES if name not in TRAINED]
# For searches: of each candidate that has one of them.
GRID = {
    "alpha": (1e-5, 1e-3),
    "temperature": (0.05, 0.5),
    "strengths": ([1.0], [10.0]),
    "template": ("About {}.", "This is {}."),
}

Make = Callable[..., TextClassifier]


@pytest.fixture(scope="session")
def candidate(settings_for: Callable[[str], dict[str, Any]]) -> Make:
    """An unfitted candidate by its name."""

    def unfitted(name: str, seed: int = 0) -> TextClassifier:
        return make(name, task_of(name), seed, settings_for(name))

    return unfitted


@pytest.fixture(scope="session")
def fitted(candidate: Make) -> Make:
    """A fitted one; each is fitted once for all tests, which leave it as it is."""
    known: dict[str, TextClassifier] = {}

    def of(name: str) -> TextClassifier:
        if name not in known:
            known[name] = candidate(name).fit(*rows(name))
        return known[name]

    return of


def task_of(name: str) -> Task:
    return {"choices": QUIZ, "levels": LEVELS, "tree": TREE}.get(BASELINES[name].rows, TASK)


def rows(name: str) -> tuple[list[str], list[str]]:
    texts, labels = DATA[name in OF_CHOICES]
    return texts, [PATHS[label] for label in labels] if name in OF_TREE else labels


def new_texts(name: str) -> list[str]:
    return NEW[name in OF_CHOICES]


every = pytest.mark.parametrize("name", NAMES)


@every
def test_probabilities_are_of_the_sorted_labels(name: str, fitted: Make) -> None:
    estimator, texts = fitted(name), new_texts(name)
    probs = estimator.predict_proba(texts)
    assert list(estimator.classes_) == sorted(task_of(name).names)
    assert probs.shape == (len(texts), 3)
    assert probs.dtype == np.float64
    assert (probs >= 0).all()
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-6)
    assert (estimator.predict(texts) == estimator.classes_[probs.argmax(axis=1)]).all()


@every
def test_a_row_does_not_depend_on_the_others(name: str, fitted: Make) -> None:
    texts = new_texts(name)
    probs = fitted(name).predict_proba(texts)
    order = np.random.default_rng(0).permutation(len(texts))
    np.testing.assert_allclose(fitted(name).predict_proba([texts[i] for i in order]), probs[order], atol=1e-5)
    for row in (0, len(texts) - 1):
        np.testing.assert_allclose(fitted(name).predict_proba(texts[row : row + 1])[0], probs[row], atol=1e-5)


@every
def test_texts_may_be_an_array_and_odd(name: str, fitted: Make) -> None:
    estimator, texts = fitted(name), new_texts(name)
    expected = estimator.predict_proba(texts)
    np.testing.assert_array_equal(estimator.predict_proba(np.array(texts)), expected)
    np.testing.assert_array_equal(estimator.predict_proba(np.array(texts, dtype=object)), expected)
    odd = ["", " ", "zzz", "🦆 水池 \ud83d", "pool " * 150]
    if name in OF_CHOICES:
        odd = [lettered(one, ["zzz", "\ud83d"]) for one in odd]
    probs = estimator.predict_proba(odd)
    assert np.isfinite(probs).all()
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-6)


@every
def test_no_texts_no_answers(name: str, fitted: Make) -> None:
    assert fitted(name).predict_proba([]).shape == (0, 3)
    assert fitted(name).predict([]).shape == (0,)
    assert fitted(name).predict([]).dtype == fitted(name).classes_.dtype


@every
def test_same_seed_same_probabilities_whatever_was_fitted_before(name: str, candidate: Make, fitted: Make) -> None:
    texts, labels = rows(name)
    estimator = candidate(name)
    before = estimator.get_params()
    part = np.flatnonzero(np.array(labels) != max(labels))
    estimator.fit([texts[i] for i in part], [labels[i] for i in part])
    estimator.fit(texts, labels)
    assert estimator.get_params() == before
    np.testing.assert_array_equal(estimator.predict_proba(new_texts(name)), fitted(name).predict_proba(new_texts(name)))


@every
def test_saved_files_give_identical_probabilities(name: str, fitted: Make, tmp_path: Path) -> None:
    estimator, texts = fitted(name), new_texts(name)
    estimator.save(tmp_path / "candidate")
    loaded = type(estimator).load(tmp_path / "candidate")
    assert loaded.get_params() == estimator.get_params()
    np.testing.assert_array_equal(loaded.classes_, estimator.classes_)
    np.testing.assert_array_equal(loaded.predict_proba(texts), estimator.predict_proba(texts))
    np.testing.assert_array_equal(loaded.predict(texts), estimator.predict(texts))
    save_predictor(estimator.predictor_, estimator.classes_, tmp_path / "ships")
    predictor, labels = load_predictor(tmp_path / "ships")
    assert labels == estimator.classes_.tolist()
    np.testing.assert_array_equal(predictor.probabilities(texts), estimator.predict_proba(texts))


@every
def test_no_file_is_a_pickle(name: str, fitted: Make, tmp_path: Path) -> None:
    fitted(name).save(tmp_path)
    suffixes = {path.suffix for path in tmp_path.rglob("*") if path.is_file()}
    assert suffixes <= {".json", ".safetensors", ".skops", ".txt", ".jinja"}
    for path in tmp_path.rglob("*"):
        if path.is_file():
            # Protocols 2 to 5 begin with these bytes.
            assert not re.match(rb"\x80[\x02-\x05]", path.read_bytes()), path


@every
def test_size_counts_the_files_and_the_models_behind(name: str, fitted: Make, tmp_path: Path) -> None:
    estimator = fitted(name)
    save_predictor(estimator.predictor_, estimator.classes_, tmp_path)
    own = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    # skops writes addresses into its file, which compress to some bytes more or less.
    assert estimator.size_bytes() == pytest.approx(own + estimator.predictor_.external_bytes(), abs=50)
    embeds = name.startswith(("minilm", "static", "pair", "local-minilm")) or name in ("entailment", "gliclass")
    assert (estimator.predictor_.external_bytes() > 1000) == embeds


@every
def test_a_label_outside_labels_is_refused(name: str, candidate: Make) -> None:
    texts, labels = rows(name)
    estimator = candidate(name)
    if name in TRAINED:
        estimator.set_params(labels=list(TASK.names))
    with pytest.raises(DataError, match=r"'nonsense' is (not one of the 3 labels|no letter of a choice)"):
        estimator.fit(texts, ["nonsense", *labels[1:]])
    with pytest.raises(NotFittedError):
        estimator.predict(texts)


@every
def test_what_is_no_column_of_texts_is_refused(name: str, candidate: Make) -> None:
    texts, labels = rows(name)
    for bad in (texts[0], [texts], [1, *texts[1:]], [None, *texts[1:]], np.array([texts, texts]), 5):
        with pytest.raises(DataError):
            candidate(name).fit(bad, labels)
    for bad in (labels[:-1], [labels], [None, *labels[1:]], [1, *labels[1:]], labels[:1] * len(labels)):
        with pytest.raises(DataError):
            candidate(name).fit(texts, bad)
    with pytest.raises(DataError, match="groups for"):
        candidate(name).fit(texts, labels, groups=["a"])


@pytest.mark.parametrize("name", [name for name in NAMES if name not in OF_CHOICES])
@pytest.mark.parametrize("kind", [int, float, bool, np.int64])
def test_labels_may_be_numbers(name: str, kind: Any, candidate: Make, fitted: Make, tmp_path: Path) -> None:
    if kind is not int and name not in ("majority", "sgd-ngrams", "minilm-svm", "minilm-nearest-name"):
        pytest.skip("what numbers are is one code for all: three families and none stand for the others")
    texts, names = rows(name)
    n_labels = 2 if kind is bool else 3
    labels = [kind(sorted(task_of(name).names).index(one) % n_labels) for one in names]
    estimator = candidate(name).set_params(labels=None).fit(texts, labels)
    assert estimator.classes_.tolist() == [kind(k) for k in range(n_labels)]
    assert estimator.predict_proba(texts).shape == (len(texts), n_labels)
    assert set(estimator.predict(texts).tolist()) <= set(labels)
    if name in TRAINED and n_labels == 3:
        # The same columns as with names, in the same (sorted) order.
        np.testing.assert_array_equal(estimator.predict_proba(texts), fitted(name).predict_proba(texts))
    estimator.save(tmp_path)
    loaded = type(estimator).load(tmp_path)
    assert loaded.classes_.dtype == estimator.classes_.dtype
    np.testing.assert_array_equal(loaded.predict(texts), estimator.predict(texts))


@every
def test_groups_and_eval_rows_are_taken(name: str, candidate: Make) -> None:
    texts, labels = rows(name)
    groups = [None if i % 5 == 0 else f"g{i // 2}" for i in range(len(texts))]
    estimator = candidate(name).fit(texts, labels, groups=groups, eval_set=(texts[:4], [*labels[:3], "unseen"]))
    assert estimator.predict_proba(texts).shape == (len(texts), 3)
    with pytest.raises(DataError, match="eval_set"):
        candidate(name).fit(texts, labels, eval_set=(texts[:4], labels[:3]))


# ------------------------------------------------------------------------------------------- with scikit-learn's tools


@every
def test_scikit_learns_own_checks_of_parameters(name: str, candidate: Make) -> None:
    for check in (
        estimator_checks.check_estimator_cloneable,
        estimator_checks.check_estimator_repr,
        estimator_checks.check_estimator_tags_renamed,
        estimator_checks.check_valid_tag_types,
        estimator_checks.check_no_attributes_set_in_init,
        estimator_checks.check_parameters_default_constructible,
        estimator_checks.check_get_params_invariance,
        estimator_checks.check_set_params,
        estimator_checks.check_mixin_order,
        estimator_checks.check_do_not_raise_errors_in_init_or_set_params,
    ):
        check(name, candidate(name))


@every
def test_clone_keeps_parameters_and_forgets_what_was_learned(name: str, fitted: Make) -> None:
    copy = clone(fitted(name))
    assert copy.get_params() == fitted(name).get_params()
    assert not hasattr(copy, "classes_")
    for missing in ("predict", "predict_proba"):
        with pytest.raises(NotFittedError):
            getattr(copy, missing)(["text"])
    with pytest.raises(NotFittedError):
        copy.save("nowhere")


@every
def test_cross_validation(name: str, candidate: Make) -> None:
    texts, labels = rows(name)
    scores = cross_val_score(candidate(name), texts, labels, cv=2, scoring="neg_log_loss", error_score="raise")
    assert np.isfinite(scores).all()
    if name in NAMED:
        assert set(cross_val_predict(candidate(name), texts, labels, cv=2)) <= set(labels)


@pytest.mark.parametrize("name", TRAINED)
def test_out_of_fold_probabilities(name: str, candidate: Make) -> None:
    texts, labels = rows(name)
    probs = cross_val_predict(candidate(name), texts, labels, cv=2, method="predict_proba")
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("name", NAMED)
def test_candidates_that_read_label_names_refuse_the_numbers_in_their_place(name: str, candidate: Make) -> None:
    """cross_val_predict gives estimators 0, 1, 2 for labels, which say nothing: refused, and not answered at random."""
    texts, labels = rows(name)
    with pytest.raises(DataError, match=r"label 0 is (not one of the 3 labels: give the names|no letter)"):
        cross_val_predict(candidate(name), texts, labels, cv=2, method="predict_proba")


@every
def test_grid_search(name: str, candidate: Make) -> None:
    texts, labels = rows(name)
    params = candidate(name).get_params(deep=False)
    grid: dict[str, list[Any]] = {key: list(values) for key, values in GRID.items() if key in params}
    if BASELINES[name].heavy:
        # One value takes the same way as two, and training a transformer takes its time.
        grid = {"random_state": [1]}
    search = GridSearchCV(candidate(name), grid, cv=2, error_score="raise").fit(texts, labels)
    assert search.best_estimator_.predict_proba(texts).shape == (len(texts), 3)
    assert search.predict(texts[:2]).shape == (2,)


@every
@pytest.mark.parametrize("method", ["sigmoid", "temperature"])
def test_calibration_of_what_is_fitted(name: str, method: str, fitted: Make) -> None:
    texts, labels = rows(name)
    calibrated = CalibratedClassifierCV(FrozenEstimator(fitted(name)), method=method, cv=2).fit(texts, labels)
    probs = calibrated.predict_proba(texts)
    assert list(calibrated.classes_) == list(fitted(name).classes_)
    assert np.isfinite(probs).all()
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-6)


# ------------------------------------------------------------------------------------------------- files and settings


def test_files_of_another_class_or_none_are_refused(candidate: Make, fitted: Make, tmp_path: Path) -> None:
    fitted("majority").save(tmp_path)
    with pytest.raises(BundleError, match="written by Majority, not NgramClassifier"):
        type(candidate("sgd-ngrams")).load(tmp_path)
    with pytest.raises(BundleError, match=r"no estimator\.json"):
        type(candidate("majority")).load(tmp_path / "nowhere")
    path = tmp_path / "estimator.json"
    path.write_text('{"class": "Majority", "params": {"colour": 1}}')
    with pytest.raises(BundleError, match="no parameter 'colour'"):
        type(candidate("majority")).load(tmp_path)
    path.write_text("{")
    with pytest.raises(BundleError, match="save it again"):
        type(candidate("majority")).load(tmp_path)


def test_numpy_parameters_are_saved_as_numbers(fitted: Make, candidate: Make, tmp_path: Path) -> None:
    estimator = candidate("sgd-ngrams").set_params(
        alpha=np.float32(1e-4), random_state=np.int64(1), labels=np.array(["a"])
    )
    estimator.set_params(labels=np.array(sorted(TASK.names))).fit(*rows("sgd-ngrams")).save(tmp_path)
    assert type(estimator).load(tmp_path).random_state == 1


def test_what_reads_label_names_knows_the_tasks(candidate: Make) -> None:
    assert all(candidate(name).labels == list(task_of(name).names) for name in NAMED if name not in OF_CHOICES)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("nonsense", {}, "there is no baseline 'nonsense': expected one of majority, sgd"),
        ("majority", {"alpha": 1}, "majority has no setting 'alpha'; it has none"),
        ("sgd-ngrams", {"random_state": 1}, "no setting 'random_state'; it has alpha, analyzer, longest"),
        ("sgd-ngrams", {"alpha": "x"}, "sgd-ngrams: alpha = 'x': expected a number, such as 1e-05"),
        ("sgd-ngrams", {"longest": 1.5}, "longest = 1.5: expected a whole number, such as 2"),
        ("sgd-ngrams", {"alpha": True}, "expected a number"),
        ("minilm-svm", {"encoder": 3}, "expected text, such as 'minilm'"),
    ],
)
def test_settings_that_a_candidate_cannot_have_are_refused(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(message)):
        make(name, TASK, 0, settings)


def test_a_whole_number_is_a_number() -> None:
    assert make("sgd-ngrams", TASK, 0, {"alpha": 1}).get_params()["alpha"] == 1


def test_asking_for_the_list_imports_no_library() -> None:
    import subprocess

    program = "import sys, baselines\nassert not {'torch', 'sklearn', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[2])
