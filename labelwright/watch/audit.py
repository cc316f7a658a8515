"""Rows that a person looked at: accuracy since shipping, and which of two bundles is right more often.

Audited rows are a random part of all, each counted as a row of its own: where they come in groups (one customer's), the
intervals are too narrow. What is said "told apart" may be read after every row, each day, for as long as one likes: it
rests on confidence sequences (``labelwright.statistics.exact.confidence_sequence``), and is wrong once in twenty
bundles, not once in twenty looks.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from labelwright.statistics.exact import clopper_pearson, confidence_sequence, is_told_apart, sign_test
from labelwright.statistics.proportions import LEVEL, Interval, difference_interval, wilson

_MOST_PAIRS = 5
# Half of what may be missed is dev's interval's, half the sequence's.
_EACH = (1 + LEVEL) / 2


@dataclass
class Audit:
    """Accuracy of audited rows, and whether it is another than dev's.

    Parameters
    ----------
    n_dev, n_dev_right : int
        0 where nothing is known of dev.

    Attributes
    ----------
    told_at : int or None
        The row, as numbered in its file, from which on accuracy is told apart from dev's.
    moved : float
        Accuracy minus dev's at that row.
    """

    n_dev: int
    n_dev_right: int
    n: int = field(default=0, init=False)
    n_right: int = field(default=0, init=False)
    told_at: int | None = field(default=None, init=False)
    moved: float = field(default=0.0, init=False)

    def add(self, is_right: bool, number: int) -> None:
        """Take in an audited row."""
        self.n += 1
        self.n_right += is_right
        if self.told_at is None and self.n_dev:
            now = self.n_right / self.n
            # The end of dev's interval that is nearer.
            end = self.dev.low if now < self.dev.value else self.dev.high
            if not self.dev.low <= now <= self.dev.high and is_told_apart(self.n_right, self.n, end, _EACH):
                self.told_at, self.moved = number, now - self.dev.value

    @cached_property
    def dev(self) -> Interval:
        """Accuracy on dev, with the exact interval that is compared."""
        return clopper_pearson(self.n_dev_right, self.n_dev, _EACH)

    @property
    def accuracy(self) -> Interval:
        """So far: Wilson's interval, for a reader who looks once."""
        return wilson(self.n_right / self.n, self.n)

    @property
    def always(self) -> Interval:
        """So far, as an interval that may be looked at after every row."""
        return confidence_sequence(self.n_right, self.n)

    @property
    def has_fallen(self) -> bool:
        """Whether accuracy is told to be below dev's."""
        return self.told_at is not None and self.moved < 0


@dataclass
class Shadow:
    """A challenger beside the bundle, on the same rows.

    Attributes
    ----------
    n, n_same : int
        Rows that both were asked, and those with the same answer.
    both, first, second, neither : int
        Audited rows by who is right: both, the bundle alone, the challenger alone, none.
    told_at : int or None
        The row from which on one of the two is told to be right more often.
    """

    n: int = 0
    n_same: int = 0
    both: int = 0
    first: int = 0
    second: int = 0
    neither: int = 0
    told_at: int | None = None
    pairs: Counter[tuple[str | None, str | None]] = field(default_factory=Counter)

    def add(self, ours: str | None, theirs: str | None, gold: str | None, number: int) -> None:
        """Take in a row that both answered."""
        self.n += 1
        self.n_same += ours == theirs
        if ours != theirs:
            self.pairs[ours, theirs] += 1
        if gold is None:
            return
        right, other = ours == gold, theirs == gold
        self.both += right and other
        self.first += right and not other
        self.second += other and not right
        self.neither += not right and not other
        # Of rows that only one has right, half are either's where both are right as often.
        is_news = right != other and self.told_at is None
        if is_news and is_told_apart(self.second, self.first + self.second, 0.5):
            self.told_at = number

    @property
    def n_audited(self) -> int:
        """Rows whose right label is known."""
        return self.both + self.first + self.second + self.neither

    @property
    def agreement(self) -> Interval:
        """Share of rows with the same answer."""
        return wilson(self.n_same / self.n, self.n)

    @property
    def difference(self) -> Interval:
        """The challenger's accuracy minus the bundle's, on audited rows, for a reader who looks once."""
        net = np.repeat([1, -1, 0], [self.second, self.first, self.both + self.neither])
        return difference_interval(net)

    @property
    def mcnemar_p(self) -> float:
        """McNemar's exact p-value, for a reader who looks once."""
        return sign_test(self.first, self.second)

    @property
    def most_pairs(self) -> list[tuple[str | None, str | None, int]]:
        """What the two most often answer differently: ours, theirs, rows."""
        return [(ours, theirs, n) for (ours, theirs), n in self.pairs.most_common(_MOST_PAIRS)]
