"""Zero-shot candidates that ask a model made for it: entailment, and GLiClass. They take only labels from ``y``.

``y`` must hold the label names themselves: scikit-learn's ``cross_val_predict`` turns them into numbers first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from baselines.base import Rows, TextClassifier
from labelwright.data.task import Task
from labelwright.errors import RecipeError
from labelwright.predictors.zero_shot import Entailment, Gliclass, open_entailment, open_gliclass

ENTAILMENT_MODEL = "tasksource/ModernBERT-base-nli"
GLICLASS_MODEL = "knowledgator/gliclass-small-v1.0"
TEMPLATE = "This text is about {}."


class EntailmentClassifier(TextClassifier):
    """Asks a model of natural language inference whether the text entails a sentence on each label.

    Parameters
    ----------
    model : str
        Folder or Hugging Face id of a cross-encoder with an entailment label.
    template : str
        The sentence, {} standing for the label.
    descriptions : mapping of label to str, optional
        Added to the label's name.
    """

    def __init__(
        self,
        model: str = ENTAILMENT_MODEL,
        template: str = TEMPLATE,
        descriptions: Mapping[str, str] | None = None,
        labels: Sequence[Any] | None = None,
        random_state: int = 0,
    ) -> None:
        self.model = model
        self.template = template
        self.descriptions = descriptions
        self.labels = labels
        self.random_state = random_state

    def _train(self, rows: Rows) -> Entailment:
        if "{}" not in self.template:
            raise RecipeError(f"template = {self.template!r}: expected a sentence with {{}} where the label goes")
        open_entailment(self.model)
        texts = _label_texts(rows, self.descriptions)
        return Entailment(self.model, [self.template.replace("{}", text) for text in texts])


class GliclassClassifier(TextClassifier):
    """Asks a GLiClass model, which reads all labels beside the text.

    Parameters
    ----------
    model : str
        Folder or Hugging Face id of a uni-encoder GLiClass model.
    descriptions : mapping of label to str, optional
        Added to the label's name.
    """

    def __init__(
        self,
        model: str = GLICLASS_MODEL,
        descriptions: Mapping[str, str] | None = None,
        labels: Sequence[Any] | None = None,
        random_state: int = 0,
    ) -> None:
        self.model = model
        self.descriptions = descriptions
        self.labels = labels
        self.random_state = random_state

    def _train(self, rows: Rows) -> Gliclass:
        open_gliclass(self.model)
        return Gliclass(self.model, _label_texts(rows, self.descriptions))


def entailment(task: Task, seed: int) -> EntailmentClassifier:
    """Unfitted. With the labels' descriptions where they have any."""
    return EntailmentClassifier(descriptions=_descriptions(task), random_state=seed)


def gliclass(task: Task, seed: int) -> GliclassClassifier:
    """Unfitted. With the labels' descriptions where they have any."""
    return GliclassClassifier(descriptions=_descriptions(task), random_state=seed)


def _descriptions(task: Task) -> dict[str, str] | None:
    return {label.name: label.description for label in task.labels if label.description} or None


def _label_texts(rows: Rows, descriptions: Mapping[str, str] | None) -> list[str]:
    texts = []
    for label in map(str, rows.classes):
        description = (descriptions or {}).get(label, "")
        words = label.replace("_", " ")
        texts.append(f"{words}: {description}" if description else words)
    return texts
