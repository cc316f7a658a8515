"""The decision: the likeliest label, the cheapest one, or none, by hand and by invariants."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwright.data.asked.questions import Question
from labelwright.data.costs import Costs
from labelwright.data.task import Label, Task
from labelwright.decisions.decision import ASK, LIKELIEST, NOTHING, OUTSIDE, PASSED_ON, UNSURE, Decision
from labelwright.statistics.metrics import accuracy, answers

NAMES = ("gas leak", "pool", "fence")
# A gas leak that is sent to the pool desk costs ten times what another mistake does.
COSTS = Costs((("gas leak", "pool", 10.0),))
ROWS = np.array([[0.2, 0.7, 0.1], [0.05, 0.9, 0.05], [0.0, 0.0, 0.0], [0.1, 0.1, 0.8]])


def rows_of(n_labels: int) -> st.SearchStrategy[np.ndarray]:
    row = st.lists(st.integers(0, 20), min_size=n_labels, max_size=n_labels)
    return st.lists(row, min_size=1, max_size=6).map(
        lambda rows: np.array(rows) / np.maximum(np.sum(rows, 1), 1)[:, None]
    )


def test_without_prices_the_likeliest_is_said_and_no_answer_stays_none():
    found = LIKELIEST.decide(ROWS)
    assert found.said.tolist() == found.choice.tolist() == [1, 1, -1, 2]
    assert found.confidence.tolist() == [0.7, 0.9, 0.0, 0.8]
    assert found.why == ("", "", NOTHING, "")


def test_the_cheapest_is_said_by_hand():
    # Row 0: pool costs 0.2 * 10 + 0.1 = 2.1, a gas leak 0.8, the fence 0.9.
    decision = Decision.of(COSTS, NAMES)
    found = decision.decide(ROWS)
    assert found.choice.tolist() == [0, 1, -1, 2]
    assert found.confidence.tolist() == [0.2, 0.9, 0.0, 0.8]
    assert decision.expected(ROWS[:2], np.array([1, 1])) == pytest.approx([2.1, 0.55])
    assert decision.realised(np.array([0, 1]), np.array([1, 1])).tolist() == [10.0, 0.0]


def test_a_person_is_asked_where_that_is_cheaper():
    decision = Decision.of(Costs(COSTS.pairs, abstain=0.5), NAMES)
    found = decision.decide(ROWS)
    assert found.said.tolist() == [-1, -1, -1, 2]
    assert found.why == (ASK, ASK, NOTHING, "")
    assert found.choice.tolist() == [0, 1, -1, 2]
    assert decision.realised(np.array([0, 1, 2, 2]), found.said).tolist() == [0.5, 0.5, 0.5, 0.0]


def test_thresholds_stand_for_all_labels_or_for_each():
    assert Decision.of(None, NAMES, 0.75).decide(ROWS).why == (UNSURE, "", NOTHING, "")
    each = Decision.of(None, NAMES, (0.0, 0.95, 0.8))
    assert each.decide(ROWS).why == (UNSURE, UNSURE, NOTHING, "")
    assert each.may_abstain
    assert not LIKELIEST.may_abstain


def test_what_is_passed_on_gets_no_label_whatever_else_would_have_kept_it_from_one():
    decision = replace(Decision.of(None, NAMES, 0.85), pass_on=0.75)
    found = decision.decide(ROWS, np.array([False, False, False, True]))
    assert found.why == (PASSED_ON, "", NOTHING, OUTSIDE)
    assert found.choice.tolist() == [1, 1, -1, 2]
    assert decision.decide(ROWS[3:]).why == (UNSURE,)
    asks = replace(Decision.of(Costs(COSTS.pairs, abstain=0.5), NAMES), pass_on=0.5)
    assert asks.decide(ROWS).why == (PASSED_ON, ASK, NOTHING, "")
    plain = replace(LIKELIEST, pass_on=0.75)
    assert plain.may_abstain
    assert not plain.answers_all
    assert plain.among([2, 1, 0]).pass_on == 0.75
    assert plain.among([1, 0], is_part=True).pass_on == 0, "among a part of the labels it says nothing"


def test_metrics_count_what_the_decision_chooses():
    gold = np.array([0, 1, 1, 2])
    assert accuracy(LIKELIEST.read(ROWS, gold), gold) == 0.5
    assert accuracy(Decision.of(COSTS, NAMES).read(ROWS, gold), gold) == 0.75


def test_a_part_of_the_labels_has_their_prices_and_no_threshold():
    decision = Decision.of(COSTS, NAMES, 0.9)
    part = decision.among([1, 0], is_part=True)
    assert part.thresholds is None
    assert part.decide(np.array([[0.7, 0.3]])).said.tolist() == [1]
    assert decision.among([2, 1, 0]).thresholds is not None


@given(st.lists(st.integers(0, 9), min_size=9, max_size=9).filter(lambda one: len(set(one)) > 1), st.integers(1, 50))
def test_what_is_added_to_all_prices_is_no_part_of_a_mistake(prices, more):
    table = np.array(prices, dtype=float).reshape(3, 3)
    plain, moved = Decision(table), Decision(table + more)
    assert moved.mistake == pytest.approx(plain.mistake)
    assert moved.lead(ROWS[0]) == pytest.approx(plain.lead(ROWS[0]))
    assert Decision(np.array([[4.0, 5], [5, 4]])).mistake == 1


def test_how_far_a_choice_is_ahead():
    assert LIKELIEST.lead(np.array([0.2, 0.7, 0.1])) == pytest.approx(0.5)
    assert Decision.of(COSTS, NAMES).lead(ROWS[0]) == pytest.approx((0.9 - 0.8) / 10)


@given(rows_of(4))
def test_plain_prices_decide_as_none_do(probs):
    assert Decision.of(Costs(), "abcd").decide(probs).said.tolist() == answers(probs).tolist()


@given(rows_of(3), st.lists(st.integers(0, 9), min_size=9, max_size=9), st.integers(1, 9))
def test_nothing_else_would_be_cheaper(probs, prices, ask):
    pairs = [(gold, said, float(prices[3 * i + j])) for i, gold in enumerate("abc") for j, said in enumerate("abc")]
    decision = Decision.of(Costs(tuple(pairs), abstain=float(ask)), "abc")
    found = decision.decide(probs)
    of_found = decision.expected(probs, found.said)
    for other in (-1, 0, 1, 2):
        there = np.array(found.why) != NOTHING
        assert (of_found <= decision.expected(probs, np.full(len(probs), other)) + 1e-9)[there].all()


# ------------------------------------------------------------------------------------------ what labels are said from

TOPICS = Question("topics", "labels", (Label("late"), Label("refund")))
SEVERAL = Task.asking("mail", "Read it.", [TOPICS, Question("urgent", "yes_no")])


@given(st.floats(0.001, 0.999), st.integers(0, 1000).map(lambda n: n / 1000))
def test_a_label_is_said_from_its_probability_on(threshold, probability):
    if abs(probability - threshold) < 1e-9:
        return
    decision = Decision.of_task(SEVERAL, (threshold, 0.5, 0.5))
    probs = np.zeros((3, 6))
    for row in range(3):
        probs[row, 2 * row : 2 * row + 2] = probability, 1 - probability
    found = decision.decide(probs)
    half = 0 if probability >= 0.5 else 1
    assert found.choice.tolist() == [0 if probability >= threshold else 1, 2 + half, 4 + half]
    assert found.confidence.tolist() == [probs[row, k] for row, k in enumerate(found.choice.tolist())]
    # As near to the threshold as a probability must change for another answer, on the scale of an ordinary lead.
    assert decision.lead(probs[0]) == pytest.approx(2 * abs(probability - threshold))
    assert LIKELIEST.lead(probs[0]) == pytest.approx(2 * abs(probability - 0.5))


def test_what_is_said_from_is_read_in_accuracy_and_kept_by_an_order_of_columns():
    decision = Decision.of_task(SEVERAL, (0.2, 0.5, 0.5))
    assert not decision.answers_all
    assert not decision.may_abstain
    probs = np.array([[0.3, 0.7, 0, 0, 0, 0]])
    assert float(accuracy(decision.read(probs, np.array([0])), np.array([0]))) == 1.0
    assert decision.read(probs, np.array([0])).confidence.tolist() == [0.3]
    turned = decision.among([1, 0])
    assert turned.decide(probs[:, [1, 0]]).choice.tolist() == [1]
    assert Decision.of_task(SEVERAL, (0.5, 0.5, 0.5)).answers_all
    assert Decision.of_task(SEVERAL).answers_all


def test_a_label_said_from_low_down_still_abstains_by_its_own_probability():
    decision = Decision.of_task(SEVERAL, (0.2, 0.5, 0.5), thresholds=0.4)
    probs = np.array([[0.3, 0.7, 0, 0, 0, 0], [0.45, 0.55, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]])
    found = decision.decide(probs)
    assert found.choice.tolist() == [0, 0, -1]
    assert found.why == (UNSURE, "", NOTHING)
