"""What a report says of promises and prices, from candidates that have some."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from comparison_fakes import draw_candidates, homeowner_rows, make_report

from labelwright.data.costs import Costs
from labelwright.decisions.decision import LIKELIEST, Decision
from labelwright.decisions.promise import Promise
from workbench.compare.candidate import Candidate
from workbench.compare.leaderboard import build
from workbench.report.markdown import markdown
from workbench.report.plots.answers import bound
from workbench.report.plots.captions import pictures
from workbench.report.report import Report
from workbench.report.tables.decisions import prices, promises

ROWS = homeowner_rows(90)
LABELS = sorted({row.label for row in ROWS})
GOLD = np.array([LABELS.index(row.label) for row in ROWS])
DEAR = Costs(((LABELS[0], LABELS[1], 9.0),), abstain=0.4)


def report_of(candidates: list[Candidate]) -> Report:
    return make_report(build(candidates, ROWS, LABELS, 100, 0), ROWS, LABELS)


def promising(one: Candidate, max_error: float) -> Candidate:
    """As if many rows like the test rows had been kept apart."""
    many = np.tile(one.probs, (10, 1)), np.tile(GOLD, 10)
    promise = Promise.of(LIKELIEST, many, many, 900)
    return replace(one, promise=replace(promise, asked=replace(promise.asked, max_error=max_error)))


@pytest.fixture(scope="module")
def drawn() -> list[Candidate]:
    by_name = {one.name: one for one in draw_candidates(ROWS, LABELS)}
    return [by_name[name] for name in ("sgd-ngrams", "minilm-logreg", "free", "sft")]


def test_every_candidate_says_what_it_may_answer(drawn):
    report = report_of([one if one.kind == "free" else promising(one, 0.1) for one in drawn])
    (table,) = promises(report)
    assert table.title == "Answering with at most 10 % error"
    assert table.values("candidate") == ["sgd-ngrams", "minilm-logreg", "sft"]
    for entry, row in zip((report.entry(name) for name in table.values("candidate")), table.rows, strict=True):
        candidate = promising(next(one for one in drawn if one.name == entry.name), 0.1)
        threshold = candidate.promise.thresholds(len(LABELS))[0]
        answered = candidate.probs.max(axis=1) >= threshold
        assert row[1].value == f"{100 * answered.mean():.1f}"
        assert row[2].value == f"{100 * (candidate.probs.argmax(axis=1) != GOLD)[answered].mean():.1f}"
        assert (row[3].value, row[4].value) == (f"{threshold:.3f}", "900")
    assert "## Answering with at most 10 % error" in markdown(report)
    assert Report.from_json(report.to_json()) == report
    assert "risk-bound" in pictures(report)
    told = [text.get_text() for text in bound(report).axes[0].get_legend().get_texts()]
    assert told[1:] == ["with 95 % confidence it is below this (each point by itself)", "answered under the promise"]


def test_too_few_rows_are_said_once(drawn):
    promise = Promise(n_fitted=54)
    few = replace(promise, asked=replace(promise.asked, max_error=0.05))
    report = report_of([replace(one, promise=few) for one in drawn])
    (table,) = promises(report)
    assert {row[1].value for row in table.rows} == {"none"}
    assert table.remarks[0].startswith(
        "At most 5 % of the answered rows wrong, with 95 % confidence cannot be promised: "
    )
    assert "118 at the least would do" in table.remarks[0]
    assert "risk-bound" not in pictures(report)


def test_prices_decide_and_are_told(drawn):
    decision = Decision.of(DEAR, LABELS)
    report = report_of([one if one.kind == "free" else replace(one, decision=decision) for one in drawn])
    (table,) = prices(report)
    assert table.values("candidate") == ["sgd-ngrams", "minilm-logreg", "free", "sft"]
    probs = drawn[1].probs
    realised = decision.realised(GOLD, decision.decide(probs).said)
    assert table.rows[1][1].value == f"{realised.mean():.3f}"
    assert table.rows[1][3].value == f"{decision.realised(GOLD, probs.argmax(axis=1)).mean():.3f}"
    right = decision.decide(probs).choice == GOLD
    assert report.entry("minilm-logreg").test["accuracy"].value == pytest.approx(right.mean())
    assert Report.from_json(report.to_json()) == report


def test_without_either_nothing_is_said(drawn):
    report = report_of(drawn)
    assert promises(report) == []
    assert "What mistakes cost" not in markdown(report)
