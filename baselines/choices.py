"""What multiple choice must beat: chance, and cheap comparisons of the question with each choice.

These take lettered texts (``labelwright.choices``) and answer with letters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.utils.validation import check_is_fitted

from labelwright.choices import split_lettered
from labelwright.predictors.sentence_encoder import shared_encoder
from labelwright.task import LETTERS, Task

TEMPERATURE = 0.05


class _OverLetters(ClassifierMixin, BaseEstimator):
    """A score a choice, softmax over the row's own choices."""

    def fit(self, X: Sequence[str], y: Sequence[str]) -> _OverLetters:  # noqa: N803
        """Take the letters from the rows; subclasses learn more."""
        n_choices = max(len(split_lettered(text)[1]) for text in X)
        self.classes_ = np.array(LETTERS[:n_choices])
        return self

    def predict_proba(self, X: Sequence[str]) -> NDArray[np.float64]:  # noqa: N803
        """Probabilities of shape (n_texts, n_letters); 0 for letters that a row does not use."""
        check_is_fitted(self)
        rows = [split_lettered(text) for text in X]
        scores = np.full((len(rows), len(self.classes_)), -np.inf)
        for row, values in zip(scores, self._scores(rows), strict=True):
            row[: len(values)] = values
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        return weights / weights.sum(axis=1, keepdims=True)

    def predict(self, X: Sequence[str]) -> NDArray[Any]:  # noqa: N803
        """The letter of the best choice of each row."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def _scores(self, rows: Sequence[tuple[str, tuple[str, ...]]]) -> list[NDArray[np.float64]]:
        raise NotImplementedError


class Chance(_OverLetters):
    """Every choice alike. Its accuracy is that of always answering A."""

    def _scores(self, rows: Sequence[tuple[str, tuple[str, ...]]]) -> list[NDArray[np.float64]]:
        return [np.zeros(len(choices)) for _, choices in rows]


class NearestChoice(_OverLetters):
    """Zero-shot: softmax(cosine(question, choice) / temperature)."""

    def __init__(self, temperature: float = TEMPERATURE) -> None:
        self.temperature = temperature

    def encoder_bytes(self) -> int:
        """Bytes of the encoder's files."""
        return shared_encoder().size_bytes()

    def _scores(self, rows: Sequence[tuple[str, tuple[str, ...]]]) -> list[NDArray[np.float64]]:
        return [cosines / self.temperature for cosines in _cosines(rows)]


class PairLogistic(_OverLetters):
    """Logistic regression on what a choice looks like beside its question: closeness, shared words, length."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def fit(self, X: Sequence[str], y: Sequence[str]) -> PairLogistic:  # noqa: N803
        """Learn which choice of a row is the right one."""
        super().fit(X, y)
        rows = [split_lettered(text) for text in X]
        right = [
            LETTERS[k] == letter for (_, choices), letter in zip(rows, y, strict=True) for k in range(len(choices))
        ]
        features = np.concatenate(_features(rows))
        self.mean_, self.scale_ = features.mean(axis=0), features.std(axis=0) + 1e-9
        self.model_ = LogisticRegression(max_iter=1000, random_state=self.seed)
        self.model_.fit((features - self.mean_) / self.scale_, right)
        return self

    def encoder_bytes(self) -> int:
        """Bytes of the encoder's files."""
        return shared_encoder().size_bytes()

    def _scores(self, rows: Sequence[tuple[str, tuple[str, ...]]]) -> list[NDArray[np.float64]]:
        return [self.model_.decision_function((one - self.mean_) / self.scale_) for one in _features(rows)]


def chance(task: Task, seed: int) -> Chance:
    """Unfitted."""
    return Chance()


def minilm_nearest_choice(task: Task, seed: int) -> NearestChoice:
    """Unfitted."""
    return NearestChoice()


def pair_logreg(task: Task, seed: int) -> PairLogistic:
    """Unfitted."""
    return PairLogistic(seed)


def _cosines(rows: Sequence[tuple[str, tuple[str, ...]]]) -> list[NDArray[np.float64]]:
    questions = shared_encoder().embed([question for question, _ in rows]).astype(np.float64)
    choices = shared_encoder().embed([choice for _, choices in rows for choice in choices]).astype(np.float64)
    ends = np.cumsum([len(choices) for _, choices in rows])[:-1]
    return [part @ question for question, part in zip(questions, np.split(choices, ends), strict=True)]


def _features(rows: Sequence[tuple[str, tuple[str, ...]]]) -> list[NDArray[np.float64]]:
    """(n_choices, 5) a row: cosine, cosine above the row's mean, shared words, words, words above the row's mean."""
    features = []
    for (question, choices), cosine in zip(rows, _cosines(rows), strict=True):
        asked = set(question.lower().split())
        shared = np.array([len(asked & set(choice.lower().split())) for choice in choices], dtype=np.float64)
        length = np.array([len(choice.split()) for choice in choices], dtype=np.float64)
        features.append(np.stack([cosine, cosine - cosine.mean(), shared, length, length - length.mean()], axis=1))
    return features
