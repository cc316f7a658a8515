"""Linear classifiers on n-grams of words or characters, by stochastic gradient descent: seconds to train, no torch.

Defaults were chosen by cross-validation on the train rows of three datasets (homeowner, banking77, HINT3 sofmattress):
alpha between 5e-6 and 2e-5 is within half a point of the best on each; counting words of one character (I, a, digits)
is worth half a point on banking77; averaged weights, other losses and pruning rare n-grams gain nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer, TfidfVectorizer
from sklearn.linear_model import SGDClassifier
from sklearn.pipeline import Pipeline

from baselines.base import Rows, TextClassifier
from baselines.soft import texts_of_both, weighted
from labelwright.data.task import Task
from labelwright.errors import RecipeError
from labelwright.predictors.ngrams import WORDS, Ngrams


class NgramClassifier(TextClassifier):
    """Tf-idf of n-grams, one logistic regression a label, probabilities normalised over labels.

    Parameters
    ----------
    analyzer : {"word", "char"}
        Words have one character or more; characters are taken within words, with the space around them.
    shortest, longest : int
        Of the n-grams.
    n_features : int
        0 keeps the vocabulary of the rows; otherwise n-grams are hashed into so many columns, which bounds the size on
        disk at 4 bytes a column and label.
    alpha : float, above 0
        Strength of the penalty.
    max_iter : int
        Passes over the rows at most.
    """

    learns_soft = True

    def __init__(
        self,
        analyzer: Literal["word", "char"] = "word",
        shortest: int = 1,
        longest: int = 2,
        n_features: int = 0,
        alpha: float = 1e-5,
        max_iter: int = 200,
        labels: Sequence[Any] | None = None,
        random_state: int = 0,
    ) -> None:
        self.analyzer = analyzer
        self.shortest = shortest
        self.longest = longest
        self.n_features = n_features
        self.alpha = alpha
        self.max_iter = max_iter
        self.labels = labels
        self.random_state = random_state

    def _train(self, rows: Rows) -> Ngrams:
        if self.analyzer not in ("word", "char"):
            raise RecipeError(f'analyzer = {self.analyzer!r}: expected "word" or "char"')
        if not 1 <= self.shortest <= self.longest:
            raise RecipeError(f"shortest = {self.shortest} and longest = {self.longest}: expected 1 or more, in order")
        if self.alpha <= 0:
            raise RecipeError(f"alpha = {self.alpha}: expected a number above 0")
        linear = SGDClassifier(
            loss="log_loss", alpha=self.alpha, max_iter=self.max_iter, random_state=self.random_state
        )
        weighting = Pipeline(self._weighting())
        try:
            counts = weighting.fit_transform(texts_of_both(rows.texts, rows.soft))
        except ValueError as error:
            if "empty vocabulary" in str(error):
                raise RecipeError(f'no row has {self.shortest} word(s) in it: use analyzer = "char"') from error
            raise
        if rows.soft is None:
            linear.fit(counts, rows.gold)
        else:
            # A label's own logistic regression sees p of a row as its label and 1 - p as any other.
            row, gold, weight = weighted(rows.gold, rows.soft.probs)
            linear.fit(counts[row], gold, sample_weight=weight)
        pipeline = Pipeline([*weighting.steps, ("linear", linear)])
        return Ngrams.of(pipeline)

    def _weighting(self) -> list[tuple[str, Any]]:
        settings: dict[str, Any] = {"analyzer": "char_wb", "ngram_range": (self.shortest, self.longest)}
        if self.analyzer == "word":
            settings |= {"analyzer": "word", "token_pattern": WORDS[1]}
        if not self.n_features:
            return [("ngrams", TfidfVectorizer(**settings, sublinear_tf=True, dtype=np.float32))]
        hashed = HashingVectorizer(**settings, n_features=self.n_features, norm=None, alternate_sign=False)
        return [("ngrams", hashed), ("tfidf", TfidfTransformer(sublinear_tf=True))]


def sgd_ngrams(task: Task, seed: int) -> NgramClassifier:
    """Unfitted. Words and pairs of words."""
    return NgramClassifier(random_state=seed)


def sgd_chars(task: Task, seed: int) -> NgramClassifier:
    """Unfitted. Two to five characters, hashed."""
    return NgramClassifier(analyzer="char", shortest=2, longest=5, n_features=2**13, random_state=seed)
