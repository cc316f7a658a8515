"""How likely a label is, were another one right."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fakes import toy_task

from labelwright.data.choices import LETTERS
from labelwright.data.task import Task
from labelwright.errors import RecipeError
from rewards import check_reward, make_reward, reward_matrix
from rewards.noisy_label import NoisyLabel


@pytest.mark.parametrize("share", [0, 0.2, 0.49])
def test_rows_are_in_proportion_to_the_share_of_slips(share: float) -> None:
    names = toy_task().names
    matrix = reward_matrix(make_reward("noisy_label", toy_task(), (), {"share": share}), list(names))
    transition = np.full((3, 3), share / 2)
    np.fill_diagonal(transition, 1 - share)
    np.testing.assert_allclose(matrix * (1 - share), transition)
    np.testing.assert_allclose(transition.sum(axis=1), 1)


@pytest.mark.parametrize("share", [-0.1, 0.5, 1, float("nan"), True, "0.1"])
def test_shares_that_leave_nothing_to_learn_are_refused(share: Any) -> None:
    with pytest.raises(RecipeError, match=r"noisy_label share is .*: expected a number from 0 to below 0.5"):
        NoisyLabel(3, share)


def test_letters_of_rows_own_choices_are_refused() -> None:
    """A row with three of eight letters slips to two others, not to seven."""
    with pytest.raises(RecipeError, match="rows bring their own choices"):
        make_reward("noisy_label", Task("t", "t", (), max_choices=8), (), {"share": 0.1})
    with pytest.raises(RecipeError, match="rows bring their own choices"):
        check_reward("noisy_label", {"share": 0.1}, LETTERS, has_choices=True)
    check_reward("label_match", {}, LETTERS, has_choices=True)
