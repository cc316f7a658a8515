"""A server's own answers, counted as they leave: labels, confidence, rows without an answer, and the drift of windows.

Takes probabilities and no text, a request at a time, in microseconds; a full window is tested at once. One thread calls
it, the server's event loop.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from labelwright.bundle.reference import EDGES, LABELS, Counts
from labelwright.decisions.decision import LIKELIEST, Decision
from labelwright.statistics.metrics import answers
from labelwright.watch.drift import Drift
from labelwright.watch.sketch import binned
from labelwright.watch.watching import WINDOW

# Rows that are counted at once: one by one they would take ten times as long.
_TOGETHER = 64


class Tally:
    """Counts since the bundle was opened. Whoever reads them calls ``settle`` before.

    Parameters
    ----------
    names : sequence of str
        The labels that are counted (``labelwright.data.asked.asking.Asking.watched``).
    reference : mapping, optional
        Counts of dev; without it nothing is tested.
    decision : Decision
        What becomes of probabilities.
    window : int
        Rows of a window.

    Attributes
    ----------
    labels : int64 ndarray of shape (n_labels + 1,)
        Rows by label, then those without an answer.
    confidence : int64 ndarray of shape (n_edges + 1,)
        Rows with an answer between two of ``EDGES["confidence"]``.
    confidence_sum : float
    n_abstained : int
        Rows that were answered and not told; they count by the label that would have been.
    n_windows, n_alarms : int
    p : float or None
        The last window's number (``labelwright.watch.drift``); None before there was one.
    """

    def __init__(
        self,
        names: Sequence[str],
        reference: Counts | None = None,
        decision: Decision = LIKELIEST,
        window: int = WINDOW,
    ) -> None:
        self.names = tuple(names)
        self.labels = np.zeros(len(self.names) + 1, np.int64)
        self.confidence = np.zeros(len(EDGES["confidence"]) + 1, np.int64)
        self.confidence_sum = 0.0
        self.n_abstained = 0
        self._decision = decision
        self.n_windows = self.n_alarms = 0
        self.p: float | None = None
        self.is_watched = reference is not None
        self._drift = Drift(reference or {}, self.names)
        self._window = window
        self._n_begun = 0
        self._waiting: list[NDArray[np.float64]] = []
        self._begun = (self.labels.copy(), self.confidence.copy())

    def add(self, rows: Sequence[NDArray[np.float64]]) -> None:
        """Take in the probabilities of rows, (n_labels,) each; all 0 where there is no answer."""
        self._waiting.extend(rows)
        if len(self._waiting) >= _TOGETHER:
            self.settle()

    def turn_away(self, n_rows: int) -> None:
        """Count rows as not told that ``add`` was given, that its decision tells, and that belong to no label."""
        self.n_abstained += n_rows

    def settle(self) -> None:
        """Count what was taken in; the attributes are true from here to the next ``add``."""
        rows, self._waiting = self._waiting, []
        # What came together may fill several windows.
        while rows:
            taken, rows = rows[: self._window - self._n_begun], rows[self._window - self._n_begun :]
            self._count(np.asarray(taken))
            self._n_begun += len(taken)
            if self._n_begun == self._window:
                self._test()

    def _count(self, probs: NDArray[np.float64]) -> None:
        if self._decision.answers_all:
            said, best = answers(probs), probs.max(axis=1)
        else:
            told, said, best, _ = self._decision.decide(probs)
            self.n_abstained += int(((told < 0) & (said >= 0)).sum())
        place = said if len(self.names) > 1 else np.minimum(said, 0)
        self.labels += np.bincount(np.where(said < 0, len(self.names), place), minlength=len(self.labels))
        best = best[said >= 0]
        self.confidence += binned("confidence", best)
        self.confidence_sum += float(best.sum())

    def _test(self) -> None:
        now = {LABELS: self.labels - self._begun[0], "confidence": self.confidence - self._begun[1]}
        self._begun, self._n_begun = (self.labels.copy(), self.confidence.copy()), 0
        self.n_windows += 1
        if self.is_watched:
            told = self._drift.window(now)
            self.p = told.p
            self.n_alarms += told.is_alarm
