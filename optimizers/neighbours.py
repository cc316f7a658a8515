"""The neighbours stage: in-context examples that differ by row, the k train rows that are most like it.

``labelwright.predictors.encoders.neighbours`` finds them, ``labelwright.prompt`` writes them down; how many is chosen
on dev under a token budget (kNN prompting of Liu et al. 2022, "What Makes Good In-Context Examples for GPT-3?"). They
stand in the row's own segment, so a row costs more than one that shares all its examples. Weights stay.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Annotated, ClassVar

from labelwright.bundle.types import Bundle
from labelwright.data.asked.asking import asking
from labelwright.data.task import Splits, group_keys
from labelwright.errors import DataError, RecipeError
from labelwright.prompt import Neighbours
from labelwright.settings import Items, Range, Text, check
from optimizers.prompt_choice import choose_prompt, with_choice
from optimizers.stage import StageContext


@dataclass(frozen=True)
class NeighboursStage:
    """Settings of the recipe's ``[neighbours]`` table.

    Attributes
    ----------
    k : tuple of int, each above 0
        Numbers of examples that are tried; none is always tried as well.
    token_budget : int
        The most tokens that a prompt may have, row included, on average over dev.
    encoder : str
        See ``labelwright.predictors.encoders.sentence_encoder.open_encoder``.
    """

    k: Annotated[tuple[Annotated[int, Range(1, 1000)], ...], Items(least=1, distinct=False)] = (2, 4, 8)
    token_budget: Annotated[int, Range(1)] = 900
    encoder: Annotated[str, Text(least=1)] = "minilm"

    name: ClassVar[str] = "neighbours"

    def __post_init__(self) -> None:
        check(self, "[neighbours] ")

    def run(self, bundle: Bundle, splits: Splits, context: StageContext) -> Bundle:
        """The bundle with the number of neighbours that dev likes best, or the same one where it likes none.

        Raises
        ------
        RecipeError
            If rows do not share one list of labels: the answer to another row says nothing about this one's.
        DataError
            The train or the dev split is empty.
        """
        if beyond := asking(bundle.task).beyond:
            raise RecipeError(
                f"[neighbours] {beyond}, and the answer that was right for a similar row says nothing about this one; "
                'use "demos", or leave the stage out'
            )
        if not splits.train:
            raise DataError("the train split is empty: there are no rows to find neighbours among")
        context.tracker.params(asdict(self))
        pool = tuple((row.text, row.label) for row in splits.train)
        number: dict[str, int] = {}
        groups = tuple(number.setdefault(key, len(number)) for key in group_keys(splits.train))
        prompts = [
            ({"k": k}, replace(bundle.prompt, neighbours=Neighbours(pool, k, self.encoder, groups)))
            for k in sorted(set(self.k))
        ]
        choice = choose_prompt(bundle, prompts, splits.dev, context, self.token_budget)
        return with_choice(bundle, choice, self.name, asdict(self), context)
