"""Baselines: what a tuned model must beat. Scikit-learn classifiers over texts, one family a file.

All are ``baselines.base.TextClassifier``: ``fit``, ``predict``, ``predict_proba``, ``classes_`` (sorted labels), ``save``
and ``load`` without pickle. A new rung is a factory in its family's file and a line in ``BASELINES``; families are
imported when asked for, so that one whose library is missing is one missing rung.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from labelwright.errors import DataError, RecipeError
from labelwright.task import Task

if TYPE_CHECKING:
    from baselines.base import TextClassifier


class Baseline(NamedTuple):
    """Where a rung's factory lives, and what the rung is, in a line for reports."""

    module: str
    factory: str
    about: str

    def __call__(self, task: Task, seed: int) -> TextClassifier:
        """An unfitted estimator. Raises LabelwrightError where the task does not allow it."""
        make: Callable[[Task, int], TextClassifier] = getattr(importlib.import_module(self.module), self.factory)
        return make(task, seed)


BASELINES: Mapping[str, Callable[[Task, int], Any]] = {
    "majority": Baseline("baselines.majority", "majority", "label shares of train"),
    "sgd-ngrams": Baseline("baselines.linear", "sgd_ngrams", "linear, words and pairs of words"),
    "sgd-chars": Baseline("baselines.linear", "sgd_chars", "linear, 2 to 5 characters, hashed"),
    "minilm-nearest-name": Baseline("baselines.embeddings", "minilm_nearest_name", "zero-shot, nearest label name"),
    "minilm-nearest-description": Baseline(
        "baselines.embeddings", "minilm_nearest_description", "zero-shot, nearest label name and description"
    ),
    "minilm-logreg": Baseline("baselines.embeddings", "minilm_logreg", "embeddings, logistic regression"),
    "minilm-svm": Baseline("baselines.embeddings", "minilm_svm", "embeddings, linear support vector machine"),
    "minilm-mlp": Baseline("baselines.embeddings", "minilm_mlp", "embeddings, one hidden layer"),
    "minilm-knn": Baseline("baselines.embeddings", "minilm_knn", "embeddings, nearest neighbours"),
    "encoder-ce": Baseline("baselines.finetuned", "encoder_ce", "encoder, all weights, cross-entropy"),
    "encoder-supcon": Baseline("baselines.finetuned", "encoder_supcon", "encoder, supervised contrastive loss"),
    "encoder-mixed": Baseline("baselines.finetuned", "encoder_mixed", "encoder, half of each loss"),
    "encoder-lora": Baseline("baselines.finetuned", "encoder_lora", "encoder, LoRA, cross-entropy"),
    "encoder-pairs": Baseline("baselines.finetuned", "encoder_pairs", "encoder, contrastive pairs as in SetFit"),
    "llm-head": Baseline("baselines.finetuned", "llm_head", "classification head on the LLM, LoRA"),
    "entailment": Baseline("baselines.zero_shot", "entailment", "zero-shot, natural language inference"),
    "gliclass": Baseline("baselines.zero_shot", "gliclass", "zero-shot, GLiClass"),
    "chance": Baseline("baselines.choices", "chance", "every choice alike"),
    "minilm-nearest-choice": Baseline("baselines.choices", "minilm_nearest_choice", "choice nearest to the question"),
    "pair-logreg": Baseline("baselines.choices", "pair_logreg", "logistic regression on question and choice"),
}
# What makes sense where every row brings its own choices, and only there.
OF_CHOICES = ("chance", "minilm-nearest-choice", "pair-logreg")


def make(name: str, task: Task, seed: int, settings: Mapping[str, Any] | None = None) -> TextClassifier:
    """An unfitted rung, with its settings changed.

    Raises
    ------
    DataError
        The rung cannot do the task.
    RecipeError
        A setting that the estimator does not have.
    """
    if name != "majority" and (name in OF_CHOICES) != task.by_row:
        needs = "rows with their own choices" if name in OF_CHOICES else "labels that all rows share"
        raise DataError(f"{name} needs {needs}: take it off the recipe")
    estimator = BASELINES[name](task, seed)
    known = [key for key in estimator.get_params(deep=False) if key not in ("labels", "random_state")]
    for key in settings or ():
        if key not in known:
            raise RecipeError(f"{name} has no setting {key!r}; it has {', '.join(known) or 'none'}")
    estimator.set_params(**(settings or {}))
    return estimator
