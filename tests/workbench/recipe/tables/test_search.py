"""A search's space: what it may be, what it is made of, and that all faults of it are told at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baselines import BASELINES
from baselines.settings import read_settings
from labelwright.errors import RecipeError
from workbench.recipe.read import read_recipe
from workbench.recipe.tables.search import Span, Values, as_setting, at_end, read_space

RECIPE = """
[data]
path = "rows.jsonl"
[task]
instructions = "Name the topic."
[baselines]
names = ["majority", "sgd-chars", "minilm-logreg"]
[models]
candidates = ["sft"]
"""


def faults_of(tmp_path: Path, search: str) -> str:
    path = tmp_path / "toy.toml"
    path.write_text(RECIPE + search, encoding="utf-8")
    with pytest.raises(RecipeError) as told:
        read_recipe(path)
    return str(told.value)


def test_all_that_is_wrong_with_a_search_is_told_at_once(tmp_path: Path) -> None:
    said = faults_of(
        tmp_path,
        """
[search.space.sgd-chars]
alpha = {low = 0.0, high = 1e-3, log = true}
longest = {low = 7, high = 3}
max_iter = {low = 1.5, high = 3}
shape = [1, 2]
analyzer = "word"
shortest = [1]
n_features = {low = 1, top = 2}
[search.space.minilm-logreg]
head = ["logreg", "forest"]
encoder = {low = 1, high = 2}
strengths = {low = -1, high = 2}
[search.space.sft]
steps = [1, 2]
[search.space.sgd-char]
alpha = [1e-4, 1e-5]
[search.space.majority]
""",
    )
    for fault in (
        "longest: from 7 to 3 there is nothing",
        "alpha: low = 0 and log = true: expected a low above 0",
        "max_iter = {'low': 1.5, 'high': 3}: expected whole numbers",
        "sgd-chars has no setting 'shape'; it has analyzer",
        "analyzer = 'word': expected a list of values, or a range",
        "shortest = [1]: expected 2 entries at least",
        "unknown key 'top'",
        "head = 'forest': expected one of 'logreg'",
        "encoder: takes no number, so it has no range",
        "strengths[0] = -1.0: expected a number above 0",
    ):
        assert fault in said, fault
    assert "12 faults" in said or "and 2 more" in said or "13 faults" in said, said


@pytest.mark.parametrize(
    ("search", "said"),
    [
        ("[search.space.sft]\nsteps = [1, 2]\n", "space.sft: a tuning of the language model, and settings of stages"),
        (
            "[search.space.sgd-char]\nalpha = [1e-4, 1e-5]\n",
            "did you mean 'sgd-chars'?; only those in [baselines] names",
        ),
        ("[search.space.majority]\n", "majority: there is nothing to search; expected some of no setting"),
        ("[search]\ntrials = 1\n", "trials = 1: expected 2 or more"),
        ('[search]\npruning = "mean"\n', "pruning = 'mean': expected"),
        (
            "[search.space.sgd-chars]\nshortest = {low = 6, high = 9}\nlongest = {low = 2, high = 3}\n",
            "shortest = 6 and longest = 2: expected them in order",
        ),
    ],
)
def test_a_search_that_cannot_be_is_refused(tmp_path: Path, search: str, said: str) -> None:
    assert said in faults_of(tmp_path, search)


def test_a_space_of_which_some_trials_can_be_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "toy.toml"
    space = "[search.space.sgd-chars]\nshortest = {low = 1, high = 4}\nlongest = {low = 2, high = 6}\n"
    path.write_text(RECIPE + space, encoding="utf-8")
    assert read_recipe(path).search.space["sgd-chars"]["longest"] == {"low": 2, "high": 6}


@pytest.mark.parametrize(
    ("name", "given_", "space"),
    [
        ("sgd-chars", {"longest": {"low": 3, "high": 7}}, {"longest": Span(3, 7, whole=True)}),
        ("sgd-chars", {"alpha": {"low": 1e-6, "high": 1, "log": True}}, {"alpha": Span(1e-6, 1, log=True)}),
        ("minilm-logreg", {"strengths": {"low": 1, "high": 2}}, {"strengths": Span(1, 2, listed=True)}),
        ("minilm-logreg", {"strengths": [[1.0], [1.0, 2.0]]}, {"strengths": Values(([1.0], [1.0, 2.0]))}),
    ],
)
def test_a_range_is_typed_as_its_setting(name: str, given_: dict[str, Any], space: dict[str, Any]) -> None:
    faults: list[str] = []
    assert read_space(name, given_, faults) == space
    assert not faults


@given(
    low=st.floats(1e-6, 10, allow_subnormal=False),
    width=st.floats(1e-3, 10),
    name=st.sampled_from([("sgd-chars", "alpha"), ("sgd-chars", "longest"), ("minilm-logreg", "strengths")]),
    log=st.booleans(),
)
def test_both_ends_of_a_range_are_settings(low: float, width: float, name: tuple[str, str], log: bool) -> None:
    faults: list[str] = []
    baseline, key = name
    space = read_space(baseline, {key: {"low": low, "high": low + width, "log": log}}, faults)
    if faults:
        return
    for end in (0, -1):
        read_settings(baseline, BASELINES[baseline].settings, at_end(space, end), faults)
    # The shortest run has a default that a longest of 1 is below.
    assert all("expected them in order" in fault for fault in faults)


def test_whole_numbers_stay_whole() -> None:
    assert (as_setting(Span(1, 9, whole=True), 4.0), as_setting(Span(1, 9, listed=True), 4)) == (4, [4.0])
