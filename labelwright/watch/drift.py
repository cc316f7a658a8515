"""Is this window like what came before it? With a rate of false alarms that is kept, in so many windows.

Every question is of the same plain kind: how many rows got this label, had a confidence below 0.5, had fewer than 80 %
known words? A window's rows and those of before make a table of two by two, and Fisher's exact test asks whether both
can be of one population (``labelwright.statistics.exact.fisher``). That is exact at any number of rows, names what has
changed, and needs counts only.

*Before* is dev and all windows since in which nothing was told. That makes dev's own chance wear off, and it makes the
windows' tests independent of each other as long as no row differs from another in law and none was told: each is a rank
of the newest rows among all so far (Barndorff-Nielsen 1963; Vovk, Gammerman and Shafer 2005, chapter 7).

A small change shows in no single window, so the last 4 windows together and the last 16 are asked about as well, each
time that so many are full. The allowance of false alarms is dealt evenly: to the three spans (the longer ones are asked
about less often and get as much more each time), then to what is looked at, then to its questions (Bonferroni). The
number reported is p times all of these: at most this share of windows of unchanged rows gives so small a number, and an
alarm is a number not above ``false_alarms``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwright.bundle.reference import EDGES, LABELS, Counts
from labelwright.statistics.exact import fisher

# Windows that are asked about together.
SPANS = (1, 4, 16)
FALSE_ALARMS = 0.001
# Of labels that changed, the clearest that are told.
_MOST_TOLD = 5


@dataclass(frozen=True)
class Change:
    """One question whose answer changed.

    Attributes
    ----------
    what : str
        ``LABELS`` or a key of ``EDGES``.
    label : str or None
        Of ``LABELS``; None for rows without an answer.
    edge : float or None
        Of the others: the question is which rows lie below it.
    before, now : float
        Shares of rows that say yes.
    n_before, n_now : int
        Rows.
    n_windows : int
        The windows that were asked about together, this one the last.
    p : float
        As the module says: it includes all that was asked.
    """

    what: str
    label: str | None
    edge: float | None
    before: float
    now: float
    n_before: int
    n_now: int
    n_windows: int
    p: float


@dataclass(frozen=True)
class Told:
    """What is said of a window: its smallest number, and the changes that are an alarm."""

    p: float
    changes: tuple[Change, ...] = ()

    @property
    def is_alarm(self) -> bool:
        """Whether anything changed."""
        return bool(self.changes)


@dataclass
class _Window:
    counts: Counts
    is_told: bool = False


@dataclass
class Drift:
    """Windows in, alarms out; in memory are the counts of the last 16 windows and of all before them.

    Parameters
    ----------
    reference : mapping of str to int64 ndarray
        Counts of before (``labelwright.bundle.reference.Reference.counts``); what it has not is not asked about.
    names : sequence of str
        The labels that are counted.
    false_alarms : float
        The share of windows of unchanged rows that may be an alarm, in expectation.
    """

    reference: Counts
    names: Sequence[str]
    false_alarms: float = FALSE_ALARMS
    n_windows: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._before = {name: counts.copy() for name, counts in self.reference.items()}
        self._last: deque[_Window] = deque()

    def window(self, counts: Counts) -> Told:
        """What is to be said of the next window, before which all others came."""
        self.n_windows += 1
        self._last.append(_Window(counts))
        found: list[Change] = []
        least = 1.0
        for span in SPANS:
            if self.n_windows % span == 0:
                changes = list(self._changes(span))
                least = min([least, *(one.p for one in changes)])
                clear = [one for one in changes if one.p <= self.false_alarms]
                # What a shorter span says already is not said again.
                said = {(one.what, one.label) for one in found}
                found += [one for one in _clearest(clear) if (one.what, one.label) not in said]
                for one in list(self._last)[-span:]:
                    one.is_told |= bool(clear)
        while len(self._last) > SPANS[-1]:
            oldest = self._last.popleft()
            if not oldest.is_told:
                _add(self._before, oldest.counts)
        return Told(least, tuple(found))

    def _changes(self, span: int) -> Iterator[Change]:
        """Every question about the last windows, with its number."""
        last = list(self._last)
        now: dict[str, NDArray[np.int64]] = {}
        before = {name: counts.copy() for name, counts in self._before.items()}
        for one in last[-span:]:
            for name, counts in one.counts.items():
                now[name] = now[name] + counts if name in now else counts
        for one in last[:-span]:
            if not one.is_told:
                _add(before, one.counts)
        asked = [name for name in self.reference if name in now and now[name].sum() and before[name].sum()]
        for name in asked:
            yes, yes_before = _yeses(name, now[name]), _yeses(name, before[name])
            n_now, n_before = int(now[name].sum()), int(before[name].sum())
            p = fisher(yes, n_now, yes_before, n_before) * len(yes) * len(asked) * len(SPANS) / span
            for place in np.flatnonzero(p < 1).tolist():
                yield Change(
                    what=name,
                    label=self.names[place] if name == LABELS and place < len(self.names) else None,
                    edge=None if name == LABELS else EDGES[name][place],
                    before=float(yes_before[place] / n_before),
                    now=float(yes[place] / n_now),
                    n_before=n_before,
                    n_now=n_now,
                    n_windows=span,
                    p=float(p[place]),
                )


def sentence(change: Change) -> str:
    """A change in plain words. A label's name is as its owner wrote it: not to be shown raw."""
    if change.what == LABELS:
        who = "rows without an answer" if change.label is None else f"label {change.label!r}"
    else:
        who = {
            "confidence": f"rows with a confidence below {change.edge:g}",
            "words": f"rows with fewer than {change.edge or 0:.0%} known words",
            "likeness": f"rows whose likeness to the training rows is below {change.edge:g}",
        }[change.what]
    moved = "rose" if change.now > change.before else "fell"
    over = "" if change.n_windows == 1 else f" in the last {change.n_windows} windows"
    return f"{who} {moved} from {change.before:.1%} to {change.now:.1%}{over}"


def _clearest(changes: Sequence[Change]) -> list[Change]:
    """Of labels the clearest few; of a number's edges the clearest one, for they all say the same."""
    found: list[Change] = []
    for name in dict.fromkeys(one.what for one in changes):
        ranked = sorted(
            (one for one in changes if one.what == name), key=lambda one: (one.p, -abs(one.now - one.before))
        )
        found += ranked[: _MOST_TOLD if name == LABELS else 1]
    return found


def _yeses(name: str, counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows that say yes to each question: is it this label, is it below this edge."""
    return counts if name == LABELS else np.cumsum(counts)[:-1]


def _add(total: dict[str, Any], counts: Mapping[str, Any]) -> None:
    for name, values in counts.items():
        if name in total:
            total[name] += values
