"""The stage around the trainer: settings, choice by dev, resume after a kill, what comes out."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from chat_server import ChatServer, serving_chat
from fakes import FakeEngine, toy_bundle
from tiny import tiny_model_folder
from training_fakes import SPLITS, Record, open_float32, untuned

from labelwright.data.costs import Costs, pairs_of
from labelwright.decide import log_scores
from labelwright.engines.settings import EngineSettings
from labelwright.errors import DataError, ModelError, RecipeError
from labelwright.models.weights import Base
from labelwright.statistics.calibration import Calibration
from optimizers.stage import StageContext
from optimizers.training.grpo import GrpoStage
from optimizers.training.judge.rating import Rated
from optimizers.training.loop import Training, newest_checkpoint

NAN, INF = float("nan"), float("inf")
# Enough to learn the toy rows; SHORT is enough to see what happens along the way.
LONG = {"steps": 40, "rows_per_step": 12, "rows_per_forward": 6, "eval_every": 20, "learning_rate": 5e-3}
SHORT = {"steps": 6, "rows_per_step": 4, "rows_per_forward": 2, "eval_every": 3, "learning_rate": 3e-3, "lora_rank": 4}


def run(model, folder, kill_at=None, **settings):
    folder.mkdir(exist_ok=True)
    context = StageContext(folder, Record(kill_at), open_float32, 0)
    return GrpoStage(**(SHORT | settings)).run(untuned(model), SPLITS, context), context


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_model_folder(tmp_path_factory.mktemp("model"), spread=0.1)


@pytest.mark.parametrize("settings", [{}, {"mode": "sampled", "n_rollouts": 4}, {"lora_rank": 0, "beta": 0.01}])
def test_a_better_bundle_comes_out(model, tmp_path, settings):
    bundle, context = run(model, tmp_path / "grpo", **(LONG | settings))
    entry = bundle.history[-1]
    assert entry["improved"]
    assert entry["dev_after"]["accuracy"] > entry["dev_before"]["accuracy"]
    assert [point["step"] for point in entry["curve"]] == [0, 20, 40]
    best = max(entry["curve"], key=lambda point: (point["accuracy"], -point["log_loss"]))
    assert best["step"] == entry["dev_after"]["step"], "the best step on dev is kept, not the last"
    assert bundle.calibration == Calibration(), "what was fitted on the old scores is gone"
    # The bundle's weights, merged and reopened, are the ones that were measured during training.
    texts = [example.text for example in SPLITS.dev]
    probabilities = Calibration().apply(log_scores(bundle, open_float32(bundle.weights), texts))
    gold = [bundle.task.index(example.label) for example in SPLITS.dev]
    log_loss = -np.log(probabilities[np.arange(len(gold)), gold]).mean()
    assert log_loss == pytest.approx(entry["dev_after"]["log_loss"], rel=1e-3)
    steps = [step for step, values in context.tracker.curves if "reward" in values]
    assert steps == list(range(1, 41))


def test_where_dev_does_not_improve_the_bundle_stays(model, tmp_path):
    bundle, _ = run(model, tmp_path / "grpo", learning_rate=1e-12)
    if not bundle.history[-1]["improved"]:
        assert bundle.weights == Base(str(model))
        assert bundle.calibration == Calibration(2.0)
    else:
        pytest.fail("a learning rate of 1e-12 cannot have improved anything")


@pytest.mark.parametrize("mode", ["exact", "sampled"])
def test_a_killed_run_ends_with_the_same_files(model, tmp_path, mode):
    whole, _ = run(model, tmp_path / "whole", mode=mode)
    script = (
        "import sys; from pathlib import Path; from test_grpo import run; "
        f"run(Path({str(model)!r}), Path({str(tmp_path / 'killed')!r}), kill_at=5, mode={mode!r})"
    )
    paths = [str(Path(__file__).parents[up]) for up in (0, 2, 3)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    killed = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    # A checkpoint that the kill left half written is passed over.
    half = tmp_path / "killed" / "checkpoints" / "checkpoint-5"
    half.mkdir()
    (half / "adapter_model.safetensors").write_bytes(b"half")
    resumed, context = run(model, tmp_path / "killed", mode=mode)
    assert {step for step, values in context.tracker.curves if "reward" in values} == {4, 5, 6}, "not from the start"
    assert resumed.history[-1]["curve"] == whole.history[-1]["curve"]
    for name in ("adapter_model.safetensors", "dev.json"):
        files = [tmp_path / which / "best" / name for which in ("killed", "whole")]
        assert files[0].read_bytes() == files[1].read_bytes()


def test_newest_checkpoint_is_the_last_whole_one(tmp_path):
    for step, state in ((5, "{}"), (10, '{"global_step": 10}'), (15, '{"global')):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "trainer_state.json").write_text(state)
    (tmp_path / "checkpoint-20").mkdir()
    assert newest_checkpoint(tmp_path) == tmp_path / "checkpoint-10"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-10", "checkpoint-5"]
    assert newest_checkpoint(tmp_path / "none") is None


def test_an_engine_that_cannot_train_is_refused(tmp_path):
    context = StageContext(tmp_path, Record(), lambda weights: FakeEngine(), 0)
    with pytest.raises(ModelError, match="transformers backend"):
        GrpoStage(**SHORT).run(toy_bundle(), SPLITS, context)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mode": "both"}, "mode = 'both'"),
        ({"steps": 0}, "steps = 0"),
        ({"n_rollouts": 1}, "n_rollouts = 1: expected at least 2"),
        ({"beta": -1.0}, "beta = -1.0"),
        ({"learning_rate": 0.0}, "learning_rate = 0.0"),
        ({"warmup_share": 1.0}, "warmup_share = 1.0"),
        ({"lora_dropout": -0.1}, "lora_dropout = -0.1"),
        ({"rows_per_step": 8, "rows_per_forward": 3}, "divisor of rows_per_step = 8"),
        ({"beta": NAN}, "beta = nan"),
        ({"beta": INF}, "beta = inf"),
        ({"learning_rate": NAN}, "learning_rate = nan"),
        ({"learning_rate": INF}, "learning_rate = inf"),
        ({"max_grad_norm": NAN}, "max_grad_norm = nan"),
        ({"warmup_share": NAN}, "warmup_share = nan"),
        ({"validity": NAN}, "validity = nan"),
        ({"validity": INF}, "validity = inf"),
        ({"loss_type": "ppo"}, "loss_type = 'ppo': expected one of 'bnpo', 'cispo'"),
        ({"scale_rewards": "row"}, "scale_rewards = 'row': expected one of 'auto', 'group', 'batch', 'none', 'mean'"),
        ({"reward": "labelmatch"}, "reward = 'labelmatch': expected one of 'label_match'"),
        ({"reward": "cost_matrix"}, "needs the setting 'costs'"),
        ({"reward_settings": {"power": 1}}, "no setting 'power'"),
        ({"reward": "rare_class", "scale_rewards": "group"}, 'set scale_rewards = "batch" or "none"'),
        ({"reward": "rare_class", "scale_rewards": "mean"}, 'scale_rewards = "mean" takes the weights .* out: set'),
        ({"reward": "noisy_label"}, "needs the setting 'share'"),
        ({"reward": "judge"}, 'reward "judge" needs the setting model'),
        ({"reward": "noisy_label", "reward_settings": {"share": 0.5}}, "share is 0.5: expected a number from 0"),
        (
            {"reward": "noisy_label", "reward_settings": {"share": 0.1}, "scale_rewards": "none"},
            'makes "label_match" of reward = "noisy_label": set scale_rewards = "mean"',
        ),
    ],
)
def test_settings_out_of_range_are_named(settings, message):
    with pytest.raises(RecipeError, match=message) as refused:
        GrpoStage(**settings)
    assert str(refused.value).startswith("[grpo] ")


COSTS = {"pool": {"fence": 4.0, "hvac": 4.0}}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, "group"),
        ({"scale_rewards": "none"}, "none"),
        ({"scale_rewards": "mean"}, "mean"),
        ({"reward": "noisy_label", "reward_settings": {"share": 0.1}}, "mean"),
        ({"reward": "rare_class"}, "batch"),
        ({"reward": "rare_class", "scale_rewards": "none"}, "none"),
        ({"reward": "rare_class", "reward_settings": {"power": 0}}, "group"),  # all weights are equal
        ({"reward": "cost_matrix", "reward_settings": {"costs": COSTS}}, "batch"),
        ({"reward": "cost_matrix", "reward_settings": {"costs": COSTS}, "scale_rewards": "group"}, "group"),
        ({"reward": "cost_matrix", "reward_settings": {"costs": {}}}, "group"),
    ],
)
def test_rewards_that_weigh_rows_are_scaled_by_the_step(monkeypatch, tmp_path, settings, expected):
    assert scaled_by(monkeypatch, tmp_path, toy_bundle(), settings) == expected


@pytest.mark.parametrize(("settings", "expected"), [({}, "group"), ({"reward": "rare_class"}, "batch")])
def test_prices_by_which_the_answer_is_chosen_do_not_weigh_rows_as_well(monkeypatch, tmp_path, settings, expected):
    bundle = toy_bundle()
    priced = replace(bundle, task=replace(bundle.task, costs=Costs(pairs_of(COSTS, "costs"))))
    assert scaled_by(monkeypatch, tmp_path, priced, settings) == expected


def scaled_by(monkeypatch, tmp_path, bundle, settings):
    """What a stage of these settings scales its rewards by."""
    asked = []

    def prepare(stage, objective, *rest):
        asked.append(objective.scale_rewards)
        raise ModelError("far enough")

    monkeypatch.setattr(Training, "prepare", prepare)
    rare = replace(SPLITS, train=SPLITS.train[:-9])
    with pytest.raises(ModelError, match="far enough"):
        GrpoStage(**settings).run(bundle, rare, StageContext(tmp_path, Record(), open_float32))
    (scale,) = asked
    return scale


def test_the_history_says_how_rewards_were_scaled(model, tmp_path):
    tuned, _ = run(model, tmp_path / "grpo", reward="rare_class", steps=1)
    assert tuned.history[-1]["settings"]["scale_rewards"] == "group", "the toy rows are balanced"


@pytest.mark.parametrize("mode", ["exact", "sampled"])
def test_training_ends_where_no_answer_is_worth_more_than_another(model, tmp_path, monkeypatch, mode):
    monkeypatch.setattr("optimizers.training.grpo.reward_matrix", lambda *_: np.ones((3, 3)))
    bundle, context = run(model, tmp_path / "grpo", mode=mode, n_rollouts=4)
    entry = bundle.history[-1]
    assert (entry["steps_taken"], entry["frac_reward_zero_std"]) == (3, 1.0), "at the first look at dev, of two"
    assert [point["step"] for point in entry["curve"]] == [0, 3]
    again, context = run(model, tmp_path / "grpo", mode=mode, n_rollouts=4)
    assert not [step for step, values in context.tracker.curves if "reward" in values], "gone on with after its end"
    assert {**again.history[-1], "seconds": 0} == {**entry, "seconds": 0}
    if mode == "exact":
        never, _ = run(model, tmp_path / "never", stop_at_zero_std=0.0)
        assert never.history[-1]["steps_taken"] == 6


@pytest.mark.parametrize(("eval_every", "ends"), [(1, 3), (2, 4), (3, 3), (5, 5)])
def test_two_steps_at_least_say_that_nothing_is_left_to_learn(tmp_path, eval_every, ends):
    """Of a log in which no answer is ever worth more than another, where the looks at dev lie."""
    stage = GrpoStage(eval_every=eval_every)
    training = Training(stage, toy_bundle(), (), tmp_path, Record(), {}, None, EngineSettings(), "", stop_at=1.0)

    def is_learnt(step, flat):
        log = [{"step": one, "frac_reward_zero_std": flat(one)} for one in range(1, step)]
        return training.is_learnt(SimpleNamespace(global_step=step, log_history=log))

    looks = range(eval_every, 20, eval_every)
    assert next(step for step in looks if is_learnt(step, lambda one: 1.0)) == ends
    # What an early step taught is long ago; one of the last two is not.
    last = looks[-1]
    assert is_learnt(last, lambda one: float(one > last - max(eval_every, 3)))
    assert not is_learnt(last, lambda one: float(one != last - 2))


def test_a_judge_teaches_what_it_rates_whatever_the_rows_own_labels_are(model, tmp_path):
    def says(system, turns):
        return json.dumps({"pool": 1, "fence": 2, "hvac": 10})

    server = ChatServer(says)
    with serving_chat(server) as url:
        asked = {"reward": "judge", "reward_settings": {"model": "big", "url": url}, "learning_rate": 2e-2}
        bundle, context = run(model, tmp_path / "grpo", **asked)
        (entry,) = bundle.history
        again, _ = run(model, tmp_path / "grpo", **asked)
    texts = {row.text for row in SPLITS.train}
    assert len(server.requests) == len(texts), "of which none was asked a second time"
    assert (entry["judge"]["rows"], entry["judge"]["rated_alike"]) == (len(SPLITS.train), 0)
    assert {**again.history[0], "seconds": 0} == {**entry, "seconds": 0}
    rewards = [values["reward"] for _, values in context.tracker.curves if "reward" in values]
    assert rewards[-1] > rewards[0] + 0.2, "towards 1, which is what hvac is worth to every row"


def test_a_judge_s_rows_are_those_that_are_trained_on_and_its_file_is_shared(monkeypatch, tmp_path):
    given = []
    spread = 1.0

    def prepare(stage, objective, bundle, splits, context):
        given.append((objective, splits.train))
        raise ModelError("far enough")

    def rated(judge, task, train, kept, say):
        assert (judge.model, kept) == ("big", tmp_path / "answers" / "judge.jsonl")
        rewards = np.linspace(0, 1, 3 * len(train[1:])).reshape(-1, 3) ** 2
        rewards[2] = 0.5
        return Rated(train[1:], rewards * spread, {"judge": {"rows": len(rewards)}})

    monkeypatch.setattr(Training, "prepare", prepare)
    monkeypatch.setattr("optimizers.training.grpo.rate", rated)
    stage = GrpoStage(reward="judge", reward_settings={"model": "big", "max_rows": 5})
    context = StageContext(tmp_path, Record(), open_float32, answers=tmp_path / "answers")
    with pytest.raises(ModelError, match="far enough"):
        stage.run(toy_bundle(), SPLITS, context)
    ((objective, train),) = given
    assert train == (*SPLITS.train[1:3], *SPLITS.train[4:]), "not the row whose labels are rated alike"
    assert (objective.rewards, objective.scale_rewards) == (None, "mean")
    assert objective.row_rewards.shape == (len(train), 3)
    spread = 0.0
    with pytest.raises(ModelError, match=r"big rates all labels of a row alike, in each of \d+ rows, .* \(rubric\)"):
        stage.run(toy_bundle(), SPLITS, context)
    with pytest.raises(DataError, match="max_rows = 5"):
        stage.check(SPLITS, toy_bundle().task)


def test_a_row_that_still_teaches_keeps_training_going(model, tmp_path):
    bundle, _ = run(model, tmp_path / "grpo", beta=0.1)
    entry = bundle.history[-1]
    assert (entry["steps_taken"], entry["frac_reward_zero_std"]) == (6, 0.0)
    assert entry["entropy"] > 0
    assert entry["kl"] > 0, "watched, and told"


def test_best_is_written_as_safetensors_and_json_only(model, tmp_path):
    run(model, tmp_path / "grpo")
    best = tmp_path / "grpo" / "best"
    assert {path.suffix for path in best.iterdir()} == {".safetensors", ".json"}
    assert json.loads((best / "dev.json").read_text())["step"] in (3, 6)
