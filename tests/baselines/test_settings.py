"""What a recipe may set of each baseline: declared apart from the estimators, and the same as theirs."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from baselines import BASELINES, make
from baselines.settings import LENGTHS, read_settings
from labelwright.data.asked.questions import Question
from labelwright.data.task import Label, Task
from labelwright.engines.settings import BACKENDS
from labelwright.errors import RecipeError
from labelwright.settings import read_value
from optimizers.training.grpo import LOSS_TYPES

TASK = Task("toy", "Name the topic.", (Label("a", "one"), Label("b")))
# The task's to say, and no recipe's.
GIVEN = ("labels", "separator", "random_state")
OF_KIND = {
    "choices": Task("quiz", "Answer.", (), 4),
    "levels": Task.asking("stars", "How many?", [Question("stars", "score", (Label("1"), Label("2")))]),
    "tree": Task("places", "Where?", (Label("a > b"), Label("a > c"), Label("d")), tree_separator=" > "),
}


@pytest.mark.parametrize("name", BASELINES)
def test_what_may_be_set_is_what_the_estimator_has_and_its_defaults_are_allowed(name: str) -> None:
    estimator = make(name, OF_KIND.get(BASELINES[name].rows, TASK), 0)
    own = {key: value for key, value in estimator.get_params().items() if key not in GIVEN}
    assert set(own) == set(BASELINES[name].settings)
    faults: list[str] = []
    for key, value in own.items():
        # Where a candidate of the family reads by nothing of the kind, an encoder say, it has none.
        if value not in (None, ""):
            read_value(value, BASELINES[name].settings[key], key, faults)
    assert not faults
    if name in LENGTHS:
        assert LENGTHS[name] == (own["shortest"], own["longest"])


@pytest.mark.parametrize(
    ("name", "settings", "expected"),
    [
        ("sgd-ngrams", {"alpha": float("nan")}, "alpha = nan: expected a finite number"),
        ("sgd-chars", {"longest": 1}, "shortest = 2 and longest = 1"),
        ("minilm-knn", {"strengths": [0.5]}, "whole numbers of 1 or more"),
        ("encoder-lora", {"device": "gpu"}, "device = 'gpu': expected"),
        ("minilm-logreg", {"head": "forest", "strengths": []}, "head = 'forest'.*; strengths = .*not empty"),
    ],
)
def test_a_setting_out_of_range_is_refused_before_anything_is_fitted(
    name: str, settings: dict[str, Any], expected: str
) -> None:
    with pytest.raises(RecipeError, match=expected):
        make(name, TASK, 0, settings)
    assert read_settings(name, BASELINES[name].settings, {}, []) == {}


def test_the_dtypes_that_a_recipe_may_name_are_those_that_the_backends_know() -> None:
    import torch

    from labelwright.engines.llamacpp import KIND_OF_DTYPE
    from labelwright.models.loading import choose_dtype

    assert set(BACKENDS["llamacpp"].dtypes) == set(KIND_OF_DTYPE)
    assert all(
        isinstance(choose_dtype(one, torch.device("cpu")), torch.dtype) for one in BACKENDS["transformers"].dtypes
    )


def test_the_losses_that_a_recipe_may_name_are_those_that_trl_computes() -> None:
    (trl,) = find_spec("trl").submodule_search_locations  # type: ignore[union-attr, misc]
    source = (Path(trl) / "trainer" / "grpo_trainer.py").read_text()
    named = re.findall(r"self\.loss_type (?:== |in )(.*):", source)
    assert set(LOSS_TYPES) == set(re.findall(r'"(\w+)"', " ".join(named)))
