"""Which rows are asked a question whose labels have a structure, and what was answered to them."""

from __future__ import annotations

import numpy as np
import pytest

from labelwright.data.asked.questions import Question
from labelwright.data.costs import Costs
from labelwright.data.task import Label, Task
from labelwright.decisions.decision import LIKELIEST, Decision
from labelwright.decisions.structured import structured, structured_metrics

STARS = Question("stars", "score", tuple(map(Label, ("1", "2", "5"))))
MOOD = Question("mood", "score", tuple(map(Label, ("low", "high"))))
URGENT = Question("urgent", "yes_no")
ONE, SEVERAL = Task.asking("t", "How many?", [STARS]), Task.asking("t", "How many?", [URGENT, STARS, MOOD])


def test_a_plain_list_of_labels_has_none():
    task = Task("t", "What?", tuple(map(Label, "ab")))
    assert structured(task, LIKELIEST, np.eye(2), np.array([0, 1])) == []
    assert structured_metrics(task, LIKELIEST, np.eye(2), np.array([0, 1])) == {}


def test_the_distance_is_of_what_levels_count_as():
    probs = np.array([[0.6, 0.4, 0.0], [0.0, 0.2, 0.8]])
    found = structured_metrics(ONE, LIKELIEST, probs, np.array([1, 0]))
    assert found["mean_absolute_error"].value == pytest.approx((1 + 4) / 2)
    assert found["mean_absolute_error_of_mean"].value == pytest.approx((0.6 + 3.4) / 2)


def test_of_several_questions_each_has_its_own_rows():
    # urgent: yes, no; stars: 1, 2, 5; mood: low, high.
    probs = np.zeros((4, 7))
    probs[0, :2], probs[1, 2:5], probs[2, 2:5], probs[3, 5:] = (0.9, 0.1), (0.1, 0.8, 0.1), (0, 0.4, 0.6), (0.3, 0.7)
    gold = np.array([0, 4, 4, 5])
    stars, mood = structured(SEVERAL, LIKELIEST, probs, gold)
    assert (stars.question, stars.rows.tolist(), stars.gold.tolist()) == ("stars", [1, 2], [2, 2])
    assert stars.answers.value.tolist() == [2, 5]
    assert (mood.rows.tolist(), mood.answers.value.tolist(), mood.answers.right.tolist()) == ([3], [2], [1])
    assert stars.groups(list("abcd")) == ["b", "c"]
    found = structured_metrics(SEVERAL, LIKELIEST, probs, gold)
    assert found["stars: mean_absolute_error"].value == pytest.approx(1.5)
    assert found["mood: mean_absolute_error"].value == 1


def test_a_question_that_no_row_was_asked_is_left_out():
    probs = np.zeros((1, 7))
    probs[0, :2] = (0.9, 0.1)
    assert structured(SEVERAL, LIKELIEST, probs, np.array([1])) == []


def test_answers_that_are_no_level_count_as_the_farthest():
    probs = np.array([[0.0, 0.0, 0.0, 1.0], [0.0, 1.0, 0.0, 0.0]])
    (found,) = structured(ONE, LIKELIEST, probs, np.array([0, 1]))
    assert found.answers.value.tolist() == [5, 2]


def test_what_is_decided_at_prices_is_what_is_measured():
    dear = Decision.of(Costs((("5", "1", 10.0),)), ONE.names)
    probs = np.array([[0.6, 0.0, 0.4]])
    (found,) = structured(ONE, dear, probs, np.array([2]))
    # 4 for 1, 1 for 2, 0.6 for 5.
    assert found.answers.value.tolist() == [5]
    (plain,) = structured(ONE, LIKELIEST, probs, np.array([2]))
    assert plain.answers.value.tolist() == [1]


def test_a_tree_is_measured_by_depth():
    task = Task("t", "What?", tuple(map(Label, ("a > x", "a > y", "b"))), tree_separator=" > ")
    probs = np.array([[0.3, 0.3, 0.4], [0.1, 0.8, 0.1], [0.0, 0.0, 0.0]])
    found = structured_metrics(task, LIKELIEST, probs, np.array([0, 0, 2]))
    assert found["right_at_1"].value == pytest.approx(1 / 3)
    assert found["right_at_2"].value == 0
    assert found["level_by_level_at_1"].value == pytest.approx(2 / 3)
    assert found["level_by_level_at_2"].value == pytest.approx(1 / 3)
    # Of b and a > y the nodes b, a and a > y are said; a is right, of five.
    assert found["hierarchical_precision"].value == pytest.approx(1 / 3)
    assert found["hierarchical_recall"].value == pytest.approx(1 / 5)
