"""The dpo stage: whom it calls hard, what a person's file does, choice by dev, resume after a kill, what is told."""

import json
from dataclasses import replace

import numpy as np
import pytest
from rows import as_letters
from tiny import tiny_model_folder
from training_fakes import SPLITS, Record, open_float32, untuned

from labelwright.bundle.types import Bundle
from labelwright.data.task import Example, Splits, Task
from labelwright.errors import DataError, RecipeError
from labelwright.models.weights import Base
from labelwright.prompt import Prompt
from labelwright.statistics.calibration import Calibration
from optimizers.stage import StageContext
from optimizers.training import dpo
from optimizers.training.dpo import DpoStage
from optimizers.training.preferences.hard import Hard

# Random weights find every label plausible: all rows are hard.
LONG = {"steps": 24, "rows_per_step": 12, "rows_per_forward": 12, "eval_every": 12, "learning_rate": 8e-3, "margin": 9}
SHORT = {"steps": 4, "rows_per_step": 4, "rows_per_forward": 2, "eval_every": 2, "learning_rate": 3e-3, "lora_rank": 4}
MODEL_ONLY = {"hard": ("model",), "margin": 9}


def run(model, folder, bundle=None, splits=SPLITS, **settings):
    folder.mkdir(exist_ok=True)
    context = StageContext(folder, Record(), open_float32, 0)
    return DpoStage(**(SHORT | MODEL_ONLY | settings)).run(bundle or untuned(model), splits, context), context


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_model_folder(tmp_path_factory.mktemp("model"), spread=0.1)


def test_a_better_bundle_comes_out_and_says_what_it_learnt_from(model, tmp_path):
    bundle, context = run(model, tmp_path / "dpo", **LONG, hard=("model", "words", "confusions"), beta=0.5)
    entry = bundle.history[-1]
    assert entry["stage"] == "dpo"
    assert entry["improved"]
    assert entry["dev_after"]["accuracy"] > entry["dev_before"]["accuracy"]
    assert (entry["hard_rows"], entry["pairs"]) == (len(SPLITS.train), 2 * len(SPLITS.train))
    assert set(entry["doubted_by"]) == {"model", "words", "confusions"}
    curves = [values for _, values in context.tracker.curves if "rewards/margins" in values]
    assert len(curves) == LONG["steps"]
    assert np.mean([one["rewards/margins"] for one in curves[-5:]]) > curves[0]["rewards/margins"]
    assert curves[0]["rewards/chosen"] == curves[0]["kl"] == pytest.approx(0, abs=1e-5), "from where the stage starts"
    assert entry["pairs_the_right_way"] > 0.5
    last = np.mean([one["rewards/chosen"] for one in curves[-LONG["eval_every"] :]]) / 0.5
    assert entry["chosen_log_prob_change"] == pytest.approx(last, rel=1e-3)
    assert entry["chosen_fell"] == (last < 0)
    best = max(entry["curve"], key=lambda point: (point["accuracy"], -point["log_loss"]))
    assert best["step"] == entry["dev_after"]["step"], "the best step on dev is kept, not the last"
    assert bundle.calibration == Calibration(), "what was fitted on the old scores is gone"


def test_a_bundle_without_hard_rows_stays_and_says_so(model, tmp_path, monkeypatch):
    monkeypatch.setattr(dpo, "hard_pairs", lambda *_: Hard([], {"model": 0}))
    bundle, _ = run(model, tmp_path / "dpo")
    entry = bundle.history[-1]
    assert (entry["improved"], entry["hard_rows"], entry["pairs"], entry["doubted_by"]) == (False, 0, 0, {"model": 0})
    assert entry["dev_after"] == entry["dev_before"]
    assert (bundle.weights, bundle.calibration) == (Base(str(model)), Calibration(2.0))


def test_a_persons_choice_goes_before_what_was_found(model, tmp_path):
    row, other = SPLITS.train[0], SPLITS.dev[0]
    against = next(name for name in ("pool", "fence") if name != row.label)
    lines = [{"id": one.id, "chosen": against, "rejected": row.label} for one in (row, other)]
    path = tmp_path / "preferences.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    bundle = untuned(model)
    context = StageContext(tmp_path, Record(), open_float32, 0)
    names = list(bundle.task.names)
    pairs, said = DpoStage(**MODEL_ONLY, preferences=str(path)).pairs(bundle, SPLITS.train, context)
    assert [one for one in pairs if one[0] == 0] == [(0, names.index(against), names.index(row.label))]
    assert len(pairs) == 2 * (len(SPLITS.train) - 1) + 1
    assert (said["chosen_rows"], said["chosen_elsewhere"], said["chosen_against_gold"]) == (1, 1, 1)
    alone, said = DpoStage(hard=(), preferences=str(path)).pairs(bundle, SPLITS.train, context)
    assert (len(alone), said["hard_rows"], said["pairs"]) == (1, 1, 1)
    # Another split, or a part of the rows, may have none of the file's: what was found is gone on with, or nothing.
    found, said = DpoStage(**MODEL_ONLY, preferences=str(path)).pairs(bundle, SPLITS.train[1:], context)
    assert (len(found), said["chosen_rows"], said["chosen_elsewhere"]) == (2 * (len(SPLITS.train) - 1), 0, 2)
    assert DpoStage(hard=(), preferences=str(path)).pairs(bundle, SPLITS.train[1:], context)[0] == []
    with pytest.raises(DataError, match=r"nothing\.jsonl: no such file"):
        DpoStage(hard=(), preferences=str(tmp_path / "nothing.jsonl")).pairs(bundle, SPLITS.train, context)


def test_choices_are_held_against_choices_of_the_same_row(tmp_path):
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
    splits = Splits(rows(0, 8), rows(8, 12), (), ())
    context = StageContext(tmp_path, Record(), open_float32, 0)
    stage = DpoStage(margin=99, pairs_per_row=5)
    pairs, said = stage.pairs(bundle, splits.train, context)
    assert [sum(row == number for row, _, _ in pairs) for number in range(8)] == [1, 2] * 4
    assert set(said["doubted_by"]) == {"model"}, "letters say nothing of a row"
    tuned, _ = run(folder, tmp_path / "dpo", bundle=bundle, splits=splits, pairs_per_row=5)
    assert tuned.history[-1]["pairs"] == 12
    with pytest.raises(RecipeError, match="what is preferred is a label"):
        replace(stage, preferences="some.jsonl").pairs(bundle, splits.train, context)


class Stopping(Record):
    """Ends the run in the middle of a step, as a kill would; what is on the disk is what a kill leaves."""

    def progress(self, done, total, message=""):
        if (done, total) == (3, SHORT["steps"]):
            raise InterruptedError


def test_a_run_cut_off_ends_with_the_same_files(model, tmp_path):
    whole, _ = run(model, tmp_path / "whole")
    (tmp_path / "cut").mkdir()
    context = StageContext(tmp_path / "cut", Stopping(), open_float32, 0)
    with pytest.raises(InterruptedError):
        DpoStage(**(SHORT | MODEL_ONLY)).run(untuned(model), SPLITS, context)
    resumed, context = run(model, tmp_path / "cut")
    assert {step for step, values in context.tracker.curves if "rewards/margins" in values} == {3, 4}
    entries = [dict(one.history[-1]) for one in (resumed, whole)]
    assert [entry.pop("seconds") >= 0 for entry in entries] == [True, True]
    assert entries[0] == entries[1], "what is told of the last steps is told of a resumed run as well"
    files = [tmp_path / which / "best" / "adapter_model.safetensors" for which in ("cut", "whole")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_other_pairs_are_another_training(model, tmp_path):
    """A checkpoint of other preferences is not gone on from."""
    path = tmp_path / "preferences.jsonl"
    row = SPLITS.train[0]
    lines = [{"id": one.id, "chosen": "pool", "rejected": "hvac"} for one in (row, *SPLITS.train[1:9])]
    path.write_text("\n".join(map(json.dumps, lines)))
    settings = {"preferences": str(path), "steps": 1, "eval_every": 1}
    _, first = run(model, tmp_path / "again", **settings)
    path.write_text("\n".join(json.dumps({**line, "rejected": "fence"}) for line in lines))
    _, context = run(model, tmp_path / "again", **settings)
    steps = [step for step, values in context.tracker.curves if "rewards/margins" in values]
    assert steps == [1], "from the start"
    assert first.tracker.curves != context.tracker.curves


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"beta": 0.0}, "beta = 0.0: expected above 0"),
        ({"beta": float("nan")}, "beta = nan"),
        ({"loss_type": "ppo"}, "loss_type = 'ppo': expected one of 'sigmoid', 'hinge', 'ipo'"),
        ({"label_smoothing": 0.1}, '"sigmoid" has none; set loss_type = "robust"'),
        ({"loss_type": "robust", "label_smoothing": 0.5}, "label_smoothing = 0.5"),
        ({"steering_share": 0.2, "augment": 0.1}, "steering_share and augment: pairs are of the rows as they are"),
        ({"hard": ("margin",)}, "'margin': expected one of 'model', 'words', 'confusions'"),
        ({"hard": ()}, "no preferences: there are no pairs"),
        ({"hard": ("confusions",)}, 'of whose answers\\? Add "model" or "words"'),
        ({"margin": -1.0}, "margin = -1.0"),
        ({"pairs_per_row": 0}, "pairs_per_row = 0"),
        ({"sft_weight": -1.0}, "sft_weight = -1.0"),
        ({"rows_per_step": 8, "rows_per_forward": 3}, "divisor of rows_per_step = 8"),
    ],
)
def test_settings_out_of_range_are_named(settings, message):
    with pytest.raises(RecipeError, match=message) as refused:
        DpoStage(**settings)
    assert str(refused.value).startswith("[dpo] ")
