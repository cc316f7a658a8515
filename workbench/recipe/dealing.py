"""How rows are dealt to the sides. Called by ``workbench.recipe.rows``."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from labelwright.data.families import families_of
from labelwright.data.records import listed
from labelwright.data.task import Example, Splits
from labelwright.errors import DataError

# Who is served first where a label has fewer families than there are sides: it must be learnt, then measured.
_FIRST_SERVED = ("train", "test", "dev", "calib")
# How far a side's share of the rows may be from what was asked before it is said.
_SAID_BEYOND = 0.05


def deal(rows: Sequence[Example], shares: Mapping[str, float], seed: int) -> dict[str, tuple[Example, ...]]:
    """Rows by side; ``shares`` are those of the sides other than train, which gets what they leave.

    Label by label, each side first gets the family nearest in size to what it is due, so that every label with as many
    families as there are sides stands on every side; every further family goes to the side that lacks most rows of that
    label. Of a label with fewer families train gets the first, and the others go to the sides that such labels have
    served least so far, measured by their shares: together they fill every side. A label that would be missing from
    train, because it only occurs in families of other labels, gets one of them there.

    Raises
    ------
    DataError
        If the rows form too few families for all sides.
    """
    families = families_of(rows)
    share = {**shares, "train": 1 - sum(shares.values())}
    chance = random.Random(seed)
    by_label: dict[str, list[list[int]]] = defaultdict(list)
    for family in families:
        counts = Counter(rows[i].label for i in family)
        by_label[min(counts, key=lambda name: (-counts[name], name))].append(family)
    side_of: dict[int, str] = {}
    served = [side for side in _FIRST_SERVED if side in share]
    poor = dict.fromkeys(served, 0.0)
    for label in sorted(by_label):
        chance.shuffle(by_label[label])
        few = len(by_label[label]) < len(served)
        order = ["train", *sorted(served[1:], key=lambda side: poor[side] / share[side])] if few else served
        for side, family in _deal_label(by_label[label], share, order):
            side_of.update(dict.fromkeys(family, side))
            poor[side] += few * len(family)
    _teach_every_label(rows, families, side_of)
    sides = {side: tuple(row for i, row in enumerate(rows) if side_of[i] == side) for side in share}
    empty = [side for side in share if not sides[side]]
    if empty:
        raise DataError(
            f"{len(rows)} rows in {len(families)} separate groups leave {empty[0]} empty: add rows, "
            f"or use finer groups (rows of one group stay together)"
        )
    return sides


def held(rows: Sequence[Example], measured: Sequence[Example]) -> set[int]:
    """Numbers of the rows that a family connects with one of the measured rows."""
    families = families_of([*rows, *measured])
    return {i for family in families if family[-1] >= len(rows) for i in family if i < len(rows)}


def dealt_remarks(splits: Splits, shares: Mapping[str, float], missing: bool = True) -> list[str]:
    """What the reader should know of the sides: shares that came out otherwise than asked, labels that are missing.

    Parameters
    ----------
    shares : mapping of side to float
        As they were given to ``deal``.
    missing : bool
        Whether a label that a side lacks is worth a word: letters before choices are not.
    """
    asked = {"train": 1 - sum(shares.values()), **shares}
    n_rows = {side: len(getattr(splits, side)) for side in asked}
    came = {side: n / max(sum(n_rows.values()), 1) for side, n in n_rows.items()}
    remarks = []
    if any(abs(came[side] - asked[side]) > _SAID_BEYOND for side in asked):
        told = ", ".join(f"{side} {came[side]:.0%} (asked {asked[side]:.0%})" for side in asked)
        remarks.append(f"the shares that came out: {told}; labels or groups are too few or too large to keep them")
    labels = sorted({row.label for side in (*asked, "test") for row in getattr(splits, side)})
    for side in _FIRST_SERVED if missing else ():
        standing = {row.label for row in getattr(splits, side)}
        lacking = [repr(label) for label in labels if label not in standing]
        if lacking:
            remarks.append(f"{side} has no row of {len(lacking)} of the {len(labels)} labels: {listed(lacking, 8)}")
    return remarks


def _deal_label(
    families: list[list[int]], share: Mapping[str, float], order: Sequence[str]
) -> list[tuple[str, list[int]]]:
    """Sides for the families of one label."""
    n_rows = sum(map(len, families))
    due = {side: share[side] * n_rows for side in order}
    left = list(families)
    dealt = []
    for side in order[: len(families)]:
        nearest = min(range(len(left)), key=lambda i: abs(len(left[i]) - due[side]))
        dealt.append((side, left.pop(nearest)))
        due[side] -= len(dealt[-1][1])
    # Large families first: the small ones then even out what is left.
    for family in sorted(left, key=len, reverse=True):
        side = max(order, key=lambda side: due[side])
        dealt.append((side, family))
        due[side] -= len(family)
    return dealt


def _teach_every_label(rows: Sequence[Example], families: Sequence[Sequence[int]], side_of: dict[int, str]) -> None:
    """Move a family to train for every label that has none there; from the side that has most families to give."""
    taught = {rows[i].label for i, side in side_of.items() if side == "train"}
    n_families = Counter(side_of[family[0]] for family in families)
    for label in sorted({row.label for row in rows} - taught):
        if label in taught:  # it came with a family that was moved for another label
            continue
        having = [family for family in families if any(rows[i].label == label for i in family)]
        family = max(having, key=lambda family: n_families[side_of[family[0]]])
        n_families[side_of[family[0]]] -= 1
        side_of.update(dict.fromkeys(family, "train"))
        taught |= {rows[i].label for i in family}
