"""How many copies of which rows, in which order: one way for whatever is changed in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from labelwright.data.task import Example
from optimizers.training.copies.augmented import augmented
from optimizers.training.copies.steering import steered
from optimizers.training.rows import passes
from optimizers.training.settings import n_copies

Change = Callable[[Example, np.random.Generator], str]

# Each kind of copies draws from a seed of its own, so that one does not hang on how many the other has.
_BETWEEN_SEEDS = 1_000_003


def with_copies(
    rows: Sequence[Example], names: Sequence[str], seed: int, *, steering_share: float = 0.0, augment: float = 0.0
) -> tuple[Example, ...]:
    """The rows as they are, and behind them changed copies of some, each under its row's label and in its group.

    Rows are copied in turns, pass after pass in a new order: none twice before all are once.

    Parameters
    ----------
    names : sequence of str
        All labels.
    seed : int
        The same seed draws the same copies.
    steering_share, augment : float in [0, 1), of a sum below 1
        Of what is returned, the share that asks for another label, and that has typos, other case or a part of the
        words; of a step's rows they are as many on average. Of a share above 0 there is one copy at least.
    """
    changes: tuple[tuple[str, Change], ...] = (
        ("steering", lambda row, chance: steered(row, names, chance)),
        ("augmented", lambda row, chance: augmented(row.text, chance)),
    )
    copies = []
    for (own, places), (kind, change) in zip(_of_kinds(len(rows), seed, steering_share, augment), changes, strict=True):
        chance = np.random.default_rng(own)
        for number, place in enumerate(places, start=1):
            row = rows[place]
            copies.append(replace(row, id=f"{row.id}, {kind} {number}", text=change(row, chance)))
    return (*rows, *copies)


def copied_rows(n_rows: int, seed: int, *, steering_share: float = 0.0, augment: float = 0.0) -> list[int]:
    """The places of the rows that ``with_copies`` copies, in the order of its copies."""
    return [place for _, places in _of_kinds(n_rows, seed, steering_share, augment) for place in places]


def _of_kinds(n_rows: int, seed: int, *shares: float) -> list[tuple[int, list[int]]]:
    """Of each kind of copies its seed and the rows that are copied."""
    seeds = [seed + number * _BETWEEN_SEEDS for number in range(len(shares))]
    return [(own, passes(n_rows, n, own)) for own, n in zip(seeds, n_copies(n_rows, *shares), strict=True)]
