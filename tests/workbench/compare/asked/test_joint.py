"""Whole rows of every candidate: the numbers of the sets themselves, paired, and what thresholds made of them."""

from __future__ import annotations

import numpy as np
import pytest
from asked_fakes import NAMES, SAID_FROM, TASK, asked_candidates, asked_rows

from labelwright.data.task import group_keys
from labelwright.decisions.decision import LIKELIEST, Decision
from labelwright.decisions.whole_rows import joint_metrics, whole_rows
from workbench.compare.asked.joint import joint
from workbench.compare.leaderboard import build

TEST = asked_rows()
CANDIDATES = asked_candidates(TEST)


def wholes():
    groups = group_keys(TEST)
    return {one.name: whole_rows(TEST, one.probs, TASK, one.decision, groups) for one in CANDIDATES}


def test_every_candidate_has_what_evaluate_would_tell():
    found = joint(wholes(), "micro_f1", 80, 0)
    for name, whole in wholes().items():
        exact, questions = joint_metrics(whole, 80, 0)
        assert found[name].exact == exact
        assert found[name].questions == questions
    assert found["leant"].questions["urgent"] == found["fine"].questions["urgent"]


@pytest.mark.parametrize("wanted", ["micro_f1", "macro_f1", "jaccard"])
def test_differences_are_to_the_best_by_the_wanted_metric(wanted):
    found = joint(wholes(), wanted, 300, 0)
    values = {name: found[name].questions["topics"][wanted].value for name in NAMES}
    best = max(values, key=values.__getitem__)
    assert "topics" not in found[best].against_best
    for name in set(NAMES) - {best}:
        difference = found[name].against_best["topics"]
        assert difference.value.value == pytest.approx(values[name] - values[best])
        assert difference.value.low <= difference.value.value <= difference.value.high
        assert difference.p_holm >= difference.p_value
        assert (difference.value.high < 0) or difference.p_holm >= 0.05 or difference.value.high == 0
    assert found["rough"].against_best["topics"].p_value < 0.1


def test_two_that_answer_alike_differ_by_nothing_at_all():
    """Drawn together: no resample tells them apart, though each alone has a wide interval."""
    same = {name: wholes()["fine"] for name in ("a", "b")}
    difference = joint(same, "micro_f1", 100, 0)["b"].against_best["topics"]
    assert tuple(difference.value) == (0.0, 0.0, 0.0)
    assert difference.p_value == 1.0


def test_what_thresholds_gained_is_told_of_whom_has_some():
    found = joint(wholes(), "micro_f1", 100, 0)
    assert not found["rough"].gained
    assert not found["fine"].gained
    before, after = (found[name].questions["topics"]["micro_f1"].value for name in ("fine", "leant"))
    assert found["leant"].gained["topics"].value == pytest.approx(after - before)


def test_the_leaderboard_tells_rows_from_answers():
    board = build(CANDIDATES, TEST, TASK.names, 60, 0, task=TASK, wanted="macro_f1")
    assert (board.several.n_rows, board.test_rows.n_rows) == (60, len(TEST))
    assert board.several.wanted == "macro_f1"
    question = board.several.questions["topics"]
    by = {name: board.entry(name).joint.questions["topics"]["macro_f1"].value for name in NAMES}
    assert question.best == max(by, key=by.__getitem__)
    assert [one.label for one in question.labels] == ["late", "refund", "rude"]
    ships = next(one for one in CANDIDATES if one.name == board.verdict.ship)
    assert question.said_from == (SAID_FROM if ships.said_from else (0.5,) * 4)[:3]
    has = sum(row.label == "topics, late: yes" for row in TEST)
    assert question.labels[0].n_rows == has
    # Accuracy stays a share of answers, as each candidate gives them.
    leant = next(one for one in CANDIDATES if one.name == "leant")
    gold = np.array([TASK.index(row.label) for row in TEST])
    said = Decision.of_task(TASK, SAID_FROM).decide(leant.probs).choice
    assert board.entry("leant").test["accuracy"].value == pytest.approx((said == gold).mean())
    assert (LIKELIEST.decide(leant.probs).choice != said).any()
    plain = build(CANDIDATES, TEST, TASK.names, 60, 0)
    assert plain.several is None
    assert plain.entry("fine").joint is None
