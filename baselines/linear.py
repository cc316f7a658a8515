"""A linear classifier on word 1-2-grams, by stochastic gradient descent: seconds to train, no language model."""

from __future__ import annotations

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import SGDClassifier
from sklearn.pipeline import Pipeline

from labelwright.task import Task

# Lowest log loss in grouped cross-validation on the train split of runs/homeowner.toml, of 3e-6 to 3e-4.
ALPHA = 1e-5


def sgd_ngrams(task: Task, seed: int) -> Pipeline:
    """Unfitted. One logistic regression a label, probabilities normalised over labels."""
    return Pipeline(
        [
            ("ngrams", TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)),
            ("linear", SGDClassifier(loss="log_loss", alpha=ALPHA, max_iter=200, random_state=seed)),
        ]
    )
