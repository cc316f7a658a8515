"""How many copies of which rows, in which order: one way for whatever is changed in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from labelwright.data.task import Example
from optimizers.training.copies.augmented import augmented
from optimizers.training.copies.steering import steered
from optimizers.training.rows import passes

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
        words; of a step's rows they are as many on average.
    """
    changes: dict[str, tuple[float, Change]] = {
        "steering": (steering_share, lambda row, chance: steered(row, names, chance)),
        "augmented": (augment, lambda row, chance: augmented(row.text, chance)),
    }
    plain, copies = 1 - steering_share - augment, []
    for place, (kind, (share, change)) in enumerate(changes.items()):
        own = seed + place * _BETWEEN_SEEDS
        chance = np.random.default_rng(own)
        for number, row in enumerate(passes(len(rows), round(share / plain * len(rows)), own)):
            copy = replace(rows[row], id=f"{rows[row].id}, {kind} {number + 1}", text=change(rows[row], chance))
            copies.append(copy)
    return (*rows, *copies)
