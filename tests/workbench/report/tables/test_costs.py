"""Accuracy against money in the report's tables and its picture."""

from __future__ import annotations

from dataclasses import replace

import pytest
from comparison_fakes import draw_candidates, homeowner_rows, make_board, make_report

from workbench.report.markdown import markdown
from workbench.report.plots.captions import pictures
from workbench.report.plots.money import money as drawn
from workbench.report.report import Report
from workbench.report.tables.costs import money, person

ROWS = homeowner_rows(90)
LABELS = sorted({row.label for row in ROWS})


@pytest.fixture(scope="module")
def plain() -> Report:
    names = ("sgd-ngrams", "minilm-logreg", "gepa+grpo")
    candidates = [one for one in draw_candidates(ROWS, LABELS) if one.name in names]
    return make_report(make_board(candidates, ROWS, LABELS), ROWS, LABELS)


def test_without_prices_nothing_is_said(plain: Report) -> None:
    assert money(plain) == person(plain) == []
    # The hosted model's price alone is nobody's money: no candidate that has its own ran.
    for report in (plain, replace(plain, money={"hosted": 12.5}, person=300.0)):
        assert "money" not in pictures(report)
    assert "## Money" not in markdown(plain)


def test_every_candidate_has_its_money_and_the_one_that_ships_a_person(plain: Report) -> None:
    ship = plain.verdict.ship
    prices = {"sgd-ngrams": 0.0, "minilm-logreg": 0.5, "gepa+grpo": 20.0}
    report = replace(plain, money=prices, person=300.0)
    assert Report.from_json(report.to_json()) == report
    (table,) = money(report)
    assert table.values("money, 1,000 rows") == ["0", "0.5", "20"]
    kept = [name for name in prices if all(
        report.entry(name).accuracy > report.entry(one).accuracy for one in prices if prices[one] < prices[name]
    )]  # fmt: skip
    assert table.remarks[0].startswith(f"No cheaper candidate is as often right: {' and '.join(kept)}")
    (helped,) = person(report)
    assert helped.of == ship
    assert helped.rows[0][1].value == table.rows[[row[0].value for row in table.rows].index(ship)][1].value
    shares, right = ([float(row[place].value) for row in helped.rows] for place in (0, 2))
    assert shares[-1] == pytest.approx(50.0, abs=1.2)
    assert shares == sorted(shares)
    assert right[-1] > right[0] == pytest.approx(report.entry(ship).accuracy, abs=0.05)
    assert len(table.remarks) == 1, "everybody's is known"
    assert "## Money" in markdown(report)
    lines = [line.get_label() for line in drawn(report).axes[0].get_lines()]
    assert f"{ship}, then a person" in lines
    assert "money" in pictures(report)


def test_without_a_person_no_line_leads_to_one(plain: Report) -> None:
    report = replace(plain, money={"sgd-ngrams": 0.1, "minilm-logreg": 0.5})
    assert person(report) == []
    # Who is not in the table is named beside it.
    (table,) = money(report)
    assert table.values("candidate") == ["sgd-ngrams", "minilm-logreg"]
    assert table.remarks[1].startswith("Not known: the money of gepa+grpo. ")
    assert not any("person" in str(line.get_label()) for line in drawn(report).axes[0].get_lines())
