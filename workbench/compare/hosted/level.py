"""Which rows go on to a model elsewhere, chosen on calib, and what that brought on test. It asks; it reads no recipe.

The cascade keeps a row where it is sure to a threshold. Every threshold gains so much a row on calib: right answers, or
with prices what mistakes cost, of the hosted model over the cascade, on the rows that are passed on. The one is taken
whose gain less 1.64 standard errors is highest, if that is above 0: dozens are tried on few rows, and of one or two
that came out right by luck the lower end is below 0 (it takes three). The hosted model gives labels and no
probabilities, so there is nothing else to go by.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from labelwright.data.task import Example, group_keys
from labelwright.decisions.decision import Decision
from labelwright.statistics.intervals import mean_interval
from labelwright.statistics.metrics import Floats, Ints
from labelwright.statistics.proportions import difference_interval, share_interval
from workbench.compare.candidate import Hosted
from workbench.compare.hosted.asking import NO_LABEL, REFUSED
from workbench.compare.together.cascade import standard_error

# Standard errors that a gain must be above 0 by: one-sided, 95 % of a normal distribution.
_SURELY = 1.64
# From rows to the positions of their labels, or what stands in their place.
Ask = Callable[[Sequence[Example]], Ints]


class Side(NamedTuple):
    """Rows of one split with the cascade's probabilities (n_rows, n_labels) and right labels (n_rows,).

    ``outside``, (n_rows,), says which of them the scope turns away: nobody is asked about these; None: of none.
    """

    rows: Sequence[Example]
    probs: Floats
    gold: Ints
    outside: NDArray[np.bool_] | None = None

    def below(self, confidence: Floats, threshold: float) -> NDArray[np.bool_]:
        """The rows that are passed on, (n_rows,)."""
        less_sure = confidence < threshold
        return less_sure if self.outside is None else less_sure & ~self.outside


def hosted_level(model: str, ask: Ask, calib: Side, test: Side, decision: Decision, most_calib: int) -> Hosted:
    """Choose the threshold on calib, and pass the test rows on that are below it, each once.

    Parameters
    ----------
    model : str
    ask : callable
        From rows to ``workbench.compare.hosted.asking`` labels.
    calib : Side
        Rows that a promise is not tested on.
    decision : Decision
        The task's, without thresholds.
    most_calib : int
        So many calib rows are asked about at most, the least sure ones.
    """
    threshold, n_calib, curve = choose_threshold(ask, calib, decision, most_calib)
    decided = decision.decide(test.probs)
    passed = test.below(decided.confidence, threshold)
    found = ask([test.rows[row] for row in np.flatnonzero(passed).tolist()]) if passed.any() else np.zeros(0, np.int64)
    said, choice = decided.said.copy(), decided.choice.copy()
    said[passed] = choice[passed] = np.maximum(found, NO_LABEL)
    # What is left to a person because that is cheaper counts in accuracy by the label that it would have got.
    right, was_right, groups = choice == test.gold, decided.choice == test.gold, group_keys(test.rows)
    if decision.prices is None:
        gain = difference_interval(right.astype(int) - was_right, groups)
    else:
        gain = mean_interval(decision.realised(test.gold, decided.said) - decision.realised(test.gold, said), groups)
    return Hosted(
        model=model,
        threshold=threshold,
        n_calib=n_calib,
        n_rows=int(passed.sum()),
        share=float(passed.mean()),
        n_right=int(right[passed].sum()),
        n_right_before=int(was_right[passed].sum()),
        n_no_label=int((found == NO_LABEL).sum()),
        n_refused=int((found == REFUSED).sum()),
        accuracy=share_interval(right, groups),
        gain=gain,
        curve=curve,
    )


def choose_threshold(
    ask: Ask, calib: Side, decision: Decision, most: int
) -> tuple[float, int, tuple[tuple[float, float], ...]]:
    """The confidence below which rows are passed on; 0 where none may be.

    Returns
    -------
    threshold : float
    n_asked : int
        Calib rows that it was asked about.
    curve : tuple of (share, gain)
        At each threshold that was tried the share of calib rows that are passed on, and what that gains a row.
    """
    decided = decision.decide(calib.probs)
    order = np.argsort(decided.confidence, kind="stable")
    order = order[calib.below(decided.confidence, np.inf)[order]][:most]
    said = decided.said.copy()
    said[order] = np.maximum(ask([calib.rows[row] for row in order.tolist()]), NO_LABEL)
    saved = decision.realised(calib.gold, decided.said) - decision.realised(calib.gold, said)
    known = np.unique(decided.confidence)
    of_group = np.unique(np.asarray(group_keys(calib.rows)), return_inverse=True)[1]
    best, threshold, curve = 0.0, 0.0, [(0.0, 0.0)]
    for one in (known[1:] + known[:-1]) / 2:
        passed = calib.below(decided.confidence, one)
        if passed.sum() > len(order):
            break  # about some of these rows it was not asked
        gained = np.where(passed, saved, 0.0)
        curve.append((float(passed.mean()), float(gained.mean())))
        surely = float(gained.mean()) - _SURELY * standard_error(gained, of_group)
        if surely > best:
            best, threshold = surely, float(one)
    return threshold, len(order), tuple(curve)
