"""What multiple choice must beat: chance, and cheap comparisons of the question with each choice.

These take lettered texts (``labelwright.data.choices``) and answer with letters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from baselines.base import Rows, TextClassifier
from labelwright.data.arrays import texts_of
from labelwright.data.choices import split_lettered
from labelwright.data.task import LETTERS, Task
from labelwright.errors import DataError
from labelwright.predictors.asked.choices import Choices, Question, features
from labelwright.predictors.encoders.sentence_encoder import DEFAULT

TEMPERATURE = 0.05


class _OverLetters(TextClassifier):
    """The columns are letters: those of ``labels``, else as many as the row with the most choices needs."""

    def fit(self, X: Any, y: Any, *, groups: Any = None, eval_set: Any = None, soft: Any = None) -> Self:  # noqa: N803
        """Learn from lettered texts and letters; see ``TextClassifier.fit``."""
        texts = texts_of(X)
        longest = max((len(split_lettered(text)[1]) for text in texts), default=0)
        letters = LETTERS[: max(longest, len(self.labels or ()))]
        if self.labels is not None and list(self.labels) != list(letters):
            raise DataError(f"labels = {list(self.labels)}: expected letters, A to {letters[-1]} for these rows")
        wrong = [one for one in np.asarray(y, dtype=object).ravel().tolist() if one not in letters]
        if wrong:
            raise DataError(f"label {wrong[0]!r} is no letter of a choice: expected {', '.join(letters)}")
        super().fit(texts, y, groups=groups, eval_set=eval_set, soft=soft)
        self.classes_ = np.array(letters)
        return self

    def _train(self, rows: Rows) -> Choices:
        self._long_texts = rows.long_texts
        questions = [split_lettered(text) for text in rows.texts]
        right = [LETTERS.index(letter) for letter in rows.classes[rows.gold]]
        for number, ((_, choices), place) in enumerate(zip(questions, right, strict=True), start=1):
            if place >= len(choices):
                raise DataError(f"row {number}: the label {LETTERS[place]} is none of its {len(choices)} choices")
        longest = max(len(choices) for _, choices in questions)
        return self._train_on(questions, np.array(right), max(longest, len(self.labels or ())))

    def _train_on(self, questions: list[Question], right: NDArray[np.int64], n_letters: int) -> Choices:
        raise NotImplementedError


class Chance(_OverLetters):
    """Every choice alike. Its accuracy is that of always answering A."""

    def __init__(self, labels: Sequence[Any] | None = None, random_state: int = 0) -> None:
        self.labels = labels
        self.random_state = random_state

    def _train_on(self, questions: list[Question], right: NDArray[np.int64], n_letters: int) -> Choices:
        return Choices(n_letters)


class NearestChoice(_OverLetters):
    """Zero-shot: softmax(cosine(question, choice) / 0.05).

    Parameters
    ----------
    encoder : str
        As in ``labelwright.predictors.encoders.sentence_encoder.open_encoder``.
    """

    def __init__(self, encoder: str = DEFAULT, labels: Sequence[Any] | None = None, random_state: int = 0) -> None:
        self.encoder = encoder
        self.labels = labels
        self.random_state = random_state

    def _train_on(self, questions: list[Question], right: NDArray[np.int64], n_letters: int) -> Choices:
        return Choices(n_letters, (1 / TEMPERATURE, 0.0, 0.0, 0.0, 0.0), self.encoder)


class PairLogistic(_OverLetters):
    """Logistic regression on what a choice looks like beside its question: closeness, shared words, length.

    Parameters
    ----------
    encoder : str
        As in ``labelwright.predictors.encoders.sentence_encoder.open_encoder``.
    """

    def __init__(self, encoder: str = DEFAULT, labels: Sequence[Any] | None = None, random_state: int = 0) -> None:
        self.encoder = encoder
        self.labels = labels
        self.random_state = random_state

    def _train_on(self, questions: list[Question], right: NDArray[np.int64], n_letters: int) -> Choices:
        is_right = [
            k == place for (_, choices), place in zip(questions, right, strict=True) for k in range(len(choices))
        ]
        values = np.concatenate(features(questions, self.encoder, self._long_texts))
        scale = values.std(axis=0) + 1e-9
        # The mean shifts all choices of a row alike, which a softmax over them does not see.
        model = LogisticRegression(max_iter=1000, random_state=self.random_state)
        model.fit((values - values.mean(axis=0)) / scale, is_right)
        return Choices(n_letters, tuple((model.coef_[0] / scale).tolist()), self.encoder)


def chance(task: Task, seed: int) -> Chance:
    """Unfitted."""
    return Chance(random_state=seed)


def minilm_nearest_choice(task: Task, seed: int) -> NearestChoice:
    """Unfitted."""
    return NearestChoice(random_state=seed)


def pair_logreg(task: Task, seed: int) -> PairLogistic:
    """Unfitted."""
    return PairLogistic(random_state=seed)
