"""Shared path, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from labelwright.data.task import Label, Task
from labelwright.errors import RecipeError
from rewards import check_reward, make_reward, reward_matrix

NAMES = ("a > x > 1", "a > x > 2", "a > y", "b > z")
TASK = Task("t", "What?", tuple(map(Label, NAMES)), tree_separator=" > ")


def test_the_more_of_the_path_the_more_it_is_worth():
    matrix = reward_matrix(make_reward("tree_path", TASK, ()), NAMES)
    expected = [[1, 2 / 3, 1 / 3, 0], [2 / 3, 1, 1 / 3, 0], [1 / 3, 1 / 3, 1, 0], [0, 0, 0, 1]]
    assert matrix == pytest.approx(np.array(expected))


def test_labels_that_are_a_list_are_refused():
    check_reward("tree_path")
    check_reward("tree_path", task=TASK)
    with pytest.raises(RecipeError, match="'tree_path' needs labels that are paths"):
        check_reward("tree_path", None, NAMES, task=Task("t", "What?", TASK.labels))
