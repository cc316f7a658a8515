"""Sentence embeddings as classifiers: the nearest label name without training, and a logistic regression on top."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from labelwright.predictors.sentence_encoder import shared_encoder
from labelwright.task import Task

# The encoder was trained with cosines multiplied by 20 before the softmax (its model card), so 1/20 is its own scale.
TEMPERATURE = 0.05
# Lowest log loss in grouped cross-validation on the train split of runs/homeowner.toml, of 1 to 1000; accuracy is flat.
C = 100.0


class NearestName(ClassifierMixin, BaseEstimator):
    """Zero-shot: softmax(cosine(text, label text) / temperature).

    ``y`` must hold the label names themselves: scikit-learn's ``cross_val_predict`` turns them into numbers first.

    Parameters
    ----------
    descriptions : mapping of label to str, optional
        Added to the label's name; names alone are compared without it.
    temperature : float, default 0.05

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels of ``y``, sorted: all that ``fit`` takes from the rows.
    vectors_ : ndarray of shape (n_classes, n_dimensions)
    """

    def __init__(self, descriptions: Any = None, temperature: float = TEMPERATURE) -> None:
        self.descriptions = descriptions
        self.temperature = temperature

    def fit(self, X: Sequence[str], y: Sequence[str]) -> NearestName:  # noqa: N803
        """Embed the label names."""
        self.classes_ = np.unique(np.asarray(y))
        self.vectors_ = shared_encoder().embed([self._label_text(str(name)) for name in self.classes_])
        return self

    def predict_proba(self, X: Sequence[str]) -> NDArray[np.float64]:  # noqa: N803
        """Probabilities of shape (n_texts, n_classes)."""
        check_is_fitted(self)
        logits = shared_encoder().embed(X).astype(np.float64) @ self.vectors_.T / self.temperature
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        return weights / weights.sum(axis=1, keepdims=True)

    def predict(self, X: Sequence[str]) -> NDArray[Any]:  # noqa: N803
        """The nearest label of each text."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def encoder_bytes(self) -> int:
        """Bytes of the encoder's files."""
        return shared_encoder().size_bytes()

    def _label_text(self, name: str) -> str:
        description = (self.descriptions or {}).get(name, "")
        words = name.replace("_", " ")
        return f"{words}: {description}" if description else words


class SentenceEmbedder(TransformerMixin, BaseEstimator):
    """Texts to unit vectors, as a pipeline step."""

    def fit(self, X: Sequence[str], y: Any = None) -> SentenceEmbedder:  # noqa: N803
        """Nothing to learn."""
        return self

    def fit_transform(self, X: Sequence[str], y: Any = None) -> NDArray[np.float32]:  # noqa: N803
        """As ``transform``, remembering the training rows for other folds and baselines."""
        return shared_encoder().embed(X, remember=True)

    def transform(self, X: Sequence[str]) -> NDArray[np.float32]:  # noqa: N803
        """Vectors of shape (n_texts, n_dimensions)."""
        return shared_encoder().embed(X)

    def encoder_bytes(self) -> int:
        """Bytes of the encoder's files."""
        return shared_encoder().size_bytes()

    def __sklearn_is_fitted__(self) -> bool:
        return True


def minilm_nearest_name(task: Task, seed: int) -> NearestName:
    """Unfitted. Compares with label names alone, as its name says."""
    return NearestName()


def minilm_logreg(task: Task, seed: int) -> Pipeline:
    """Unfitted. Multinomial logistic regression on the embeddings."""
    return Pipeline(
        [
            ("embed", SentenceEmbedder()),
            ("logreg", LogisticRegression(C=C, max_iter=1000, random_state=seed)),
        ]
    )
