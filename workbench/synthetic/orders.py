"""What is asked for: which seed rows, whose voice, what length, and which labels are confusable with which.

The order hangs on the recipe's seed and on texts alone, so the same command asks the same questions.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from labelwright.data.task import Example, Label, by_label
from workbench.recipe.tables.synthetic import SyntheticTable
from workbench.synthetic.wording import Order, Seed

Vectors = Callable[[Sequence[str]], Any]
# Confusable labels that are named with a row of each.
_N_CONFUSABLE = 2


class Orders:
    """Endless orders for each label.

    Parameters
    ----------
    train : sequence of Example
    pool : sequence of str
        Rows without labels, in an order of chance; empty for none.
    vectors : callable
        From texts to their vectors, rows of an array or of a sparse matrix.
    """

    def __init__(
        self,
        labels: Sequence[Label],
        train: Sequence[Example],
        pool: Sequence[str],
        table: SyntheticTable,
        seed: int,
        vectors: Vectors,
    ) -> None:
        self._table = table
        self._rows = {label.name: by_label(train).get(label.name, []) for label in labels}
        near = _nearness(labels, self._rows, pool, vectors)
        names = [label.name for label in labels]
        self.confusable = {
            name: [names[j] for j in np.argsort(-near[i], kind="stable") if j != i and j < len(names)]
            for i, name in enumerate(names)
        }
        of_pool: dict[str, list[str]] = {name: [] for name in names}
        for place, text in enumerate(pool, start=len(names)):
            of_pool[names[int(near[:, place].argmax())]].append(text)
        self._labels = {label.name: label for label in labels}
        self._chance = {name: random.Random(f"{seed} {name}") for name in names}
        self._seeds = {name: self._shuffled(name, of_pool[name]) for name in names}
        self._given = dict.fromkeys(names, 0)

    def next(self, name: str) -> Order:
        """The next order of a label."""
        number, chance, table = self._given[name], self._chance[name], self._table
        self._given[name] += 1
        seeds = self._seeds[name]
        other = [one for one in self.confusable[name] if self._rows[one]][:_N_CONFUSABLE]
        confusable = tuple((one, chance.choice(self._rows[one]).text) for one in other)
        seed = seeds[number % len(seeds)]
        persona, length = chance.choice(table.personas), chance.choice(table.lengths)
        return Order(self._labels[name], seed, persona, length, confusable, table.rows_per_call, number)

    def _shuffled(self, name: str, of_pool: Sequence[str]) -> list[Seed]:
        """Real rows of the pool that are nearest to a label; where it has none, its train rows; else one of no text."""
        seeds = [Seed(text) for text in of_pool] or [Seed(row.text, row.id) for row in self._rows[name]] or [Seed("")]
        self._chance[name].shuffle(seeds)
        return seeds


def _nearness(
    labels: Sequence[Label], rows: Mapping[str, Sequence[Example]], pool: Sequence[str], vectors: Vectors
) -> Any:
    """Cosines of the middle of each label (its name, its description, its train rows) to the others and to the pool.

    Of shape (n_labels, n_labels + n_pool).
    """
    texts, owner = [], []
    for number, label in enumerate(labels):
        own = [f"{label.name} {label.description}".strip(), *(row.text for row in rows[label.name])]
        texts += own
        owner += [number] * len(own)
    found = vectors([*texts, *pool])
    every = np.asarray(found.todense()) if hasattr(found, "todense") else np.asarray(found)
    every = every / np.maximum(np.linalg.norm(every, axis=1, keepdims=True), 1e-12)
    middles = np.stack([every[: len(texts)][np.array(owner) == n].mean(axis=0) for n in range(len(labels))])
    middles /= np.maximum(np.linalg.norm(middles, axis=1, keepdims=True), 1e-12)
    return middles @ np.vstack([middles, every[len(texts) :]]).T
