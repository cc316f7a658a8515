"""How near an answer is, by hand; of several questions each by itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwright.data.asked.questions import Question
from labelwright.data.costs import Costs
from labelwright.data.task import Label, Task
from labelwright.errors import RecipeError
from rewards import check_reward, make_reward, reward_matrix
from rewards.distance import Distance
from rewards.label_match import LabelMatch
from rewards.prices import Prices

STARS = Question("stars", "score", tuple(map(Label, ("1", "2", "5"))))
TOPIC = Question("topic", "choice", tuple(map(Label, ("late", "refund"))))
MOOD = Question("mood", "score", tuple(map(Label, ("low", "fair", "high"))))
ONE, SEVERAL = Task.asking("t", "How many?", [STARS]), Task.asking("t", "How many?", [STARS, TOPIC, MOOD])


def test_near_is_worth_more_than_far():
    absolute = reward_matrix(make_reward("distance", ONE, ()), ONE.names)
    assert absolute == pytest.approx(np.array([[1, 0.75, 0], [0.75, 1, 0.25], [0, 0.25, 1]]))
    squared = reward_matrix(make_reward("distance", ONE, (), {"distance": "squared"}), ONE.names)
    assert squared == pytest.approx(1 - (1 - absolute) ** 2)


def test_an_answer_to_another_question_is_not_near():
    matrix = reward_matrix(make_reward("distance", SEVERAL, ()), SEVERAL.names)
    expected = np.zeros((8, 8))
    expected[:3, :3] = [[1, 0.75, 0], [0.75, 1, 0.25], [0, 0.25, 1]]
    expected[3:5, 3:5] = np.eye(2)
    expected[5:, 5:] = [[1, 0.5, 0], [0.5, 1, 0.5], [0, 0.5, 1]]
    assert matrix == pytest.approx(expected)


@given(st.lists(st.integers(-50, 50), min_size=2, max_size=6, unique=True))
def test_the_farthest_level_is_worth_nothing_and_the_right_one_all(levels: list[int]):
    names = list(map(str, sorted(levels)))
    task = Task.asking("t", "How many?", [Question("n", "score", tuple(map(Label, names)))])
    matrix = reward_matrix(make_reward("distance", task, ()), names)
    assert matrix[0, -1] == matrix[-1, 0] == 0
    assert (np.diagonal(matrix) == 1).all()
    # Along a row it falls on either side of the right level.
    for gold, row in enumerate(matrix):
        assert (np.diff(row[: gold + 1]) > 0).all()
        assert (np.diff(row[gold:]) < 0).all()


def test_what_a_stage_takes_where_its_recipe_names_no_reward():
    assert isinstance(make_reward("auto", ONE, ()), Distance)
    assert isinstance(make_reward("auto", SEVERAL, ()), Distance)
    assert isinstance(make_reward("auto", Task.asking("t", "What?", [TOPIC]), ()), LabelMatch)
    priced = Task("t", "How many?", ONE.labels, costs=Costs(()), questions=ONE.questions)
    assert isinstance(make_reward("auto", priced, ()), Prices)


def test_what_it_cannot_be_used_for_is_refused():
    with pytest.raises(RecipeError, match="distance = 'cubed': expected absolute or squared"):
        make_reward("distance", ONE, (), {"distance": "cubed"})
    # Before it is known what is asked, it may be levels.
    check_reward("distance")
    check_reward("distance", None, ONE.names, task=ONE)
    for task in (Task("t", "What?", TOPIC.labels), Task.asking("t", "What?", [TOPIC])):
        with pytest.raises(RecipeError, match="needs levels in order"):
            check_reward("distance", None, task.names, task=task)
