"""What all rewards share: the dictionary, the range of values, the feedback, the matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fakes import toy_examples, toy_task
from hypothesis import given
from hypothesis import strategies as st

from labelwright.data.asked.questions import Question
from labelwright.data.task import Task
from labelwright.errors import RecipeError
from rewards import AUTO, ONLY_WEIGHTS, REWARDS, make_reward, reward_matrix, weighs_rows
from rewards.feedback import feedback
from rewards.outcome import Outcome, Score

NAMES = toy_task().names
SETTINGS: dict[str, dict[str, Any]] = {
    "cost_matrix": {"costs": {"pool": {"hvac": 4.0, "fence": 2}}},
    "noisy_label": {"share": 0.2},
}


# What a reward needs of the task, where that is more than labels.
TASKS = {
    "distance": Task.asking("toy", "How far?", [Question("far", "score", toy_task().labels)]),
    # "hvac" is a path of two parts then.
    "tree_path": Task("toy", "Where?", toy_task().labels, tree_separator="v"),
}


def make(name: str, rows: Any = None) -> Any:
    rows = toy_examples() if rows is None else rows
    return make_reward(name, TASKS.get(name, toy_task()), rows, SETTINGS.get(name))


@pytest.mark.parametrize("name", REWARDS)
@given(gold=st.sampled_from(NAMES), answered=st.sampled_from([*NAMES, "nonsense", ""]), seed=st.integers(0, 1000))
def test_values_are_in_range_and_best_for_gold(name: str, gold: str, answered: str, seed: int) -> None:
    reward = make(name)
    probs = dict(zip(NAMES, np.random.default_rng(seed).dirichlet(np.ones(3)).tolist(), strict=True))
    score = reward(gold, Outcome(answered, probs))
    assert 0 <= score.value <= 1
    assert score.value <= reward(gold, Outcome(gold, probs)).value
    # The value must not depend on the probabilities: reward_matrix relies on it.
    assert score.value == reward(gold, Outcome(answered, {})).value
    assert f"{gold} {probs[gold]:.2f}" in score.feedback


@pytest.mark.parametrize("name", sorted({*REWARDS} - {AUTO}))
def test_name_is_the_recipes_name(name: str) -> None:
    assert make(name).name == name


@pytest.mark.parametrize("name", REWARDS)
def test_matrix_holds_every_pair(name: str) -> None:
    reward = make(name)
    matrix = reward_matrix(reward, NAMES)
    assert matrix.shape == (3, 3)
    for i, gold in enumerate(NAMES):
        for j, answered in enumerate(NAMES):
            assert matrix[i, j] == reward(gold, Outcome(answered, {})).value


def test_feedback_names_both_labels() -> None:
    probs = {"hvac": 0.55, "water heater": 0.31, "pool": 0.14}
    assert feedback("water heater", Outcome("hvac", probs)) == "Wrong: answered hvac 0.55; gold is water heater 0.31."
    assert feedback("hvac", Outcome("hvac", probs)) == "Right: hvac 0.55; runner-up is water heater 0.31."


def test_feedback_without_probabilities_or_with_an_invented_label() -> None:
    assert feedback("pool", Outcome("hvac", {})) == "Wrong: answered hvac; gold is pool."
    assert feedback("pool", Outcome("pool", {})) == "Right: pool."
    invented = feedback("pool", Outcome("a pond", {"pool": 0.4, "hvac": 0.6}))
    assert invented == "Wrong: answered 'a pond', which is not a label; gold is pool 0.40."


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), -0.001, 1.001, 7])
def test_values_out_of_range_are_refused(value: float) -> None:
    def reward(gold: str, outcome: Outcome) -> Score:
        return Score(value if outcome.label == "hvac" else 0.5, "as it happens")

    with pytest.raises(RecipeError, match=f"a reward gave {value!r} .as it happens.: expected a number from 0 to 1"):
        reward_matrix(reward, NAMES)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "settings", "expected"),
    [
        ("label_match", {}, False),
        ("rare_class", {}, True),
        ("rare_class", {"power": 0}, False),
        ("cost_matrix", {"costs": {"pool": {"hvac": 4, "fence": 2}}}, True),
        ("cost_matrix", {"costs": {}}, False),
    ],
)
def test_whether_rows_weigh_differently_is_read_off_the_matrix(
    name: str, settings: dict[str, Any], expected: bool
) -> None:
    reward = make_reward(name, toy_task(), toy_examples()[:-20], settings)
    assert weighs_rows(reward_matrix(reward, NAMES)) is expected


def test_rewards_that_are_only_weights_are_label_match_once_rows_are_scaled() -> None:
    """What ``optimizers.training.grpo`` refuses to scale by group, and nothing else."""
    for name in REWARDS:
        matrix = reward_matrix(make(name, toy_examples()[:-20]), NAMES)
        scaled = matrix / np.ptp(matrix, axis=1, keepdims=True)
        assert (np.allclose(scaled, np.eye(3)) and weighs_rows(matrix)) == (name in ONLY_WEIGHTS)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("labelmatch", {}, "'labelmatch' is not known: expected one of label_match"),
        ("label_match", {"power": 1}, "no setting 'power': expected none"),
        ("rare_class", {"pow": 1}, "no setting 'pow': expected power"),
        ("rare_class", {"power": 2}, "power is 2"),
        ("rare_class", {"power": "1"}, "power is '1'"),
        ("cost_matrix", {}, "needs the setting 'costs'"),
        ("distance", {}, "reward 'distance' needs levels in order: a question of kind = \"score\""),
    ],
)
def test_recipe_errors_name_the_setting(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        make_reward(name, toy_task(), toy_examples(), settings)
