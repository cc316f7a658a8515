"""What it costs in money to answer rows: of every candidate, and where a person answers what it is least sure of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from workbench.compare.board import Confidence, Entry
from workbench.compare.together.prices import Prices
from workbench.recipe.stages import HOSTED
from workbench.recipe.tables.compare import MoneyTable

# Prices are of so many rows: of one they would be a row of zeros.
N_ROWS = 1000


def money_of(entries: Sequence[Entry], table: MoneyTable) -> dict[str, float]:
    """What a thousand rows cost, by candidate, and ``HOSTED``; without those of which nothing is known.

    A candidate costs what the recipe says of it. One that is made of others costs what they cost, in a cascade as far
    as rows reach them, where the recipe has a price for one of them; and otherwise, as everybody, its milliseconds at
    the price of an hour.
    """
    by_name = {entry.name: entry for entry in entries}
    found = {HOSTED: table.candidates.get(HOSTED)} | {entry.name: _money(entry, by_name, table) for entry in entries}
    return {name: money for name, money in found.items() if money is not None}


def with_hosted(entry: Entry, money: Mapping[str, float]) -> float | None:
    """What a thousand rows cost where a cascade passes some on: those that the hosted model takes are paid again.

    A person after it is not paid here, as no row counts as right that a person would be asked about. None where the
    cascade's money or the hosted model's is not known.
    """
    hosted = entry.together.hosted if entry.together else None
    if hosted is None or entry.name not in money or HOSTED not in money:
        return None
    taken = hosted.share * (hosted.n_rows - hosted.n_refused) / max(1, hosted.n_rows)
    return money[entry.name] + taken * money[HOSTED]


def of_card(entry: Entry, money: Mapping[str, float], person: float | None) -> dict[str, float]:
    """What a bundle's card says of it (``labelwright.bundle.store.save``); empty where its money is not known."""
    if entry.name not in money:
        return {}
    more = {"hosted": with_hosted(entry, money), "person": person}
    known = {name: one for name, one in more.items() if one is not None}
    return {"rows": float(N_ROWS), "answered": money[entry.name]} | known


def with_person(confidence: Confidence, money: float, person: float) -> list[tuple[float, float, float]]:
    """Share of rows that a person answers, what a thousand rows then cost, and the share of right answers.

    The candidate answers those that it is surest of. A person is taken to be right, and is asked after the candidate.
    From nobody asked to all rows.
    """
    points = [(1 - share, money + (1 - share) * person, 1 - share * wrong) for share, wrong in confidence.risk]
    return sorted([*points, (1.0, money + person, 1.0)])


def _money(entry: Entry, by_name: dict[str, Entry], table: MoneyTable) -> float | None:
    if entry.name in table.candidates:
        return table.candidates[entry.name]
    if entry.together is not None and _members(entry) & table.candidates.keys():
        return _of_levels(entry, by_name, table)
    return None if table.hour is None or entry.ms is None else table.hour * entry.ms * N_ROWS / 3_600_000


def _of_levels(entry: Entry, by_name: dict[str, Entry], table: MoneyTable) -> float | None:
    """What each level adds to those before it, an encoder that members share once, for the rows that reach it."""
    assert entry.together is not None
    each = dict[str, float]()
    for name in _members(entry):
        alone = _money(by_name[name], by_name, table) if name in by_name else table.candidates.get(name)
        if alone is None:
            return None
        each[name] = alone
    of_all = Prices(each, {name: entry.together.encoders.get(name, name) for name in each})
    spent, reach, paid, asked = 0.0, 1.0, 0.0, list[str]()
    for level in entry.together.levels:
        asked += level.weights
        before, paid = paid, of_all(asked)
        spent += reach * (paid - before)
        reach -= level.share
    return spent


def _members(entry: Entry) -> set[str]:
    assert entry.together is not None
    return {name for level in entry.together.levels for name in level.weights}
