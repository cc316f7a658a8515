"""Labels that are paths: a classifier at each inner node, which tells its children apart; products down the path.

Local classifiers per parent node (Silla and Freitas 2011, "A survey of hierarchical classification"). A node's
classifier learns from the rows below it alone, and need not know what is far away.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from baselines import BASELINES
from baselines.base import Rows, TextClassifier
from baselines.settings import FAMILIES
from labelwright.data.asked.tree import path_of
from labelwright.data.task import Label, Task
from labelwright.errors import RecipeError
from labelwright.predictors.asked.tree import LocalTree
from labelwright.predictors.protocol import Predictor

# Families are made for a task, of which those that learn need nothing.
_ANY = Task("node", "Which child?", tuple(map(Label, ("one", "another"))))


class LocalClassifiers(TextClassifier):
    """A classifier of one family at each node that has several children.

    Parameters
    ----------
    family : str
        As the baseline of that name, one of ``baselines.settings.FAMILIES``.
    encoder : str
        Of a family that embeds; empty for its own.
    separator : str
        Between the parts of a label; labels without it, numbers among them, are children of the root.
    """

    def __init__(
        self,
        family: str = "minilm-logreg",
        encoder: str = "",
        separator: str = " > ",
        labels: Sequence[Any] | None = None,
        random_state: int = 0,
    ) -> None:
        self.family = family
        self.encoder = encoder
        self.separator = separator
        self.labels = labels
        self.random_state = random_state

    def _train(self, rows: Rows) -> LocalTree:
        paths = [path_of(str(one), self.separator) for one in rows.classes.tolist()]
        children: dict[tuple[str, ...], dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        for label, path in enumerate(paths):
            for depth, child in enumerate(path):
                children[path[:depth]][child].append(label)
        parts: list[tuple[Predictor, list[str]]] = []
        steps: list[list[tuple[int, int]]] = [[] for _ in paths]
        for below in children.values():
            if len(below) < 2:
                continue
            of_label = {label: child for child, labels in below.items() for label in labels}
            fitted = self._fitted(rows, of_label)
            columns = [str(one) for one in fitted.classes_]
            for label, child in of_label.items():
                steps[label].append((len(parts), columns.index(child)))
            parts.append((fitted.predictor_, columns))
        return LocalTree(parts, steps)

    def _fitted(self, rows: Rows, of_label: dict[int, str]) -> TextClassifier:
        """The classifier of a node: of its rows, by child."""
        at = np.flatnonzero(np.isin(rows.gold, list(of_label)))
        texts, labels = [rows.texts[i] for i in at], [of_label[int(rows.gold[i])] for i in at]
        estimator = self._unfitted()
        estimator.long_rows = rows.long_texts.how
        estimator.fit(texts, labels, groups=None if rows.groups is None else rows.groups[at].tolist())
        rows.long_texts.n_shortened = max(rows.long_texts.n_shortened, estimator.n_shortened_)
        return estimator

    def _unfitted(self) -> TextClassifier:
        if self.family not in FAMILIES:
            raise RecipeError(f"family = {self.family!r}: expected one of {', '.join(FAMILIES)}")
        estimator = BASELINES[self.family](_ANY, self.random_state)
        if "encoder" in estimator.get_params() and self.encoder:
            estimator.set_params(encoder=self.encoder)
        return estimator


def local_ngrams(task: Task, seed: int) -> LocalClassifiers:
    """Unfitted. Words and pairs of words."""
    return LocalClassifiers("sgd-ngrams", separator=task.tree_separator, random_state=seed)


def local_minilm(task: Task, seed: int) -> LocalClassifiers:
    """Unfitted. Logistic regressions on embeddings."""
    return LocalClassifiers(separator=task.tree_separator, random_state=seed)
