"""The demos stage: in-context examples, k a label, the same for every row, so that they are read once.

Which rows: the most typical of each label (nearest to the mean of its sentence embeddings), or a random draw; which
of these, and how many a label, is chosen on dev under a token budget. Weights stay.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, ClassVar

import numpy as np

from labelwright.bundle.types import Bundle
from labelwright.data.task import Example, Splits, by_label, group_keys
from labelwright.errors import DataError
from labelwright.predictors.encoders.sentence_encoder import open_encoder
from labelwright.prompt import Demo, Prompt
from labelwright.settings import Items, Range, Text, check
from optimizers.prompt_choice import choose_prompt, with_choice
from optimizers.stage import StageContext


@dataclass(frozen=True)
class DemosStage:
    """Settings of the recipe's ``[demos]`` table.

    Attributes
    ----------
    per_label : tuple of int, each above 0
        Numbers of examples a label that are tried; none is always tried as well.
    draws : int
        Random draws tried of each number, beside the typical rows.
    token_budget : int
        The most tokens that a prompt may have, row included, on average over dev.
    encoder : str
        What tells typical rows; see ``labelwright.predictors.encoders.sentence_encoder.open_encoder``.
    """

    per_label: Annotated[tuple[Annotated[int, Range(1, 1000)], ...], Items(least=1, distinct=False)] = (1, 2)
    draws: Annotated[int, Range(0, 1000)] = 1
    token_budget: Annotated[int, Range(1)] = 900
    encoder: Annotated[str, Text(least=1)] = "minilm"

    name: ClassVar[str] = "demos"

    def __post_init__(self) -> None:
        check(self, "[demos] ")

    def run(self, bundle: Bundle, splits: Splits, context: StageContext) -> Bundle:
        """The bundle with the examples that dev likes best, or the same one where it likes none.

        Raises
        ------
        DataError
            The train or the dev split is empty.
        """
        context.tracker.params(asdict(self))
        if not splits.train:
            raise DataError("the train split is empty: there are no rows to take examples from")
        prompts = self._prompts(bundle.prompt, splits.train, context.seed)
        choice = choose_prompt(bundle, prompts, splits.dev, context, self.token_budget)
        return with_choice(bundle, choice, self.name, asdict(self), context)

    def _prompts(self, prompt: Prompt, train: Sequence[Example], seed: int) -> Iterator[tuple[dict[str, Any], Prompt]]:
        """Prompts with more and more examples; the typical ones first."""
        read = [replace(row, text=prompt.read_of(row.text)) for row in train] if prompt.points else train
        typical = typical_rows(read, self.encoder)
        for k in sorted(set(self.per_label)):
            rng = np.random.default_rng([seed, k])
            yield {"k": k, "how": "typical"}, replace(prompt, demos=_mixed(typical, k, rng))
            for draw in range(self.draws):
                drawn = {label: _shuffled(rows, rng) for label, rows in typical.items()}
                yield {"k": k, "how": f"draw {draw + 1}"}, replace(prompt, demos=_mixed(drawn, k, rng))


def typical_rows(rows: Sequence[Example], encoder: str) -> dict[str, list[Example]]:
    """Each label's rows, the most typical first, and those of a group that was already shown last."""
    opened = open_encoder(encoder)
    ranked = {}
    for label, own in by_label(rows).items():
        vectors = opened.embed([row.text for row in own], remember=True)
        nearness = vectors @ vectors.mean(axis=0)
        order = [own[i] for i in np.argsort(-nearness, kind="stable")]
        seen: set[str] = set()
        # ``add`` gives None: of each group the first row is not there again.
        again = [group in seen or bool(seen.add(group)) for group in group_keys(order)]  # type: ignore[func-returns-value]
        ranked[label] = [order[i] for i in np.argsort(again, kind="stable")]
    return ranked


def _shuffled(rows: Sequence[Example], rng: np.random.Generator) -> list[Example]:
    return [rows[i] for i in rng.permutation(len(rows))]


def _mixed(ranked: dict[str, list[Example]], k: int, rng: np.random.Generator) -> tuple[Demo, ...]:
    """The first k rows of every label, labels in turn: a model leans towards what it was shown last."""
    demos: list[Demo] = []
    labels = list(ranked)
    for place in range(k):
        for i in rng.permutation(len(labels)):
            rows = ranked[labels[i]]
            if place < len(rows):
                demos.append((" ".join(rows[place].text.split()), rows[place].label))
    return tuple(demos)
