"""How several classifiers answer as one, on numbers alone.

A plan is a list of levels, asked in turn. A level takes a weighted mean of some members' calibrated probabilities. A
row whose best label reaches the level's threshold is answered there; the others go on to the next one, and the last
level answers whatever comes. So an ensemble is one level of several members, and a cascade several levels, the cheapest
first. A member is asked once about a row, at whatever level it is first needed.

Plans are chosen on probabilities that members left (``workbench.compare.together``) and answer in a bundle
(``labelwright.engines.together.engine``): by the same lines, so that what was measured is what ships.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
# A member's position and the positions of some rows, to its probabilities (n_rows, n_labels); 0 throughout a row that
# it has no answer to.
Ask = Callable[[int, Ints], Floats]

Mean = Literal["log", "probability"]
MEANS: tuple[Mean, ...] = get_args(Mean)
# In a mean of logarithms a member's 0 would be a veto. No row is known well enough for one.
_LEAST = 1e-6


@dataclass(frozen=True)
class Level:
    """Who is asked together, and when they are sure enough.

    Attributes
    ----------
    weights : tuple of float, one a member of the plan
        0 or more, of any sum above 0; 0: not asked at this level.
    threshold : float
        The least probability of the best label with which a row is answered here; 0 answers every row.
    """

    weights: tuple[float, ...]
    threshold: float = 0.0

    @property
    def members(self) -> tuple[int, ...]:
        """Positions of the members that are asked."""
        return tuple(number for number, weight in enumerate(self.weights) if weight > 0)

    @property
    def chosen_weights(self) -> tuple[float, ...]:
        """Theirs."""
        return tuple(self.weights[member] for member in self.members)


class Found(NamedTuple):
    """What a plan makes of some rows.

    Attributes
    ----------
    log_probs : ndarray of shape (n_rows, n_labels)
        -inf throughout a row to which nobody had an answer.
    levels : int ndarray of shape (n_rows,)
        The level that answered.
    """

    log_probs: Floats
    levels: Ints


@dataclass(frozen=True)
class Plan:
    """The levels, in the order in which they are asked.

    Attributes
    ----------
    levels : tuple of Level
        One at least. The last one answers whatever its threshold.
    mean : {"log", "probability"}
        What is averaged: log-probabilities (what is likely to all) or probabilities (what is likely to some).
    """

    levels: tuple[Level, ...]
    mean: Mean = "log"

    def answer(self, ask: Ask, n_rows: int, n_labels: int) -> Found:
        """Every row's log-probabilities, and who gave them. No member is asked twice about a row."""
        answers = _Answers(ask, n_rows, n_labels)
        log_probs = np.full((n_rows, n_labels), -np.inf)
        levels = np.full(n_rows, len(self.levels) - 1, dtype=np.int64)
        left = np.arange(n_rows)
        for number, level in enumerate(self.levels):
            if not len(left):
                break
            found = average([answers.of(member, left) for member in level.members], level.chosen_weights, self.mean)
            best = found.max(axis=1)
            # Who has no answer at all is sure of nothing.
            sure = np.isfinite(best) & (np.exp(best) >= level.threshold) | (number == len(self.levels) - 1)
            log_probs[left[sure]], levels[left[sure]] = found[sure], number
            left = left[~sure]
        return Found(log_probs, levels)


class _Answers:
    """What members answered so far, so that none is asked twice."""

    def __init__(self, ask: Ask, n_rows: int, n_labels: int) -> None:
        self._ask = ask
        self._shape = (n_rows, n_labels)
        self._known: dict[int, tuple[Floats, NDArray[np.bool_]]] = {}

    def of(self, member: int, rows: Ints) -> Floats:
        if member not in self._known:
            self._known[member] = np.zeros(self._shape), np.zeros(self._shape[0], dtype=bool)
        probs, asked = self._known[member]
        new = rows[~asked[rows]]
        if len(new):
            probs[new], asked[new] = self._ask(member, new), True
        return probs[rows]


def average(probs: Sequence[Floats], weights: Sequence[float], mean: Mean) -> Floats:
    """Log of a weighted mean of members' probabilities, (n_rows, n_labels), each row summing to 1 as probabilities.

    A row counts with those that have an answer to it, and is -inf throughout where nobody has. What all of these give
    the probability 0 stays impossible.

    Parameters
    ----------
    probs : sequence of ndarray of shape (n_rows, n_labels)
    weights : sequence of float, above 0
    mean : {"log", "probability"}
    """
    if len(probs) == 1:  # as it is, to the last digit
        mean = "probability"
    total, count, possible = np.zeros_like(probs[0]), np.zeros((len(probs[0]), 1)), np.zeros(probs[0].shape, bool)
    for one, weight in zip(probs, weights, strict=True):
        said = weight * one.any(axis=1, keepdims=True)
        total += said * (np.log(np.maximum(one, _LEAST)) if mean == "log" else one)
        count, possible = count + said, possible | (one > 0)
    with np.errstate(divide="ignore"):
        logits = total / np.maximum(count, np.finfo(np.float64).tiny)
        logits = np.where(possible, logits if mean == "log" else np.log(logits), -np.inf)
    best = logits.max(axis=1, keepdims=True)
    best = np.where(np.isfinite(best), best, 0.0)
    sums = np.exp(logits - best).sum(axis=1, keepdims=True)
    return np.where(possible, logits - best - np.log(np.maximum(sums, np.finfo(np.float64).tiny)), -np.inf)
