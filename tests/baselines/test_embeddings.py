"""Heads on sentence embeddings and the nearest label, on a tiny static encoder, and once on the real one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fakes import toy_examples, toy_task
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from baselines import embeddings, make
from baselines.embeddings import STRENGTHS, EmbeddingClassifier, NearestLabelClassifier
from labelwright.data.task import Label, Task, texts_and_labels
from labelwright.errors import DataError, RecipeError
from labelwright.predictors.embeddings import head_probabilities
from labelwright.predictors.encoders.sentence_encoder import Encoder, open_encoder

X, Y = texts_and_labels(toy_examples())
GROUPS = [row.group for row in toy_examples()]


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every text that any encoder is asked for."""
    seen: list[str] = []
    real = Encoder._encode
    monkeypatch.setattr(Encoder, "_encode", lambda self, texts: (seen.extend(texts), real(self, texts))[1])
    return seen


def test_nearest_label_takes_the_name_that_is_mentioned(encoder: str, embedded: list[str]) -> None:
    fitted = NearestLabelClassifier(encoder=encoder).fit(["", ""], ["garden_lights", "pool"])
    assert embedded == ["garden lights", "pool"]
    assert list(fitted.predict(["lights in the garden", "the pool is green"])) == ["garden_lights", "pool"]


def test_nearest_label_learns_nothing_from_texts(encoder: str) -> None:
    fitted, other = (NearestLabelClassifier(encoder=encoder).fit(texts, ["fence", "pool"]) for texts in (X[:2], X[2:4]))
    np.testing.assert_array_equal(fitted.predict_proba(X), other.predict_proba(X))


def test_descriptions_help_where_the_name_is_not_mentioned(encoder: str) -> None:
    texts, labels = ["", ""], ["fence", "pool"]
    with_it = NearestLabelClassifier({"pool": "chlorine skimmer"}, encoder).fit(texts, labels)
    assert with_it.predict_proba(["chlorine"])[0, 1] > 0.9
    assert NearestLabelClassifier(encoder=encoder).fit(texts, labels).predict_proba(["chlorine"])[0, 1] < 0.9


def test_descriptions_are_the_tasks(encoder: str) -> None:
    task = Task("t", "Name it.", (Label("pool", "chlorine"), Label("fence")))
    fitted = make("minilm-nearest-description", task, 0, {"encoder": encoder})
    assert fitted.get_params()["descriptions"] == {"pool": "chlorine"}
    with pytest.raises(DataError, match="no label has a description"):
        make("minilm-nearest-description", toy_task(), 0)


def test_temperature_sharpens(encoder: str) -> None:
    sharp, flat = (
        NearestLabelClassifier(encoder=encoder, temperature=t).fit(["", ""], ["fence", "pool"]) for t in (0.05, 5.0)
    )
    assert sharp.predict_proba(["pool"])[0, 1] > flat.predict_proba(["pool"])[0, 1] > 0.5
    with pytest.raises(RecipeError, match="temperature = 0"):
        NearestLabelClassifier(encoder=encoder, temperature=0).fit(["", ""], ["fence", "pool"])


def test_training_rows_are_embedded_once_and_predictions_every_time(encoder: str, embedded: list[str]) -> None:
    open_encoder.cache_clear()
    fitted = EmbeddingClassifier("logreg", encoder).fit(X, Y)
    EmbeddingClassifier("knn", encoder, random_state=1).fit(X, Y)
    assert embedded == list(dict.fromkeys(X))
    fitted.predict(X[:3])
    fitted.predict(X[:3])
    assert embedded[-6:] == X[:3] * 2


# ----------------------------------------------------------------------------------------------- the strength of a head


@pytest.mark.parametrize(("head", "poor", "good"), [("logreg", 1e-6, 10.0), ("mlp", 1e3, 1e-3)])
def test_the_better_strength_is_chosen(head: Any, poor: float, good: float, encoder: str) -> None:
    for strengths in ([poor, good], [good, poor]):
        assert EmbeddingClassifier(head, encoder, strengths).fit(X, Y, groups=GROUPS).strength_ == good


def test_paraphrases_stay_on_one_side_of_the_folds(encoder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[set[int]] = []
    real = EmbeddingClassifier._cost
    monkeypatch.setattr(
        EmbeddingClassifier,
        "_cost",
        lambda self, *given: (shown.append(set(np.flatnonzero(~given[3]))), real(self, *given))[1],
    )
    EmbeddingClassifier("logreg", encoder, [1.0, 10.0]).fit(X, Y, groups=GROUPS)
    assert len(shown) == 6
    for inside in shown:
        for i in range(0, len(X), 2):
            assert (i in inside) == (i + 1 in inside)


def test_with_many_rows_fewer_folds_are_held_out(encoder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr(EmbeddingClassifier, "_cost", lambda self, *given: (calls.append(1), 1.0)[1])
    monkeypatch.setattr(embeddings, "ENOUGH_ROWS", len(X) // 3)
    EmbeddingClassifier("logreg", encoder, [1.0, 10.0]).fit(X, Y)
    assert len(calls) == 2


@pytest.mark.parametrize(
    ("texts", "labels", "groups"),
    [
        (X[:1] + X[-1:], ["a", "b"], None),  # a row a label
        (X[:6], list("aabbab"), ["one"] * 6),  # a single group
        (X[:6], list("aaabbb"), ["one"] * 3 + ["two"] * 3),  # a label a group
    ],
)
def test_too_few_rows_to_choose_from_get_the_middle_strength(
    texts: list[str], labels: list[str], groups: Any, encoder: str
) -> None:
    fitted = EmbeddingClassifier("logreg", encoder).fit(texts, labels, groups=groups)
    assert fitted.strength_ == STRENGTHS["logreg"][len(STRENGTHS["logreg"]) // 2]


@pytest.mark.parametrize("head", list(STRENGTHS))
def test_two_labels_have_two_columns(head: Any, encoder: str) -> None:
    labels = ["pool" if label == "pool" else "other" for label in Y]
    fitted = EmbeddingClassifier(head, encoder).fit(X, labels)
    probs = fitted.predict_proba(X)
    assert probs.shape == (len(X), 2)
    assert fitted.score(X, labels) > 0.9


def test_neighbours_without_a_label_leave_it_possible() -> None:
    vectors = np.eye(3)
    head = KNeighborsClassifier(1, metric="cosine").fit(vectors, [0, 1, 2])
    np.testing.assert_allclose(head_probabilities(head, vectors[:1]), [[4 / 6, 1 / 6, 1 / 6]])


def test_other_heads_keep_their_probabilities() -> None:
    vectors, gold = np.eye(4), [0, 1, 0, 1]
    head = LogisticRegression().fit(vectors, gold)
    np.testing.assert_allclose(head_probabilities(head, vectors), head.predict_proba(vectors))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"head": "tree"}, "head = 'tree': expected one of logreg, svm, mlp, knn"),
        ({"strengths": []}, r"strengths = \[\]: expected numbers above 0"),
        ({"strengths": [1.0, -1.0]}, "expected numbers above 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], message: str, encoder: str) -> None:
    with pytest.raises(RecipeError, match=message):
        EmbeddingClassifier(encoder=encoder).set_params(**settings).fit(X, Y)


@pytest.mark.real
def test_the_real_encoder_knows_what_words_mean() -> None:
    texts = ["The water in the deep end is green", "A post rotted and two panels lean over", "Cold air from the vents"]
    labels = ["pool", "fence", "hvac"]
    fitted = make("minilm-nearest-name", toy_task(), 0).fit(texts, labels)
    assert list(fitted.predict(texts)) == labels
    assert 80e6 < fitted.size_bytes() < 100e6
    assert list(make("minilm-logreg", toy_task(), 0).fit(texts, labels).predict(texts)) == labels


# --- the kernel ---


def circles(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors whose label no plane tells: whether two coordinates have the same sign; and a third label."""
    vectors = np.random.default_rng(seed).normal(size=(n, 3)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors, np.where(vectors[:, 2] > 0.8, 2, (vectors[:, 0] * vectors[:, 1] > 0).astype(int))


def right(head: Any, vectors: np.ndarray, gold: np.ndarray) -> float:
    return float((head_probabilities(head, vectors).argmax(axis=1) == gold).mean())


def test_a_kernel_tells_what_no_plane_tells() -> None:
    vectors, gold = circles(300)
    unseen = circles(300, seed=1)
    kernel = EmbeddingClassifier("kernel")._kernel(10.0, 2.0, vectors, gold)
    linear = EmbeddingClassifier("svm")._fitted_head(1.0, vectors, gold)
    assert right(kernel, *unseen) > 0.9 > 0.7 > right(linear, *unseen)
    probs = head_probabilities(kernel, unseen[0])
    np.testing.assert_allclose(probs.sum(axis=1), 1)
    # As many as are predicted at once, whatever they are asked with.
    many = np.tile(unseen[0], (4, 1))
    np.testing.assert_allclose(head_probabilities(kernel, many)[900:], probs, atol=1e-6)


def test_of_very_many_rows_a_kernel_takes_some_and_every_label(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embeddings, "MOST_KERNEL_ROWS", 40)
    vectors, gold = circles(300)
    gold[299] = 7
    head = EmbeddingClassifier("kernel", random_state=3)._kernel(10.0, 1.0, vectors, gold)
    assert head.X_fit_.shape == (40, 3)
    assert list(head.classes_) == [0, 1, 2, 7]
    again = EmbeddingClassifier("kernel", random_state=3)._kernel(10.0, 1.0, vectors, gold)
    np.testing.assert_array_equal(head.X_fit_, again.X_fit_)


def test_width_and_strength_are_those_of_fewest_errors_on_other_rows(
    encoder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[float, float]] = []
    real = EmbeddingClassifier._kernel

    def kernel(self: Any, strength: float, width: float, *rows: Any) -> Any:
        asked.append((strength, width))
        return real(self, strength, width, *rows)

    def cost(self: Any, fit: Any, vectors: Any, rows: Any, inside: Any) -> float:
        fit(vectors[~inside], rows.gold[~inside])
        strength, width = asked[-1]
        return abs(width - 0.5) + abs(strength - 30)

    monkeypatch.setattr(EmbeddingClassifier, "_kernel", kernel)
    monkeypatch.setattr(EmbeddingClassifier, "_cost", cost)
    fitted = EmbeddingClassifier("kernel", encoder).fit(X, Y, groups=GROUPS)
    assert (fitted.strength_, fitted.width_) == (30.0, 0.5)
    assert asked[-1] == (30.0, 0.5)


def test_a_width_is_a_kernels(encoder: str) -> None:
    with pytest.raises(RecipeError, match="widths = \\[0\\]: expected numbers above 0"):
        EmbeddingClassifier("kernel", encoder, widths=[0]).fit(X, Y)
    with pytest.raises(RecipeError, match="widths are of head = \"kernel\", and this is 'svm'"):
        EmbeddingClassifier("svm", encoder, widths=[1.0]).fit(X, Y)


def test_a_teachers_word_on_labelled_texts_is_held_out_with_their_group(
    encoder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Students of train's own texts: no head that chooses the strength has met a row of a group that it is asked of."""
    fitted: list[int] = []
    asked: list[int] = []
    real = EmbeddingClassifier._fitted_head

    def noted(self: Any, strength: float, vectors: Any, labels: Any, weight: Any = None) -> Any:
        fitted.append(len(np.unique(np.round(vectors, 6), axis=0)))
        return real(self, strength, vectors, labels, weight)

    monkeypatch.setattr(EmbeddingClassifier, "_fitted_head", noted)
    real_cost = embeddings.soft_cost
    monkeypatch.setattr(
        embeddings, "soft_cost", lambda probs, soft: (asked.append(len(probs)), real_cost(probs, soft))[1]
    )
    labels = sorted(set(Y))
    soft = (X, labels, np.eye(len(labels))[[labels.index(label) for label in Y]])
    model = EmbeddingClassifier("logreg", encoder, [1.0, 10.0]).fit(X, Y, groups=GROUPS, soft=soft)
    assert model.strength_ in (1.0, 10.0)
    n_groups = len(set(GROUPS))
    n_held = n_groups // embeddings.N_SOFT_FOLDS
    assert asked == [2 * n_held, 2 * n_held], "both rows of every group that is held out"
    n_texts = len(set(X))
    assert fitted[:2] == [n_texts - 2 * n_held] * 2, "and nothing of these groups is fitted on, with or without label"
    assert fitted[2] == n_texts
