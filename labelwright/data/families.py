"""Which rows must not be parted: what is learnt from one is known of the others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from labelwright.data.task import Example, family_keys, group_keys


def families_of(rows: Sequence[Example]) -> list[list[int]]:
    """Row numbers that must stay together: connected, if by way of others, through ``task.family_keys``."""
    parent = list(range(len(rows)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    first: dict[tuple[str, ...], int] = {}
    for i, row in enumerate(rows):
        for key in family_keys(row):
            parent[root(i)] = root(first.setdefault(key, i))
    families: dict[int, list[int]] = defaultdict(list)
    for i in range(len(rows)):
        families[root(i)].append(i)
    return list(families.values())


def family_names(rows: Sequence[Example]) -> list[str]:
    """A name of each row's family, where ``group_keys`` names its group; no label is looked at.

    Nearly the same text counts as the same under any label, so that whoever deals rows by these names learns nothing of
    their labels. A family without copies is called as its group is.

    Examples
    --------
    >>> family_names([Example("1", "No heat", "a"), Example("2", "no heat!", "b"), Example("3", "c", "b", group="5")])
    ['alone 1', 'alone 1', 'group 5']
    """
    keys = group_keys(rows)
    names = [""] * len(rows)
    for family in families_of([replace(row, label="") for row in rows]):
        name = min(keys[i] for i in family)
        for i in family:
            names[i] = name
    return names
