"""What multiple choice must beat: chance, and cheap comparisons of the question with each choice.

These take lettered texts (``labelwright.choices``) and answer with letters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
from sklearn.linear_model import LogisticRegression

from baselines.base import Rows, TextClassifier
from labelwright.arrays import texts_of
from labelwright.choices import split_lettered
from labelwright.predictors.choices import Choices, features
from labelwright.task import LETTERS, Task

TEMPERATURE = 0.05


class _OverLetters(TextClassifier):
    """The columns are letters, as many as the row with the most choices needs."""

    def __init__(self, labels: Sequence[Any] | None = None, random_state: int = 0) -> None:
        self.labels = labels
        self.random_state = random_state

    def fit(self, X: Any, y: Any, *, groups: Any = None, eval_set: Any = None) -> Self:  # noqa: N803
        """Learn from lettered texts and letters; see ``TextClassifier.fit``."""
        texts = texts_of(X)
        super().fit(texts, y, groups=groups, eval_set=eval_set)
        n_letters = max(len(split_lettered(text)[1]) for text in texts)
        self.predictor_ = replace(self.predictor_, n_letters=n_letters)
        self.classes_ = np.array(LETTERS[:n_letters])
        return self


class Chance(_OverLetters):
    """Every choice alike. Its accuracy is that of always answering A."""

    def _train(self, rows: Rows) -> Choices:
        return Choices(0)


class NearestChoice(_OverLetters):
    """Zero-shot: softmax(cosine(question, choice) / 0.05)."""

    def _train(self, rows: Rows) -> Choices:
        return Choices(0, (1 / TEMPERATURE, 0.0, 0.0, 0.0, 0.0))


class PairLogistic(_OverLetters):
    """Logistic regression on what a choice looks like beside its question: closeness, shared words, length."""

    def _train(self, rows: Rows) -> Choices:
        questions = [split_lettered(text) for text in rows.texts]
        letters = rows.classes[rows.gold]
        right = [
            LETTERS[k] == letter
            for (_, choices), letter in zip(questions, letters, strict=True)
            for k in range(len(choices))
        ]
        values = np.concatenate(features(questions))
        scale = values.std(axis=0) + 1e-9
        # The mean shifts all choices of a row alike, which a softmax over them does not see.
        model = LogisticRegression(max_iter=1000, random_state=self.random_state)
        model.fit((values - values.mean(axis=0)) / scale, right)
        return Choices(0, tuple((model.coef_[0] / scale).tolist()))


def chance(task: Task, seed: int) -> Chance:
    """Unfitted."""
    return Chance(random_state=seed)


def minilm_nearest_choice(task: Task, seed: int) -> NearestChoice:
    """Unfitted."""
    return NearestChoice(random_state=seed)


def pair_logreg(task: Task, seed: int) -> PairLogistic:
    """Unfitted."""
    return PairLogistic(random_state=seed)
