"""A step is timed in every trainer, and leaves the engine as it was."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench.training.grpo_step import grpo_step_growth, grpo_step_vs_trl, with_prefix
from labelwright.engines.settings import EngineSettings
from labelwright.engines.transformers import TransformersEngine


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_grpo_step_is_timed_in_all_three_trainers_and_leaves_the_engine_alone(setting, dtype, shows_both_sides):
    settings = EngineSettings(device="cpu", dtype=dtype)
    setting = replace(setting, engine=TransformersEngine.open(setting.weights, settings))
    prompts = setting.rendered(2)
    before = setting.engine.score(prompts, setting.prompt.options)
    measured = grpo_step_vs_trl(setting, n_rows=2, n_rollouts=2, rounds=2, prefix_tokens=0)
    shows_both_sides(measured, {"trl", "sampled", "exact"}, n_rounds=2)
    assert measured.facts["trl_over_exact"]["min"] > 0
    assert (setting.engine.score(prompts, setting.prompt.options) == before).all()


def test_our_own_step_is_timed_as_it_grows(setting, monkeypatch):
    monkeypatch.setattr("bench.training.grpo_step.PREFIX_TOKENS", 0)
    monkeypatch.setattr("bench.training.grpo_step.BANKING77", Path("not there"))
    measured = grpo_step_growth(setting, n_rows=2, rounds=1)
    assert {"4 rollouts", "16 rollouts", "exact", "exact, prefix 400"} <= set(measured.sides)


def test_a_prefix_is_lengthened_to_what_was_asked_for(setting):
    longer = with_prefix(setting, 120)
    n_tokens = len(longer.engine.tokens.prefix(longer.prompt.render("")))
    assert 120 <= n_tokens < 140
