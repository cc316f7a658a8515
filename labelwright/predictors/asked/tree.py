"""A classifier at each inner node of a tree of labels: a label's probability is the product down its path."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from labelwright.errors import BundleError
from labelwright.predictors.asked.parts import OfParts
from labelwright.predictors.encoders.sentence_encoder import one_pass
from labelwright.predictors.protocol import Predictor
from labelwright.predictors.store import kind_and_labels, load_predictor, point_folders
from labelwright.reading import AGAIN, read_object

_FILE = "tree.json"
# A label's way down: of each node on it that has a classifier, which one, and the column of the child.
Steps = Sequence[tuple[int, int]]


class LocalTree(OfParts):
    """Predictors of nodes, and each label's way through them.

    Parameters
    ----------
    parts : sequence of (Predictor, children)
        Of each inner node with several children; columns are these.
    steps : sequence of Steps
        One a label, in the order of the columns.
    """

    kind: ClassVar[str] = "tree"

    def __init__(self, parts: Sequence[tuple[Predictor, Sequence[Any]]], steps: Sequence[Steps]) -> None:
        super().__init__(parts)
        self.steps = [[(int(part), int(child)) for part, child in one] for one in steps]

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Shape (n_texts, n_labels). Raises BundleError where no label has any probability."""
        # An encoder that several of them share reads each text once.
        with one_pass():
            of_node = [predictor.probabilities(texts) for predictor, _ in self.parts]
        found = np.ones((len(texts), len(self.steps)))
        for label, steps in enumerate(self.steps):
            for part, child in steps:
                found[:, label] *= of_node[part][:, child]
        total = found.sum(axis=1, keepdims=True)
        if not (total > 0).all():
            raise BundleError(f"classifiers of a tree give every label the probability 0; {AGAIN}")
        return np.asarray(found / total)

    def save(self, folder: Path) -> None:
        """Write each into a folder of its own, and the ways."""
        super().save(folder)
        (folder / _FILE).write_text(json.dumps({"steps": self.steps}) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> LocalTree:
        """Read them. Raises BundleError where they do not fit together, or as each does."""
        parts = [load_predictor(one) for one in point_folders(folder)]
        steps = read_object(folder / _FILE)["steps"]
        sizes = [len(children) for _, children in parts]
        n_labels = len(kind_and_labels(folder)[1])
        if not isinstance(steps, list) or len(steps) != n_labels or not all(_fits(one, sizes) for one in steps):
            raise BundleError(f"{folder}: classifiers and the ways through them do not fit together; {AGAIN}")
        return cls(parts, steps)


def _fits(steps: Any, sizes: Sequence[int]) -> bool:
    """Whether a label's way is pairs of whole numbers, of parts and children that there are."""
    if not isinstance(steps, list) or not steps:
        return False
    pairs = all(isinstance(one, list) and [type(number) for number in one] == [int, int] for one in steps)
    return pairs and all(0 <= part < len(sizes) and 0 <= child < sizes[part] for part, child in steps)
