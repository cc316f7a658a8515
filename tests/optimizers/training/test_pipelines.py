"""Stages that train weights, one after another on a real, tiny model: what one writes is what the next starts from."""

from dataclasses import replace

import numpy as np
import pytest
from tiny import tiny_model_folder
from training_fakes import SPLITS, Record, open_float32, untuned

from labelwright.data.task import Splits
from labelwright.decide import log_scores
from labelwright.models.weights import Full
from labelwright.statistics.calibration import Calibration
from labelwright.statistics.metrics import log_loss
from optimizers.stage import StageContext
from optimizers.training import loop as training
from optimizers.training.dpo import DpoStage
from optimizers.training.grpo import GrpoStage
from optimizers.training.sft import SftStage

FEW = Splits(SPLITS.train[::4], SPLITS.dev[::3], (), ())
SETTINGS = {"steps": 3, "rows_per_step": 4, "rows_per_forward": 2, "eval_every": 3, "learning_rate": 3e-3}
STAGES = {
    "grpo": GrpoStage(**SETTINGS, lora_rank=4, beta=0.1),
    "grpo, full": GrpoStage(**SETTINGS, lora_rank=0, beta=0.1, mode="sampled", n_rollouts=4),
    "sft": SftStage(**SETTINGS, lora_rank=4),
    "sft, full": SftStage(**SETTINGS, lora_rank=0),
    "dpo": DpoStage(**SETTINGS, lora_rank=4, hard=("model",), margin=9),
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return untuned(tiny_model_folder(tmp_path_factory.mktemp("model"), spread=0.1))


@pytest.fixture(autouse=True)
def every_step_is_kept(monkeypatch):
    """Whatever dev says: here the last step is the best, and every stage has improved."""
    monkeypatch.setattr(training, "better", lambda one, other: True)


def run(stage, bundle, folder, splits=FEW, seed=0):
    folder.mkdir(parents=True, exist_ok=True)
    record = Record()
    return stage.run(bundle, splits, StageContext(folder, record, open_float32, seed)), record


def dev_log_loss(bundle, splits=FEW):
    """As whoever opens the bundle's weights measures it."""
    scores = log_scores(bundle, open_float32(bundle.weights), [row.text for row in splits.dev])
    gold = np.array([bundle.task.index(row.label) for row in splits.dev])
    return float(log_loss(Calibration().apply(scores), gold))


def divergences(record):
    return [values["kl"] for _, values in record.curves if "kl" in values]


@pytest.fixture(scope="module")
def first(bundle, tmp_path_factory):
    """Every stage on the untuned model, each trained once."""
    known = {}

    def tuned(name):
        if name not in known:
            known[name] = run(STAGES[name], bundle, tmp_path_factory.mktemp("first"))[0]
        return known[name]

    return tuned


def test_grpo_after_sft_after_a_tuned_prompt(bundle, tmp_path):
    """The prompt that came with the bundle is trained on, by both; weights are a whole model in the end."""
    given = replace(bundle, prompt=bundle.prompt.with_instructions("Which topic? pool: chlorine, swim"))
    sft, _ = run(STAGES["sft"], given, tmp_path / "sft")
    after, _ = run(STAGES["grpo"], sft, tmp_path / "grpo", seed=1)
    assert [entry["stage"] for entry in after.history] == ["sft", "grpo"]
    assert after.prompt == given.prompt
    assert type(after.weights) is Full
    assert dev_log_loss(after) == pytest.approx(after.history[-1]["dev_after"]["log_loss"], abs=1e-4)
    assert after.history[-1]["dev_before"]["log_loss"] == pytest.approx(dev_log_loss(sft), abs=1e-4)


# Every stage after an adapter and after full weights, after itself and after the other.
@pytest.mark.parametrize(
    ("name", "then"),
    [
        ("sft", "grpo"),
        ("grpo, full", "grpo"),
        ("grpo", "grpo, full"),
        ("sft, full", "grpo, full"),
        ("grpo", "sft"),
        ("sft, full", "sft"),
        ("sft", "sft, full"),
        ("grpo, full", "sft, full"),
        ("sft", "dpo"),
        ("sft, full", "dpo"),
    ],
)
def test_one_stage_starts_where_the_other_ended(first, tmp_path, name, then):
    before = first(name)
    after, record = run(STAGES[then], before, tmp_path / "second", seed=1)
    entry = after.history[-1]
    assert entry["dev_before"]["log_loss"] == pytest.approx(before.history[-1]["dev_after"]["log_loss"], abs=1e-4)
    assert abs(entry["dev_after"]["log_loss"] - entry["dev_before"]["log_loss"]) > 1e-3, "nothing was trained"
    assert dev_log_loss(after) == pytest.approx(entry["dev_after"]["log_loss"], abs=1e-4), (
        "saved otherwise than measured"
    )
    if STAGES[then].name != "sft":
        start, *later = divergences(record)
        assert start == pytest.approx(0, abs=1e-6), "the reference is not what this stage started from"
        assert max(later) > 1e-4, "the reference moves along"


@pytest.mark.parametrize("settings", [{"mode": "sampled", "n_rollouts": 4, "lora_rank": 4}, {"lora_rank": 0}])
def test_divergence_is_from_the_starting_weights_in_the_other_modes_too(first, tmp_path, settings):
    stage = GrpoStage(**SETTINGS, beta=0.1, **settings)
    start, *later = divergences(run(stage, first("sft, full"), tmp_path / "second")[1])
    assert start == pytest.approx(0, abs=1e-6)
    assert max(later) > 1e-4
