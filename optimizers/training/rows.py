"""The training rows: as tokens, in the order in which a training meets them, and as the first weights answered them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from labelwright.data.records import listed
from labelwright.data.task import Example
from labelwright.decide import render_rows
from labelwright.engines.images.reader import ImageReader
from labelwright.engines.options.tree import OptionTree
from labelwright.engines.packed.packing import Row
from labelwright.engines.transformers import TransformersEngine
from labelwright.errors import DataError
from labelwright.pictures.imaged import imaged
from labelwright.prompt import Prompt, Rendered

# Tokens from this number on are none of a vocabulary's: they stand for the images of rows, in their order. Images of
# one size have the same tokens, and rows are told apart by theirs.
_IMAGES = 2**30


Tokens = tuple[int, ...]


@dataclass(frozen=True)
class LabelRows:
    """The training rows as tokens.

    Attributes
    ----------
    prefix : tuple of int
        Tokens before every row.
    rows : tuple of tuple of int
        Tokens of each row up to the answer, shortened to fit the model's context where the engine's settings say so. An
        image is one token, of a number that no vocabulary has; ``row`` puts its own in the place.
    tree : OptionTree
        Over all labels, in label order.
    gold : int64 array (n_rows,)
    texts : tuple of str
        Rendered prompts, for TRL's logs.
    present : bool array (n_rows, n_labels), optional
        The labels that each row can have (``Prompt.classes_of``). None where all can have all.
    targets : float32 array (n_rows, n_labels), optional
        Probabilities to learn, where some rows have a teacher and no label: 1 under a label that a row has.
    shares_readings : bool
        Whether rows are points of the same texts, which are read once for all of them.
    images : tuple of (str, str)
        Images of rows, each with the template's markup around it, as ``ImageReader.see`` takes them.
    """

    prefix: tuple[int, ...]
    rows: tuple[tuple[int, ...], ...]
    tree: OptionTree
    gold: NDArray[np.int64]
    texts: tuple[str, ...]
    present: NDArray[np.bool_] | None = None
    targets: NDArray[np.float32] | None = None
    shares_readings: bool = False
    images: tuple[tuple[str, str], ...] = ()

    @classmethod
    def from_examples(
        cls,
        examples: Sequence[Example],
        prompt: Prompt,
        engine: TransformersEngine,
        also: Sequence[Example] = (),
    ) -> LabelRows:
        """Tokenise with the engine's own segments, so that training sees the bytes that serving will.

        Parameters
        ----------
        also : sequence of Example
            Rows that the model will be asked later on: those of them that do not fit are refused now.

        Raises
        ------
        DataError
            No examples; a label that the prompt does not have; rows, named by id, whose images the model cannot take,
            or that do not fit its context where the engine may not shorten them.
        """
        names = [label.name for label in prompt.labels]
        strange = sorted({example.label for example in (*examples, *also)} - set(names))
        if not examples or strange:
            found = f"rows have the labels {', '.join(map(repr, strange))}" if strange else "there are no train rows"
            raise DataError(f"{found}: expected rows of {', '.join(map(repr, names))}; correct the data or the task")
        prompts = render_rows(prompt, [example.text for example in examples])
        later = render_rows(prompt, [example.text for example in also])
        prefix = engine.tokens.prefix(prompts[0])
        tree = engine.tokens.tree(prompt.options)
        # The same room that the engine leaves when it scores.
        reserved = len(prefix) + max(map(len, tree.options))
        ids = [example.id for example in (*examples, *also)]
        n_image_tokens = _image_tokens([*prompts, *later], ids, engine) if prompt.images else ()
        rows = engine.tokens.rows([*prompts, *later], reserved, ids, n_image_tokens)[: len(prompts)]
        shown = [(one.image, engine.tokens.image_markup(one)) for one in prompts if one.image]
        images = tuple(dict.fromkeys(shown))
        if images:
            number = {one: _IMAGES + i for i, one in enumerate(images)}
            rows = [(number[image], *row) for image, row in zip(shown, rows, strict=True)]
        return cls(
            prefix=prefix,
            rows=tuple(rows),
            tree=tree,
            gold=np.array([names.index(example.label) for example in examples]),
            texts=tuple(imaged(one.text, one.image) if one.image else one.text for one in prompts),
            present=prompt.classes_of([example.text for example in examples]),
            shares_readings=bool(prompt.points),
            images=images,
        )

    def row(self, tokens: Sequence[int], tree: OptionTree, images: ImageReader | None) -> Row:
        """A row to feed, by its tokens as ``rows`` has them; ``images`` looks at the one that they begin with."""
        if not tokens or tokens[0] < _IMAGES:
            return Row(tokens, tree)
        assert images is not None, "rows with images are trained on by a model that looks at them"
        seen = images.see(*self.images[tokens[0] - _IMAGES])
        return Row((*seen.tokens, *tokens[1:]), tree, seen=seen)

    def readings(self) -> dict[int, list[int]]:
        """The rows that are one reading each, by the first of them: points of a row are; else every row is its own."""
        if not self.shares_readings:
            return {row: [row] for row in range(len(self.rows))}
        first: dict[Tokens, int] = {}
        found: dict[int, list[int]] = {}
        for row, tokens in enumerate(self.rows):
            found.setdefault(first.setdefault(tokens, row), []).append(row)
        return found

    def with_teacher(self, probs: NDArray[np.float64]) -> LabelRows:
        """The same rows, of which the last ones are taught by probabilities, (n_taught, n_labels)."""
        targets = np.eye(len(self.tree.options), dtype=np.float32)[self.gold]
        targets[len(targets) - len(probs) :] = probs
        return replace(self, targets=targets)

    def contents(self) -> list[Any]:
        """All that is trained on, in plain types."""
        present = None if self.present is None else self.present.tolist()
        taught = [] if self.targets is None else [hashlib.sha256(self.targets.tobytes()).hexdigest()]
        return [self.prefix, self.rows, self.tree.options, self.gold.tolist(), present, *taught, *self.images]

    def dataset(self) -> Any:
        """A datasets.Dataset with one line a row: its prompt as text, and its number."""
        from datasets import Dataset

        return Dataset.from_dict({"prompt": list(self.texts), "row": list(range(len(self.rows)))})


def _image_tokens(prompts: Sequence[Rendered], ids: Sequence[str], engine: TransformersEngine) -> list[int]:
    """How many tokens each row's image takes up. Raises DataError with all rows whose image the model cannot take."""
    counts, faults = [], []
    for prompt, id in zip(prompts, ids, strict=True):
        try:
            seen = engine.images.see(prompt.image, engine.tokens.image_markup(prompt)) if engine.images else None
            counts.append(len(seen.tokens) if seen else 0)
        except DataError as error:
            faults.append(f"row {id}: {error}")
    if faults:
        raise DataError(listed(faults, 6))
    return counts


@dataclass(frozen=True)
class StartingPoint:
    """What the weights said before the first step: the reference of the KL divergence.

    A closed answer space can be written down whole, so no second copy of the model has to stay in memory.

    Attributes
    ----------
    edges : float32 tensor (n_rows, n_edges)
        Log-probabilities of the tree's edges, of the rows that the training will meet.
    place : mapping of row number to line of ``edges``
    """

    edges: Tensor
    place: Mapping[int, int]

    def of(self, rows: Sequence[int]) -> Tensor:
        """Edges of training rows, (n_rows, n_edges)."""
        return self.edges[[self.place[row] for row in rows]]


def passes(n_rows: int, n_visits: int, seed: int) -> list[int]:
    """Row numbers in the order in which training meets them: every pass in a new order, cut after ``n_visits``."""
    order: list[int] = []
    for number in range(-(-n_visits // n_rows)):
        order += torch.randperm(n_rows, generator=torch.Generator().manual_seed(seed + number)).tolist()
    return order[:n_visits]
