"""Which calib rows are kept apart from all that is fitted, so that a promise can be tested on them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from labelwright.statistics.metrics import Ints

# Of more groups the promise would not be noticeably better, and the calibration would miss them.
MOST_APART = 2000


def keep_apart(groups: Sequence[str], share: float, least: int, seed: int) -> tuple[Ints, Ints]:
    """Deal rows to the calibration and to the promise: positions of the fitted rows, and of one row a group kept apart.

    No label is looked at, for then the rows kept apart would not be like others. Where the share would be fewer groups
    than ``least``, all rows are fitted on.

    Parameters
    ----------
    groups : sequence of n_rows
    share : float in [0, 1)
        Of the groups, that are kept apart; at most ``MOST_APART`` are.
    """
    names, index = np.unique(np.asarray(groups), return_inverse=True)
    draw = np.random.default_rng(seed)
    order = draw.permutation(len(names))
    n_apart = min(int(share * len(names)), MOST_APART)
    if n_apart < least or n_apart > len(names) - 2:
        return np.arange(len(index)), np.zeros(0, dtype=np.int64)
    is_apart = np.isin(index, order[:n_apart])
    shuffled = draw.permutation(len(index))
    # The first row of each group in a shuffled order is one of them at random.
    _, first = np.unique(index[shuffled], return_index=True)
    one_each = np.sort(shuffled[first])
    return np.flatnonzero(~is_apart), one_each[is_apart[one_each]]
