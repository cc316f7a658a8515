"""A promise: of the answered rows at most so many are wrong, with a confidence; or a set of labels holds the right one.

What makes it hold, in plain words. A part of the calib rows is kept apart: nothing is fitted, chosen or looked up on
them, neither the calibration nor prices nor the thresholds to try. So for them the whole of what answers is as fixed as
for rows that come later, whatever it consists of, and what they show of its errors is exact for a finite number of them
(``labelwright.statistics.risk``, ``labelwright.statistics.conformal``). Which rows these are a seed says, never a label
(``labelwright.decisions.apart``). Rows of one group are not independent, so that one of each group counts: the promise
is about a row of a group drawn at random. It is about rows like those of calib; where the world has moved it says
nothing.

A bundle carries counts, not rows: answered and wrong at some thresholds, and the probability of the right label. They
answer for any error and confidence that is asked for later. Each promise that is asked for holds with its confidence by
itself, all of several do not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np

from labelwright.decisions.asked import NOTHING, Asked
from labelwright.decisions.decision import Decision
from labelwright.errors import DataError
from labelwright.statistics.conformal import set_thresholds
from labelwright.statistics.metrics import Floats, Ints
from labelwright.statistics.risk import Counts, least_rows

# Below this a node is never said: from here on it is more likely than all others together.
_EVEN = 0.5
# A label is counted for itself where so many of its answers were seen, at so many thresholds.
_LEAST_OF_LABEL = 20
_THRESHOLDS_OF_LABEL = 20
# Rows that a stranger's bundle may say it was fitted on: tests take memory for each of them.
_MOST_FITTED = 1 << 22
# Probabilities are kept to so many places, rounded down, which makes sets larger and never smaller.
_PLACES = 6


@dataclass(frozen=True)
class Promise:
    """What a classifier's calib rows say of its errors, and what is asked of that.

    Attributes
    ----------
    n_fitted, n_apart : int
        Independent rows (groups) that the calibration was fitted on, and that were kept apart; 0 where those would
        have been too few to promise anything.
    all : Counts, optional
        Of all answers together; None where no rows were kept apart.
    labels : mapping of int to Counts
        Of the answers with each label, as far as there are some.
    gold, at_gold : tuple
        Of the rows kept apart: the position of the right label, and its probability.
    asked : Asked
    """

    n_fitted: int = 0
    n_apart: int = 0
    all: Counts | None = None
    labels: Mapping[int, Counts] = field(default_factory=dict)
    gold: tuple[int, ...] = ()
    at_gold: tuple[float, ...] = ()
    asked: Asked = NOTHING

    @classmethod
    def of(
        cls,
        decision: Decision,
        fitted: tuple[Floats, Ints],
        apart: tuple[Floats, Ints],
        n_fitted: int,
        asked: Asked = NOTHING,
        outside: tuple[Any, Any] = (None, None),
    ) -> Promise:
        """Count what a decision does to rows.

        Parameters
        ----------
        decision : Decision
            Without thresholds.
        fitted, apart : tuple of probabilities (n_rows, n_labels) and gold (n_rows,)
            The rows that something was fitted on, and one of each group of those that nothing was.
        n_fitted : int
            Groups behind ``fitted``.
        outside : tuple of bool ndarrays (n_rows,), optional
            Which rows of each are found to belong to no label, by what looked at none of the second.
        """
        (choice, sure, wrong), (choice_apart, sure_apart, wrong_apart) = (
            _outcome(decision, *rows, away) for rows, away in zip((fitted, apart), outside, strict=True)
        )
        labels = {}
        for label in range(fitted[0].shape[1]):
            own, own_apart = choice == label, choice_apart == label
            if own.sum() >= _LEAST_OF_LABEL:
                labels[label] = Counts.of(
                    (sure[own], wrong[own]), (sure_apart[own_apart], wrong_apart[own_apart]), _THRESHOLDS_OF_LABEL
                )
        probs, gold = apart
        at_gold = np.floor(probs[np.arange(len(gold)), gold] * 10**_PLACES) / 10**_PLACES
        everything = Counts.of((sure, wrong), (sure_apart, wrong_apart))
        return cls(n_fitted, len(gold), everything, labels, tuple(gold.tolist()), tuple(at_gold.tolist()), asked)

    def ask(self, **changes: Any) -> Promise:
        """The same evidence, asked for something else (fields of ``Asked``); None leaves a field as it is.

        Raises
        ------
        RecipeError
            Shares that are none.
        DataError
            What cannot be promised, in a line that says how many rows would do.
        """
        asked = replace(self.asked, **{name: value for name, value in changes.items() if value is not None})
        if asked.max_error >= 1 and not asked.sets and (changes.get("by_label") or changes.get("confidence")):
            raise DataError("by_label and confidence are of a promised error: expected a max_error below 1 beside them")
        promise = replace(self, asked=asked)
        if fault := promise.fault():
            raise DataError(fault)
        return promise

    def thresholds(self, n_labels: int) -> Floats | None:
        """The probability from which on each label is answered, (n_labels,); infinity: never. None: all rows are."""
        asked = self.asked
        if asked.max_error >= 1:
            return None
        if self.all is None:
            return np.full(n_labels, math.inf)
        if not asked.by_label:
            return np.full(n_labels, self.all.threshold(asked.max_error, asked.confidence))
        # Which labels are tested the fitted rows say, so that their number is known beforehand (Bonferroni).
        usable = [
            label
            for label, one in self.labels.items()
            if one.first[-1][0] >= least_rows(asked.max_error, asked.confidence)
        ]
        each = 1 - (1 - asked.confidence) / max(1, len(usable))
        thresholds = np.full(n_labels, math.inf)
        for label in usable:
            thresholds[label] = self.labels[label].threshold(asked.max_error, each)
        return thresholds

    @property
    def node_threshold(self) -> float:
        """The probability from which on a node of a tree is said in a label's place, in [0.5, 1].

        It is no promise, which would have to be of the rows that get no label: those the thresholds above say, which
        are found on the same rows. Each node is as probable as a label's errors asked for, which keeps to them as far
        as the probabilities are calibrated, whichever rows it is said of.
        """
        return max(_EVEN, 1 - self.asked.max_error)

    def set_thresholds(self, n_labels: int) -> Floats | None:
        """The probability from which on each label belongs to a set, (n_labels,); None where no sets are asked."""
        if not self.asked.sets:
            return None
        gold, at_gold = np.array(self.gold, dtype=np.int64), np.array(self.at_gold, dtype=np.float64)
        return set_thresholds(at_gold, gold, n_labels, self.asked.sets)

    def fault(self) -> str:
        """Why what is asked cannot be promised, and what would help; empty where it can."""
        asked = self.asked
        errors = asked.max_error < 1 and not np.isfinite(self.thresholds(self.n_labels)).any()  # type: ignore[arg-type]
        if not errors and not (asked.sets and self.all is None):
            return ""
        if self.all is None:
            return f"{self._wanted()} cannot be promised: {self._none_apart()}"
        if asked.by_label:
            return (
                f"{self._wanted()} cannot be promised for any label: the {self.n_apart} independent calib rows kept "
                f"apart are too few; {self.rows_needed_by_label()} would do at the least; or ask without by_label"
            )
        return (
            f"{self._wanted()} cannot be promised from {self.n_apart} independent calib rows kept apart: {self._more()}"
        )

    @property
    def n_labels(self) -> int:
        """Labels that the counts know of; 1 at the least."""
        return 1 + max([0, *self.labels, *self.gold])

    def rows_needed(self) -> int | None:
        """About how many independent calib rows would do; None where none would, or nothing is known.

        Where no rows were kept apart it is how many have to be there for that.
        """
        asked = self.asked
        if self.all is None and asked.max_error >= 1:
            # With fewer apart than this every set would hold every label.
            return 2 * math.ceil(asked.sets / (1 - asked.sets) - 1e-9)
        if self.all is None:
            return 2 * least_rows(asked.max_error, asked.confidence)
        times = self.all.times_needed(asked.max_error, asked.confidence)
        return None if math.isinf(times) else math.ceil(times * (self.n_fitted + self.n_apart))

    def rows_needed_by_label(self) -> int:
        """Calib rows that a promise for each label needs at the least, labels being equally frequent."""
        return 2 * self.n_labels * least_rows(self.asked.max_error, self.asked.confidence)

    def coverage(self) -> float | None:
        """Share of the rows kept apart that are answered under the one threshold; None without a promise."""
        threshold = self.thresholds(1)
        if self.all is None or threshold is None or self.asked.by_label or not math.isfinite(threshold[0]):
            return None
        return self.all.tested[self.all.thresholds.index(float(threshold[0]))][0] / self.n_apart

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold; ``from_dict`` is its exact inverse."""
        return {
            "n_fitted": self.n_fitted,
            "n_apart": self.n_apart,
            "all": _as_lists(self.all) if self.all else None,
            "labels": {str(label): _as_lists(one) for label, one in self.labels.items()},
            "gold": list(self.gold),
            "at_gold": list(self.at_gold),
            "asked": asdict(self.asked),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], n_labels: int) -> Promise:
        """Read what ``to_dict`` wrote.

        Raises
        ------
        ValueError, TypeError, LookupError
            Whatever is not what it wrote.
        """
        n_apart = _count(values["n_apart"])
        promise = cls(
            n_fitted=_count(values["n_fitted"]),
            n_apart=n_apart,
            all=_read_counts(values["all"], n_apart) if values["all"] is not None else None,
            labels={_count(int(label)): _read_counts(one, n_apart) for label, one in values["labels"].items()},
            gold=tuple(map(_count, values["gold"])),
            at_gold=tuple(map(_share, values["at_gold"])),
            asked=Asked(**values["asked"]),
        )
        apart = n_apart if promise.all else 0
        if not (len(promise.gold) == len(promise.at_gold) == apart and promise.n_labels <= n_labels):
            raise ValueError("the promise does not fit its rows or the task's labels")
        return promise

    def _wanted(self) -> str:
        asked = self.asked
        if asked.max_error >= 1:
            return f"a set that holds the right label in {100 * asked.sets:g} % of the rows"
        return asked.said

    def _none_apart(self) -> str:
        if not self.n_fitted:
            return "this bundle was made without rows kept apart for it; calibrate and export it again"
        needed = self.rows_needed()
        have = f"calib has {self.n_fitted} independent rows, and all of them fit the probabilities"
        if needed is not None and needed <= self.n_fitted:
            # A calibrate stage keeps rows apart where they would do for its own max_error; of 1, any do.
            alone = " (sets are then all that is promised, no share of errors)" if self.asked.max_error >= 1 else ""
            return (
                f"{have}; half of them, kept apart, would do: calibrate again with [calibrate] promise_share = 0.5 and "
                f"max_error = {self.asked.max_error:g}{alone}"
            )
        return f"{have}; {needed} at the least would do, so give [splits] calib more rows"

    def _more(self) -> str:
        needed = self.rows_needed()
        if needed is None:
            return "as far as these rows tell, more are wrong at every confidence; allow more errors"
        return f"about {needed} independent calib rows would do (there are {self.n_fitted + self.n_apart})"


def _outcome(decision: Decision, probs: Floats, gold: Ints, outside: Any) -> tuple[Ints, Floats, Ints]:
    """The choice of each row, its confidence (-1 where the decision abstains), and whether it is wrong."""
    decided = decision.decide(probs, outside)
    answered = decided.said >= 0
    return decided.choice, np.where(answered, decided.confidence, -1.0), (decided.choice != gold).astype(np.int64)


def _as_lists(counts: Counts) -> dict[str, Any]:
    return {key: [list(one) if isinstance(one, tuple) else one for one in value] for key, value in vars(counts).items()}


def _read_counts(values: Mapping[str, Any], n_apart: int) -> Counts:
    first, tested = (tuple((_count(n), _count(wrong)) for n, wrong in values[key]) for key in ("first", "tested"))
    thresholds = tuple(map(_share, values["thresholds"]))
    falls = all(a > b for a, b in pairwise(thresholds))
    fits = all(wrong <= n <= _MOST_FITTED for n, wrong in first) and all(wrong <= n <= n_apart for n, wrong in tested)
    if not (thresholds and falls and fits and len(first) == len(tested) == len(thresholds)):
        raise ValueError("thresholds and counts of the promise do not fit together")
    return Counts(thresholds, first, tested)


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"found {value!r} where a count belongs")
    return value


def _share(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"found {value!r} where a probability belongs")
    return float(value)


# No evidence, and nothing asked: every row is answered.
NO_PROMISE = Promise()
