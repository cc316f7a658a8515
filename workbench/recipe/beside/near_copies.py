"""Texts that nearly repeat another one, told by the characters that they have in common.

The idea: a text is the set of its runs of four characters, and two texts are as alike as the share of runs that they
share (Jaccard). Of texts as alike as ``t`` each has at least the share ``t`` of the other's runs; so among any
``n - ceil(t n) + 1`` of a text's n runs there is one that the other has as well, and only texts that have one of its
rarest runs need be looked at (prefix filtering, Chaudhuri et al. 2006). Nothing is missed by that.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable

from labelwright.data.task import normalise

_RUN = 4


class NearCopies:
    """Texts to be held against others.

    Parameters
    ----------
    texts : iterable of str
    share : float in (0, 1]
        From which share on two texts are nearly one. Texts that ``normalise`` takes for one are so at any.

    Examples
    --------
    >>> known = NearCopies(["The pool pump is making a loud noise."], share=0.5)
    >>> known.find("the pool pump makes a loud noise!"), known.find("The gate is making a noise.")
    (0, None)
    """

    def __init__(self, texts: Iterable[str], share: float) -> None:
        self._share = share
        self._runs: list[frozenset[str]] = []
        self._having: dict[str, list[int]] = defaultdict(list)
        for text in texts:
            self.add(text)

    def add(self, text: str) -> None:
        """One more text; its number is how many there were."""
        runs = _runs(text)
        for run in runs:
            self._having[run].append(len(self._runs))
        self._runs.append(runs)

    def find(self, text: str) -> int | None:
        """The number of the text that is most like a text, of those that are nearly the same; None where none is."""
        alike, number = self._nearest(text, self._share)
        return number if alike else None

    def likeness(self, text: str) -> float:
        """The share of runs that a text has in common with the text that is most like it; 0 where there is none."""
        return self._nearest(text, 0.0)[0]

    def _nearest(self, text: str, least: float) -> tuple[float, int | None]:
        runs = _runs(text)
        rarest = sorted(runs, key=lambda run: (len(self._having.get(run, ())), run))
        # 0.28 * 25 is 7.000000000000001: rounded up as it is, one run too few would be looked at.
        probed = rarest[: len(runs) - math.ceil(least * len(runs) - 1e-9) + 1]
        found = {number for run in probed for number in self._having.get(run, ())}
        best, nearest = 0.0, None
        for number in sorted(found):
            other = self._runs[number]
            n_both = len(runs & other)
            alike = n_both / (len(runs) + len(other) - n_both)
            if alike >= least and alike > best:
                best, nearest = alike, number
        return best, nearest


def _runs(text: str) -> frozenset[str]:
    padded = f" {normalise(text)} "
    return frozenset(padded[i : i + _RUN] for i in range(max(1, len(padded) - _RUN + 1)))
