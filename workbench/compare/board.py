"""The leaderboard as types: what ``leaderboard.build`` found, for the report, its page and its plots to show.

Types only. Nothing here computes, reads or writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from labelwright.statistics.intervals import Interval
from workbench.compare.candidate import Candidate

# The quality metrics of the table, in its order, with their direction.
QUALITY = {"accuracy": "higher", "macro_f1": "higher", "log_loss": "lower", "brier": "lower", "ece": "lower"}
# Those of an answer in free text, which has no probabilities.
QUALITY_OF_FREE = ("accuracy", "macro_f1")

# How a candidate's accuracy stands to that of the best one; ``workbench.compare.differences.standing`` has the rule.
Standing = Literal["best", "as good", "not told apart", "worse", ""]


@dataclass(frozen=True)
class Difference:
    """A metric of this candidate minus that of the best candidate.

    Attributes
    ----------
    value : Interval
        Paired, at a level at which those of all candidates hold together with 95 %. It leaves out 0, or ends there,
        where ``p_holm`` is below 0.05.
    p_value : float
        Two-sided, of the hypothesis that both are equal.
    p_holm : float
        The same, corrected for the number of candidates tested on this metric (Holm 1979).
    """

    value: Interval
    p_value: float
    p_holm: float


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation (n - 1 in the denominator) over ``n`` trainings, by metric.

    The metrics are accuracy, macro_f1 and log_loss.
    """

    n: int
    mean: Mapping[str, float]
    sd: Mapping[str, float]


@dataclass(frozen=True)
class Line:
    """One row of the leaderboard.

    Attributes
    ----------
    test : dict of str to Interval
        The metrics of ``QUALITY`` on the test rows, calibrated, 95 % intervals; those of ``QUALITY_OF_FREE`` alone for
        a candidate of kind "free"; empty for a candidate that failed.
    raw : dict of str to Interval
        The same before calibration; empty for kind "free".
    n_only_this, n_only_best : int, optional
        Test rows that only this candidate, only the best one has right; None for the best itself and for failed ones.
    against_best : dict of str to Difference, optional
        accuracy, macro_f1 and log_loss (no log_loss for kind "free"); None for the best itself and for failed ones.
    spread : dict of str to Spread
        "split fixed": trainings that differ in their seed alone; "split varied": in what dealt the splits. The
        candidate itself is one of them. A key is absent where there are fewer than two trainings.
    standing : Standing
        Of its accuracy to the best one's; empty for failed ones.
    """

    candidate: Candidate
    test: dict[str, Interval] = field(default_factory=dict)
    raw: dict[str, Interval] = field(default_factory=dict)
    n_only_this: int | None = None
    n_only_best: int | None = None
    against_best: dict[str, Difference] | None = None
    spread: dict[str, Spread] = field(default_factory=dict)
    standing: Standing = ""


@dataclass(frozen=True)
class Verdict:
    """Which candidate wins, which are as good, which to ship, whether tuning was worth it: names, numbers, sentences.

    Attributes
    ----------
    best : str
        The candidate of highest test accuracy; of two equal ones that of lower log loss.
    winner, others : str
        The sentences that name it, and say how the others stand to it.
    advice : str
        The sentence that says what to ship.
    cautions : tuple of str
        What about the test rows makes every number mean less.
    remarks : tuple of str
        What else there is to say, above all whether the tuned model was worth it.
    as_good, not_told_apart : tuple of str
        Other candidates of that standing, in the comparison's order.
    ship : str
        The cheapest to run of the best candidate and ``as_good``.
    margin : float
        Share of accuracy within which a candidate is as good as the best.
    n_rows_needed : int, optional
        About how many test rows would show that the best of the cheaper candidates not told apart is as good, if it is.
    tuned, best_baseline : str, optional
        The tuned model, and the best classifier that is no language model.
    difference : Interval, optional
        Accuracy of ``best_baseline`` minus that of ``tuned``, with the corrected ``p_value`` of the paired test: one
        of the comparisons with the best candidate, or as one more of them.
    """

    best: str
    winner: str
    others: str = ""
    advice: str = ""
    cautions: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    as_good: tuple[str, ...] = ()
    not_told_apart: tuple[str, ...] = ()
    ship: str = ""
    margin: float = 0.0
    n_rows_needed: int | None = None
    tuned: str | None = None
    best_baseline: str | None = None
    difference: Interval | None = None
    p_value: float | None = None

    @property
    def text(self) -> str:
        """The report's first line: all sentences in their order."""
        return " ".join(one for one in (self.winner, *self.cautions, self.others, self.advice, *self.remarks) if one)


@dataclass(frozen=True)
class Suspect:
    """A row whose label several confident candidates doubt.

    Attributes
    ----------
    side : str
        The split it is in.
    suggested : str
        The label they agree on.
    confidence : float
        Their mean probability of it.
    candidates : tuple of str
        Who they are.
    """

    side: str
    id: str
    text: str
    label: str
    suggested: str
    confidence: float
    candidates: tuple[str, ...]


@dataclass(frozen=True)
class Leaderboard:
    """Lines in the comparison's order, the verdict, and what else the test rows tell.

    Attributes
    ----------
    gold : int64 ndarray of shape (n_test,)
        Positions of the rows' labels.
    frontier : tuple of str
        Candidates that no other beats in both test accuracy and milliseconds a row, from fast to slow.
    """

    lines: tuple[Line, ...]
    verdict: Verdict
    gold: NDArray[np.int64]
    suspects: tuple[Suspect, ...] = ()
    frontier: tuple[str, ...] = ()

    def line(self, name: str) -> Line:
        """The line of a candidate."""
        return next(line for line in self.lines if line.candidate.name == name)
