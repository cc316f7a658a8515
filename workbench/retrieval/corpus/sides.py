"""Which queries choose a setting and which are measured: never the same, and never two of one group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from labelwright.data.families import family_names
from labelwright.data.task import Example
from labelwright.errors import DataError
from workbench.retrieval.corpus.read import Query

# Of the queries, the share that chooses; the others are measured.
SHARE_CHOOSING = 0.3


@dataclass(frozen=True)
class Sides:
    """Positions of queries, each on one side.

    Attributes
    ----------
    choosing, measured : tuple of int
        In the order of the queries.
    groups : tuple of str
        Of each measured query, the name of its group.
    """

    choosing: tuple[int, ...]
    measured: tuple[int, ...]
    groups: tuple[str, ...]

    @property
    def n_groups(self) -> int:
        """Different groups that are measured."""
        return len(set(self.groups))


def sides_of(queries: Sequence[Query], seed: int) -> Sides:
    """Deal queries by chance, whole groups: those of one ``group``, and those that say nearly the same.

    Raises
    ------
    DataError
        Fewer than three groups: one side would have none, or the measured one no interval.
    """
    names = family_names([Example(one.id, one.text, "", group=one.group) for one in queries])
    sizes = Counter(names)
    groups = sorted(sizes)
    if len(groups) < 3:
        raise DataError(
            f"the {len(queries)} queries form {len(groups)} groups; expected three at least, one to choose the weight "
            "of a label and two to be measured: give more queries, or other groups"
        )
    choosing: set[str] = set()
    n_choosing = 0
    for place in np.random.default_rng(seed).permutation(len(groups))[:-2]:
        if n_choosing >= SHARE_CHOOSING * len(queries):
            break
        choosing.add(groups[place])
        n_choosing += sizes[groups[place]]
    measured = [i for i, name in enumerate(names) if name not in choosing]
    first = tuple(i for i, name in enumerate(names) if name in choosing)
    return Sides(first, tuple(measured), tuple(names[i] for i in measured))
