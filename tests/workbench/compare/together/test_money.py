"""Money: what candidates cost alone and together, and a person behind them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from labelwright.statistics.intervals import Interval
from workbench.compare.board import Confidence, Entry
from workbench.compare.candidate import Asking, Hosted, Together
from workbench.compare.together.money import money_of, of_card, with_person
from workbench.export import Source
from workbench.recipe.tables.compare import MoneyTable


def entry(name: str, ms: float | None = 10.0, together: Together | None = None) -> Entry:
    return Entry(name, "together" if together else "baseline", cost={"ms_p50": ms}, together=together)


CASCADE = Together(
    (Asking({"words": 1.0}, 0.9, 0.7, 0.9), Asking({"words": 0.5, "hosted": 0.5}, None, 0.3, 0.8)), "log", "ensemble"
)
ENTRIES = [entry("words", 3.6), entry("hosted", None), entry("unknown", None), entry("cascade", 500.0, CASCADE)]


def test_a_price_of_its_own_goes_before_its_time() -> None:
    # An hour has 3,600,000 ms: at 1 an hour, a thousand rows of 3.6 ms are a thousandth.
    assert money_of(ENTRIES, MoneyTable(hour=1.0))["words"] == pytest.approx(0.001)
    assert money_of(ENTRIES, MoneyTable(hour=1.0, candidates={"words": 7.0}))["words"] == 7.0
    assert money_of(ENTRIES, MoneyTable(person=300.0)) == {}


def test_a_cascade_costs_what_its_levels_do_as_far_as_rows_reach_them() -> None:
    found = money_of(ENTRIES, MoneyTable(hour=1.0, candidates={"hosted": 2.0}))
    # All rows ask the words, which are paid once; three in ten go on.
    assert found["cascade"] == pytest.approx(0.001 + 0.3 * 2.0)
    # Of members that have only their time it is its own time, in which what they share is shared.
    assert money_of(ENTRIES, MoneyTable(hour=1.0))["cascade"] == pytest.approx(500 / 3600)
    # Half of what it asks has no price.
    assert "cascade" not in money_of(ENTRIES, MoneyTable(candidates={"hosted": 2.0}))


def test_an_encoder_that_members_share_is_paid_once_and_only_by_the_rows_that_reach_it() -> None:
    heads = {f"minilm-{number}": "encoder minilm" for number in range(4)}
    own = [entry("sgd-chars", 1.0), *(entry(name, 20.0) for name in heads)]
    weights = dict.fromkeys([*heads, "sgd-chars"], 0.2)
    mixed = Together((Asking(weights, None, 1.0, 0.9),), "log", encoders={**heads, "sgd-chars": "sgd-chars"})
    first = Together(
        (Asking({"minilm-0": 1.0}, 0.9, 0.7, 0.9), Asking(weights, None, 0.3, 0.8)), "log", encoders=mixed.encoders
    )
    entries = [*own, entry("ensemble", 21.0, mixed), entry("cascade", 20.3, first)]
    found = money_of(entries, MoneyTable(hour=0.1))
    free = money_of(entries, MoneyTable(hour=0.1, candidates={"sgd-chars": 0.0}))
    # 21 ms and 20 ms a row at a tenth an hour, which has 3,600 s.
    assert [round(one["ensemble"], 5) for one in (found, free)] == [0.00058, 0.00056]
    # The second level reads the text no second time.
    assert free["cascade"] == pytest.approx(free["ensemble"])
    priced = money_of(entries, MoneyTable(hour=0.1, candidates={"sgd-chars": 3.0}))
    assert priced["cascade"] == pytest.approx(free["ensemble"] + 0.3 * 3.0)


def test_what_a_card_says_is_the_reports_with_what_is_passed_on() -> None:
    none = Interval(0.0, 0.0, 0.0)
    passes = replace(CASCADE, hosted=Hosted("far", 0.6, 40, 20, 0.2, 10, 5, 3, 1, none, none))
    cascade, money = entry("cascade", 500.0, passes), {"cascade": 0.5, "hosted": 10.0, "words": 0.1}
    # A fifth of all rows is passed on, of which one in twenty is not taken. Nobody is right there for a person's money.
    paid = {"rows": 1000.0, "answered": 0.5, "hosted": pytest.approx(0.5 + 0.19 * 10)}
    assert of_card(cascade, money, 300.0) == paid | {"person": 300.0}
    assert of_card(cascade, money, None) == paid
    assert of_card(cascade, {"cascade": 0.5}, None) == {"rows": 1000.0, "answered": 0.5}
    assert of_card(ENTRIES[0], money, None) == {"rows": 1000.0, "answered": 0.1}
    assert of_card(cascade, {}, 300.0) == {}
    # Beside its test numbers, which are of all rows, stands how many of them the bundle leaves.
    measured = replace(cascade, test={"accuracy": none})
    assert Source("cascade", Path(), measured).test == {"accuracy": none._asdict(), "passed_on": 0.2}
    passes_none = replace(passes, hosted=replace(passes.hosted, threshold=0.0))
    assert Source("cascade", Path(), replace(measured, together=passes_none)).test.keys() == {"accuracy"}


def test_a_person_answers_the_least_sure_and_is_right() -> None:
    curve = Confidence((), (), ((0.5, 0.0), (0.8, 0.125), (1.0, 0.2)))
    found = with_person(curve, money=2.0, person=100.0)
    assert [share for share, *_ in found] == pytest.approx([0.0, 0.2, 0.5, 1.0])
    assert [spent for _, spent, _ in found] == pytest.approx([2.0, 22.0, 52.0, 102.0])
    assert [right for *_, right in found] == pytest.approx([0.8, 0.9, 1.0, 1.0])
