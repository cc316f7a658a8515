"""What mistakes cost: a price for every pair of right label and answer, and for asking a person instead.

Part of a task, so that all that tunes, decides and reports sees the same prices. Only what differs from "a mistake
costs 1, a right answer nothing" is written down. No numpy: recipes are read with it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from labelwright.data.records import listed
from labelwright.errors import DataError

_KEYS = ("matrix", "wrong", "right", "abstain")


def amount(value: float) -> str:
    """Money as people read it: to three digits, whole above a hundred, and however little it is not nothing.

    >>> amount(1234.567), amount(12.5), amount(0.213), amount(0.000578), amount(0.0)
    ('1,235', '12.5', '0.213', '0.000578', '0')
    """
    if abs(value) >= 100:
        return f"{value:,.0f}"
    # Not in powers of ten, which money has not.
    return f"{Decimal(f'{value:.3g}'):f}"


@dataclass(frozen=True)
class Costs:
    """Prices in any unit, as long as it is one.

    Attributes
    ----------
    pairs : tuple of (gold label, answered label, price)
        What differs from ``wrong`` and ``right``.
    wrong, right : float
        The price of a mistake, and of a right answer, that ``pairs`` does not list.
    abstain : float, optional
        The price of giving no label, of a person's look at the row, say; None where nobody can be asked.
    """

    pairs: tuple[tuple[str, str, float], ...] = ()
    wrong: float = 1.0
    right: float = 0.0
    abstain: float | None = None

    def faults(self, names: Sequence[str], matrix: str = "matrix", wrong: str = "wrong") -> list[str]:
        """All that is wrong with the prices for a task of these labels, a sentence each; without names, what is anyway.

        Labels that the task does not have; prices that are negative or no numbers; all of them alike.

        Parameters
        ----------
        matrix, wrong : str
            What ``pairs`` and ``wrong`` are called where they were written.
        """
        found = [
            f"{name} is {price!r}: expected a number of 0 or more"
            for name, price in ((wrong, self.wrong), ("right", self.right))
            if not _is_price(price)
        ]
        if self.abstain is not None and not (_is_price(self.abstain) and self.abstain > 0):
            found.append(f"abstain is {self.abstain!r}: expected a number above 0, or to be left out")
        strangers = dict.fromkeys(one for gold, said, _ in self.pairs for one in (gold, said) if one not in names)
        if names and strangers:
            found.append(f"{matrix} names {listed(map(repr, strangers), 6)}: expected labels of {listed(names, 12)}")
        found += [
            f"{matrix}: {gold!r} answered as {said!r} costs {price!r}: expected a number of 0 or more"
            for gold, said, price in self.pairs
            if not _is_price(price)
        ]
        if names and not found and len({price for row in self.table(names) for price in row}) == 1:
            found.append(
                "every answer costs the same, right or wrong: give a mistake a price above that of being right"
            )
        return found

    def table(self, names: Sequence[str]) -> list[list[float]]:
        """Prices of shape (n_labels, n_labels): row gold, column answered, in the order of ``names``."""
        known = {(gold, said): price for gold, said, price in self.pairs}
        return [
            [known.get((gold, said), self.right if gold == said else self.wrong) for said in names] for gold in names
        ]

    def highest(self, names: Sequence[str]) -> float:
        """The highest price of an answer."""
        return max(price for row in self.table(names) for price in row)

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold; ``from_dict`` is its exact inverse."""
        matrix: dict[str, dict[str, float]] = {}
        for gold, said, price in self.pairs:
            matrix.setdefault(gold, {})[said] = price
        return {"matrix": matrix, "wrong": self.wrong, "right": self.right, "abstain": self.abstain}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Costs:
        """Prices from a table of tables, gold to answered to price, and the defaults beside it.

        Raises
        ------
        DataError
            Keys that are not known, or what is no table. What prices may be, ``faults`` says.
        """
        if set(values) - set(_KEYS):
            raise DataError(f"costs are {sorted(values)}: expected some of {', '.join(_KEYS)}")
        pairs = pairs_of(values.get("matrix", {}))
        return cls(pairs, **{key: values[key] for key in _KEYS[1:] if key in values})


def pairs_of(table: Any, called: str = "matrix") -> tuple[tuple[str, str, Any], ...]:
    """``Costs.pairs`` of a table of tables, gold to answered to price. Raises DataError where it is none.

    Parameters
    ----------
    called : str
        What it is called where it was written.
    """
    if not isinstance(table, Mapping):
        raise DataError(
            f'{called} is {table!r}: expected a table, {{ "right label" = {{ "answered label" = price }} }}'
        )
    faults = [
        f'{called} of {gold!r} is {row!r}: expected {{ "answered label" = price }}'
        for gold, row in table.items()
        if not isinstance(row, Mapping)
    ]
    if faults:
        raise DataError("; ".join(faults))
    return tuple((gold, said, price) for gold, row in table.items() for said, price in row.items())


def _is_price(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
