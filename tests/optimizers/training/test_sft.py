"""Supervised fine-tuning: settings, choice by dev, resume after a kill, rows that bring their own choices."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rows import as_letters
from tiny import tiny_model_folder
from training_fakes import SPLITS, Record, open_float32, untuned

from labelwright.bundle.types import Bundle
from labelwright.data.task import Example, Splits, Task
from labelwright.decide import probabilities
from labelwright.errors import RecipeError
from labelwright.models.weights import Base
from labelwright.prompt import Prompt
from labelwright.statistics.calibration import Calibration
from optimizers.stage import SoftLabels, StageContext
from optimizers.training.sft import SftStage

LONG = {"steps": 40, "rows_per_step": 12, "rows_per_forward": 12, "eval_every": 20, "learning_rate": 5e-3}
SHORT = {"steps": 6, "rows_per_step": 4, "rows_per_forward": 2, "eval_every": 3, "learning_rate": 3e-3, "lora_rank": 4}


def run(model, folder, kill_at=None, bundle=None, splits=SPLITS, soft=None, **settings):
    folder.mkdir(exist_ok=True)
    context = StageContext(folder, Record(kill_at), open_float32, 0, soft=soft)
    return SftStage(**(SHORT | settings)).run(bundle or untuned(model), splits, context), context


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_model_folder(tmp_path_factory.mktemp("model"), spread=0.1)


@pytest.mark.parametrize("settings", [{"label_smoothing": 0.1, "validity": 0.01}, {"lora_rank": 0}])
def test_a_better_bundle_comes_out(model, tmp_path, settings):
    bundle, context = run(model, tmp_path / "sft", **(LONG | settings))
    entry = bundle.history[-1]
    assert entry["stage"] == "sft"
    assert entry["improved"]
    assert entry["dev_after"]["accuracy"] > entry["dev_before"]["accuracy"]
    losses = [values["train_log_loss"] for _, values in context.tracker.curves if "train_log_loss" in values]
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])
    best = max(entry["curve"], key=lambda point: (point["accuracy"], -point["log_loss"]))
    assert best["step"] == entry["dev_after"]["step"], "the best step on dev is kept, not the last"
    assert bundle.calibration == Calibration(), "what was fitted on the old scores is gone"
    assert [step for step, values in context.tracker.curves if "train_log_loss" in values] == list(range(1, 41))


def test_where_dev_does_not_improve_the_bundle_stays(model, tmp_path):
    bundle, _ = run(model, tmp_path / "sft", learning_rate=1e-12)
    assert not bundle.history[-1]["improved"]
    assert (bundle.weights, bundle.calibration) == (Base(str(model)), Calibration(2.0))


@pytest.mark.parametrize(("shares", "times"), [({}, 1), ({"steering_share": 0.25, "augment": 0.25}, 2)])
def test_epochs_count_the_train_rows_and_their_copies(model, tmp_path, shares, times):
    bundle, _ = run(model, tmp_path / "sft", epochs=1, rows_per_step=16, rows_per_forward=99, **shares)
    assert bundle.history[-1]["settings"]["steps"] == -(-times * len(SPLITS.train) // 16)
    assert bundle.history[-1]["curve"][-1]["step"] == bundle.history[-1]["settings"]["steps"]


@pytest.fixture(scope="module")
def doubting(model):
    """A teacher of the calib rows' texts that is sure of none of them."""
    texts = tuple(row.text for row in SPLITS.calib)
    gold = [untuned(model).task.index(row.label) for row in SPLITS.calib]
    return SoftLabels(texts, 0.4 * np.eye(3)[gold] + 0.2)


def test_a_student_learns_how_sure_its_teacher_is_and_not_its_likeliest_labels(model, doubting, tmp_path):
    distance = {}
    sure = replace(doubting, probs=np.eye(3)[doubting.probs.argmax(axis=1)])
    for name, soft in (("sure", sure), ("taught", doubting)):
        tuned, _ = run(model, tmp_path / name, soft=soft, **LONG)
        probs = probabilities(replace(tuned, calibration=Calibration()), open_float32(tuned.weights), doubting.texts)
        distance[name] = float((doubting.probs * np.log(doubting.probs / probs)).sum(axis=1).mean())
        assert tuned.history[-1]["n_taught"] == len(doubting.texts)
    assert distance["taught"] < 0.8 * distance["sure"], distance


def test_another_teacher_or_none_begins_a_training_anew_and_epochs_count_all_that_is_learnt(model, doubting, tmp_path):
    def steps(soft):
        _, context = run(model, tmp_path / "sft", soft=soft, epochs=1, rows_per_step=16, rows_per_forward=16)
        return len([step for step, values in context.tracker.curves if "train_log_loss" in values])

    n_rows = len(SPLITS.train) + len(doubting.texts)
    assert steps(doubting) == -(-n_rows // 16)
    assert steps(doubting) == 0
    assert steps(replace(doubting, probs=doubting.probs[::-1].copy())) == -(-n_rows // 16)
    assert steps(None) == -(-len(SPLITS.train) // 16)


def test_listed_letters_are_learnt(model, tmp_path):
    given = untuned(model)
    letters = replace(given, prompt=Prompt.for_task(given.task, given.prompt.template, "letter"))
    bundle, context = run(model, tmp_path / "sft", bundle=letters, **LONG)
    losses = [values["train_log_loss"] for _, values in context.tracker.curves if "train_log_loss" in values]
    assert np.mean(losses[-5:]) < 0.3 * np.mean(losses[:5])
    assert bundle.prompt == letters.prompt


def test_rows_that_bring_their_own_choices(tmp_path):
    """Two and three choices; the right one is the only one that says pool."""
    folder = tiny_model_folder(tmp_path / "model", spread=0.1)
    others = ["fence", "hvac", "gate", "duct"]

    def rows(first, last):
        made = []
        for i in range(first, last):
            choices = [others[i % 4], others[(i + 1) % 4]][: 1 + i % 2]
            choices.insert(i % (len(choices) + 1), "pool")
            made.append(as_letters(Example(str(i), f"no {i}", "pool", tuple(choices))))
        return tuple(made)

    task = Task("choices", "Choose.", max_choices=3)
    prompt = Prompt.for_task(task, open_float32(Base(str(folder))).template)
    bundle = Bundle(task, prompt, Base(str(folder)), Calibration())
    splits = Splits(rows(0, 24), rows(24, 36), (), ())
    tuned, _ = run(folder, tmp_path / "sft", bundle=bundle, splits=splits, **(LONG | {"label_smoothing": 0.1}))
    curve = tuned.history[-1]["curve"]
    assert curve[-1]["log_loss"] < curve[0]["log_loss"]


def test_a_killed_run_ends_with_the_same_files(model, tmp_path):
    whole, _ = run(model, tmp_path / "whole")
    script = (
        "import sys; from pathlib import Path; from test_sft import run; "
        f"run(Path({str(model)!r}), Path({str(tmp_path / 'killed')!r}), kill_at=5)"
    )
    paths = [str(Path(__file__).parents[up]) for up in (0, 2, 3)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    killed = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    resumed, context = run(model, tmp_path / "killed")
    assert {step for step, values in context.tracker.curves if "train_log_loss" in values} == {4, 5, 6}
    assert resumed.history[-1]["curve"] == whole.history[-1]["curve"]
    for name in ("adapter_model.safetensors", "dev.json"):
        files = [tmp_path / which / "best" / name for which in ("killed", "whole")]
        assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": -1}, r"\[sft\] epochs = -1"),
        ({"steps": 0}, r"\[sft\] steps = 0"),
        ({"label_smoothing": 1.0}, "label_smoothing = 1.0"),
        ({"rows_per_step": 8, "rows_per_forward": 3}, "divisor of rows_per_step = 8"),
        ({"validity": -1.0}, "validity = -1.0"),
        ({"learning_rate": float("nan")}, "learning_rate = nan"),
        ({"augment": 1.0}, "augment = 1.0: expected 0 or more, and less than 1"),
        ({"augment": 0.5, "steering_share": 0.5}, r"\[sft\] steering_share = 0.5 and augment = 0.5: expected a sum"),
        ({"label_smoothing": float("nan")}, "label_smoothing = nan"),
    ],
)
def test_settings_out_of_range_are_named(settings, message):
    with pytest.raises(RecipeError, match=message):
        SftStage(**settings)
