"""The decision: which label a row's probabilities make, and whether it is said at all.

Without prices the likeliest label is chosen; with them (``labelwright.data.costs``) the one of least expected cost,
sum_g P(g) cost(g, k). Where any of some labels may be, one may be said from another probability on than a half
(``labelwright.statistics.label_thresholds``). It is said unless a person is cheaper than it, or its probability is
below a threshold, as a promise sets it (``labelwright.decisions.promise``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from labelwright.data.asked.questions import NO, YES, Point
from labelwright.data.costs import Costs
from labelwright.data.task import Task
from labelwright.statistics.metrics import Answers, Floats, Ints, answers, answers_of

# Why no label is said, in one word: what a record and a server's answer carry.
NOTHING, UNSURE, ASK, OUTSIDE = "no answer", "unsure", "a person is cheaper", "out of scope"
PASSED_ON = "passed on"
# Expected costs nearer to each other than this are equal: sums of the same numbers in another order.
_EQUAL = 1e-12
_HALF = 0.5


class Decided(NamedTuple):
    """What becomes of rows, each of shape (n_rows,).

    Attributes
    ----------
    said : int64 ndarray
        The position of the label that is answered; -1 where none is.
    choice : int64 ndarray
        That label, and where the decision abstains the one that it would have said; -1 where there is no answer at all.
    confidence : float64 ndarray
        The probability of ``choice``; 0 without one.
    why : tuple of str
        Why none is answered: ``NOTHING``, ``UNSURE``, ``ASK``, ``PASSED_ON`` or ``OUTSIDE``; empty where one is.
    """

    said: Ints
    choice: Ints
    confidence: Floats
    why: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Decision:
    """How probabilities become an answer. As it stands: the likeliest label, always.

    Attributes
    ----------
    prices : ndarray of shape (n_labels, n_labels), optional
        Row gold, column answered.
    ask : float, optional
        What it costs to say nothing, in the unit of ``prices``.
    thresholds : ndarray of shape (n_labels,), optional
        The probability below which a label is not said; 1 lies above every probability but certainty, and infinity
        above that.
    scoped : bool
        Whether rows may be found to belong to no label (``labelwright.decisions.scope``).
    pass_on : float
        The probability below which a row is left to whoever comes after; 0: nobody does.
    leaning : ndarray of shape (n_labels,), optional
        Above 0: what probabilities are multiplied with before the highest is chosen (``leaning``). They stay what they
        are in all else: a confidence, what a threshold is held against.
    """

    prices: Floats | None = None
    ask: float | None = None
    thresholds: Floats | None = None
    scoped: bool = False
    pass_on: float = 0.0
    leaning: Floats | None = None

    @classmethod
    def of_task(cls, task: Task, said_from: Sequence[float] = (), thresholds: Any = None) -> Decision:
        """The decision of a task's prices, of what its points are said from (``leaning``), and of thresholds."""
        return replace(cls.of(task.costs, task.names, thresholds), leaning=leaning(task.points, said_from))

    @classmethod
    def of(cls, costs: Costs | None, names: Sequence[str], thresholds: Any = None) -> Decision:
        """The decision of a task's prices, and of thresholds: one for all labels, or one a label."""
        if thresholds is not None:
            thresholds = np.broadcast_to(np.asarray(thresholds, dtype=np.float64), (len(names),))
        if costs is None:
            return cls(thresholds=thresholds)
        return cls(np.array(costs.table(names)), costs.abstain, thresholds)

    @property
    def answers_all(self) -> bool:
        """Whether every row gets its likeliest label."""
        return self.chooses_likeliest and self.thresholds is None and not self.pass_on

    @property
    def chooses_likeliest(self) -> bool:
        """Whether no other label than the likeliest is ever chosen."""
        return self.prices is None and self.leaning is None

    @property
    def may_abstain(self) -> bool:
        """Whether a row to which an answer was found may get none."""
        return self.ask is not None or self.thresholds is not None or self.scoped or self.pass_on > 0

    @property
    def span(self) -> float:
        """How far what two answers to one row cost can lie apart; 1 without prices."""
        if self.prices is None:
            return 1.0
        known = np.append(self.prices, self._silence)
        return float(known.max() - known.min())

    @property
    def mistake(self) -> float:
        """What an ordinary mistake costs more than being right: the median of those that do; 1 without prices."""
        if self.prices is None:
            return 1.0
        more = self.prices - np.diagonal(self.prices)[:, None]
        return float(np.median(more[more > 0])) if (more > 0).any() else float(np.ptp(self.prices))

    def decide(self, probs: Floats, outside: Any = None) -> Decided:
        """What becomes of rows of probabilities (n_rows, n_labels).

        Parameters
        ----------
        outside : bool ndarray of shape (n_rows,), optional
            Which rows belong to no label; of them none is said.
        """
        probs = np.asarray(probs, dtype=np.float64)
        choice = self._choice(probs)
        confidence = np.where(choice < 0, 0.0, np.take_along_axis(probs, np.maximum(choice, 0)[:, None], axis=1)[:, 0])
        why = np.full(len(probs), "", dtype=object)
        if self.ask is not None:
            why[self.expected(probs, choice) > self.ask + _EQUAL] = ASK
        if self.thresholds is not None:
            why[confidence < self.thresholds[np.maximum(choice, 0)]] = UNSURE
        why[confidence < self.pass_on] = PASSED_ON
        if outside is not None:
            why[outside] = OUTSIDE
        why[choice < 0] = NOTHING
        return Decided(np.where(why == "", choice, -1), choice, confidence, tuple(why.tolist()))

    def expected(self, probs: Floats, answered: Ints) -> Floats:
        """The expected cost of answering these labels, (n_rows,): -1 is to say nothing.

        Saying nothing costs ``ask``, and where nobody can be asked as much as the dearest mistake. Without prices a
        mistake costs 1.
        """
        of_choice = np.take_along_axis(self._expected(probs), np.maximum(answered, 0)[:, None], axis=1)[:, 0]
        return np.where(answered < 0, self._silence, of_choice)

    def realised(self, gold: Ints, answered: Ints) -> Floats:
        """What answering these labels costs where ``gold`` is right, (n_rows,); -1 as in ``expected``."""
        if self.prices is None:
            return (answered != gold).astype(np.float64)
        return np.where(answered < 0, self._silence, self.prices[gold, np.maximum(answered, 0)])

    def sets(self, probs: Floats, lowest: Floats) -> NDArray[np.bool_]:
        """Which labels are in each row's set, (n_rows, n_labels).

        Those of at least ``lowest``, (n_labels,), and in every row with an answer the choice and the likeliest label.
        """
        probs = np.asarray(probs, dtype=np.float64)
        is_in: NDArray[np.bool_] = probs >= lowest
        for label in (answers(probs), self._choice(probs)):
            rows = np.flatnonzero(label >= 0)
            is_in[rows, label[rows]] = True
        return is_in

    def read(self, probs: Floats, gold: Ints) -> Answers:
        """What the metrics need (``labelwright.statistics.metrics``): choices in the place of the likeliest labels.

        A row on which the decision abstains counts by the label that it would have said.
        """
        if self.chooses_likeliest:
            return answers_of(probs, gold)
        decided = self.decide(probs)
        return replace(answers_of(probs, gold), answer=decided.choice, confidence=decided.confidence)

    def lead(self, probs: Floats) -> float:
        """How far the choice of one row, (n_labels,), is ahead of the next: of probability, or of the prices' range."""
        if self.prices is None:
            next_best, best = np.sort(self._leant(probs))[-2:]
            return float(best - next_best)
        least, next_least = np.sort(probs @ self.prices)[:2]
        return float((next_least - least) / np.ptp(self.prices))

    def among(self, columns: Sequence[int], is_part: bool = False) -> Decision:
        """The same decision over these columns, in this order.

        Parameters
        ----------
        is_part : bool
            They are a part of the labels, to which an answer is held. Thresholds then fall away: what is promised of
            answers among all labels, or better left to others, says nothing of those among a part.
        """
        at = list(columns)
        prices = None if self.prices is None else self.prices[np.ix_(at, at)]
        thresholds = None if self.thresholds is None or is_part else self.thresholds[at]
        leaning = None if self.leaning is None else self.leaning[at]
        scoped, pass_on = self.scoped and not is_part, 0.0 if is_part else self.pass_on
        return Decision(prices, self.ask, thresholds, scoped, pass_on, leaning)

    def _choice(self, probs: Floats) -> Ints:
        likeliest = answers(self._leant(probs))
        if self.prices is None:
            return likeliest
        expected = self._expected(probs)
        # Of equally cheap labels the likeliest one.
        cheapest = expected <= expected.min(axis=1, keepdims=True) + _EQUAL
        return np.where(likeliest < 0, -1, np.where(cheapest, probs, -1.0).argmax(axis=1))

    def _expected(self, probs: Floats) -> Floats:
        return 1 - probs if self.prices is None else np.asarray(probs @ self.prices)

    def _leant(self, probs: Floats) -> Floats:
        return probs if self.leaning is None else probs * self.leaning

    @property
    def _silence(self) -> float:
        highest = 1.0 if self.prices is None else float(self.prices.max())
        return highest if self.ask is None else self.ask


def leaning(points: Sequence[Point], said_from: Sequence[float]) -> Floats | None:
    """What probabilities are multiplied with so that "yes" is chosen from t on: 2 (1 - t), and those of "no" 2 t.

    Parameters
    ----------
    points : sequence of Point
    said_from : sequence of float, one a point, in (0, 1)
        A half for points that are no label; empty: a half for all, which needs no leaning.

    Returns
    -------
    ndarray of shape (n_labels,) or None

    >>> from labelwright.data.label import Label
    >>> leaning([Point("late", 0, (Label("yes"), Label("no")), label="late")], [0.3])
    array([1.4, 0.6])
    """
    if all(one == _HALF for one in said_from):
        return None
    leant = []
    for point, share in zip(points, said_from, strict=True):
        of_answer = {YES: 2 * (1 - share), NO: 2 * share} if point.label else {}
        leant += [of_answer.get(answer.name, 1.0) for answer in point.answers]
    return np.array(leant)


# The likeliest label, always.
LIKELIEST = Decision()
