"""What every training run keeps to: the rows it may see, rows that do not fit, few rows, numbers, devices, resuming."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny import tiny_model_folder
from training_fakes import SPLITS, Record, open_float32, untuned

from labelwright.data.task import Splits
from labelwright.decide import log_scores
from labelwright.engines.opening import open_engine
from labelwright.engines.packed.lower import LowerLayers
from labelwright.engines.settings import EngineSettings
from labelwright.errors import DataError, ModelError
from labelwright.models.weights import Full
from optimizers.kept import KeptScores
from optimizers.stage import StageContext
from optimizers.training import loop as training
from optimizers.training.copies.copied import with_copies
from optimizers.training.grpo import GrpoStage
from optimizers.training.libraries import grpo_config
from optimizers.training.rows import LabelRows, passes
from optimizers.training.settings import Objective
from optimizers.training.sft import SftStage
from optimizers.training.trainer import LabelTreeTrainer

FEW = Splits(SPLITS.train[::6], SPLITS.dev[::3], (), ())
SHORT = {"steps": 2, "rows_per_step": 4, "rows_per_forward": 4, "eval_every": 5, "learning_rate": 3e-3, "lora_rank": 4}
MODES = {
    "exact": GrpoStage(**SHORT),
    "sampled": GrpoStage(**SHORT, mode="sampled", n_rollouts=2),
    "sft": SftStage(**SHORT),
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return untuned(tiny_model_folder(tmp_path_factory.mktemp("model"), spread=0.1))


@pytest.fixture(scope="module")
def engine(bundle):
    return open_float32(bundle.weights)


def opener(**settings):
    return lambda weights: open_engine(weights, EngineSettings(**({"device": "cpu", "dtype": "float32"} | settings)))


def run(stage, bundle, folder, splits=FEW, open_engine=open_float32, scores=None):
    folder.mkdir(exist_ok=True)
    record = Record()
    return stage.run(bundle, splits, StageContext(folder, record, open_engine, 0, scores=scores)), record


def test_a_copy_that_asks_for_a_label_is_worth_what_its_row_is(bundle, tmp_path):
    own = np.arange(len(FEW.train))[:, None] / len(FEW.train) + np.zeros(3)
    stage = GrpoStage(**SHORT, steering_share=0.5)
    context = StageContext(tmp_path, Record(), open_float32, 0)
    prepared = training.Training.prepare(stage, Objective("exact", row_rewards=own), bundle, FEW, context)
    other = training.Training.prepare(stage, Objective("exact", row_rewards=1 - own), bundle, FEW, context)
    assert prepared.key != other.key, "what another judge says is another training"
    trainer = prepared.trainer
    assert len(trainer._rewards) == len(trainer._rows.texts) == 2 * len(FEW.train)
    for text, (reward, *_) in zip(trainer._rows.texts, trainer._rewards_of(range(2 * len(FEW.train))), strict=True):
        assert FEW.train[round(float(reward) * len(FEW.train))].text in text


def relabelled(rows, label):
    return tuple(replace(row, label=label) for row in rows)


# --- which rows ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "shares"), [("exact", {"steering_share": 0.25}), ("sft", {"steering_share": 0.2, "augment": 0.2})]
)
def test_a_share_of_the_rows_are_changed_copies_where_that_is_set(bundle, tmp_path, monkeypatch, mode, shares):
    seen, rows_of = [], LabelRows.from_examples
    monkeypatch.setattr(
        LabelRows, "from_examples", lambda rows, *rest, **more: seen.append(rows) or rows_of(rows, *rest, **more)
    )
    tuned, _ = run(replace(MODES[mode], **shares), bundle, tmp_path / "copied")
    names = [label.name for label in bundle.prompt.labels]
    assert seen == [with_copies(FEW.train, names, 0, **shares)]
    assert len(seen[0]) > len(FEW.train)
    assert {name: tuned.history[-1]["settings"][name] for name in shares} == shares


def test_the_step_is_chosen_on_dev_and_learnt_from_train_only(bundle, tmp_path, monkeypatch):
    """Whatever the other rows say, the run is the same; and the curve is what the weights say of dev."""
    seen = []
    rows_of = LabelRows.from_examples
    monkeypatch.setattr(
        LabelRows, "from_examples", lambda rows, *rest, **more: seen.append(rows) or rows_of(rows, *rest, **more)
    )
    traps = Splits(FEW.train, FEW.dev, relabelled(SPLITS.calib, "pool"), relabelled(SPLITS.dev[:9], "pool"))
    kept = KeptScores(tmp_path / "scores", asker="the step before")
    kept.of(bundle, FEW.dev, open_float32)
    kept = replace(kept, asker="this one")
    plain, _ = run(MODES["sft"], bundle, tmp_path / "plain", scores=kept)
    assert kept.reused_s > 0, "dev before the first step was scored by whoever made the bundle"
    trapped, _ = run(MODES["sft"], bundle, tmp_path / "trapped", traps)
    assert plain.history[-1]["curve"] == trapped.history[-1]["curve"]
    assert seen == [FEW.train, FEW.train]
    scores = log_scores(bundle, open_float32(bundle.weights), [row.text for row in FEW.dev])
    right = np.mean([bundle.task.names[k] == row.label for k, row in zip(scores.argmax(1), FEW.dev, strict=True)])
    assert plain.history[-1]["curve"][0]["accuracy"] == right


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        (replace(FEW, train=()), "no train rows: expected rows of 'pool', 'fence', 'hvac'"),
        (replace(FEW, dev=()), "dev, which has no rows"),
        (replace(FEW, dev=relabelled(FEW.dev, "pond")), "rows have the labels 'pond': expected rows of 'pool'"),
    ],
)
def test_rows_that_nothing_can_be_learnt_from_are_refused(bundle, tmp_path, splits, message):
    for stage in (MODES["exact"], SftStage(**SHORT, epochs=1)):
        with pytest.raises(DataError, match=message):
            run(stage, bundle, tmp_path / stage.name, splits)


@pytest.mark.parametrize("n_rows", [1, 3, 5])
@pytest.mark.parametrize("mode", MODES)
def test_few_rows_are_met_again_until_a_step_is_full(bundle, tmp_path, mode, n_rows):
    """Fewer rows than a step has, one row, and a number that is no multiple: all steps are taken, and move weights."""
    few = Splits(SPLITS.train[:n_rows], FEW.dev[:2], (), ())  # all of one label
    tuned, record = run(MODES[mode], bundle, tmp_path / "work", few)
    curve = tuned.history[-1]["curve"]
    assert [point["step"] for point in curve] == [0, 2]
    assert curve[0]["log_loss"] != curve[1]["log_loss"]
    assert [step for step, values in record.curves if "grad_norm" in values] == [1, 2]


def test_one_row_a_step(bundle, tmp_path):
    stage = GrpoStage(**(SHORT | {"rows_per_step": 1, "eval_every": 1}))
    assert [point["step"] for point in run(stage, bundle, tmp_path / "work")[0].history[-1]["curve"]] == [0, 1, 2]


def test_passes_meet_every_row_once_and_begin_anew_within_a_step():
    order = passes(n_rows=5, n_visits=12, seed=3)
    assert sorted(order[:5]) == sorted(order[5:10]) == list(range(5))
    assert order[:5] != order[5:10]
    assert len(order) == 12
    assert order[:5] == torch.randperm(5, generator=torch.Generator().manual_seed(3)).tolist()
    assert passes(5, 3, 3) == order[:3]


# --- rows that do not fit --------------------------------------------------------------------------------------------


def lengthened(row, n=600):
    return replace(row, text=row.text + " pool" * n + " the end of it fence")


@pytest.mark.parametrize("stage", [MODES["exact"], MODES["sft"]])
def test_long_rows_are_refused_all_at_once_before_training(bundle, tmp_path, stage):
    train = (lengthened(FEW.train[0]), *FEW.train[1:-1], lengthened(FEW.train[-1]))
    dev = (*FEW.dev[:-1], lengthened(FEW.dev[-1]))
    with pytest.raises(DataError) as refused:
        run(stage, bundle, tmp_path / "work", Splits(train, dev, (), ()))
    message = str(refused.value)
    assert all(row.id in message for row in (FEW.train[0], FEW.train[-1], FEW.dev[-1])), message
    assert FEW.train[1].id + " " not in message
    assert "reads at most 512" in message
    assert 'long_rows = "head"' in message
    assert "\n" not in message
    assert not (tmp_path / "work" / "checkpoints").exists()


@pytest.mark.parametrize("how", ["head", "head_tail"])
def test_long_rows_are_shortened_in_training_as_they_are_in_answering(bundle, engine, tmp_path, monkeypatch, how):
    fed = []
    fit = type(engine.tokens).rows

    def rows(self, prompts, *rest):
        fitted = fit(self, prompts, *rest)
        fed.extend(zip([prompt.user for prompt in prompts], fitted, strict=True))
        return fitted

    monkeypatch.setattr(type(engine.tokens), "rows", rows)
    monkeypatch.setattr(training, "better", lambda one, other: True)
    long = Splits((lengthened(FEW.train[0]), *FEW.train[1:]), (lengthened(FEW.dev[0]), *FEW.dev[1:]), (), ())
    tuned, _ = run(MODES["sft"], bundle, tmp_path / "work", long, opener(long_rows=how))
    answering = opener(long_rows=how)(tuned.weights)
    scores = log_scores(bundle, answering, [row.text for row in (*long.train, *long.dev)])
    by_text = {}
    for text, tokens in fed:
        by_text.setdefault(text, set()).add(tokens)
    assert all(len(kinds) == 1 for kinds in by_text.values()), "the same row is fed in two ways"
    longest = max(len(tokens) for _, tokens in fed)
    prefix = len(answering.tokens.prefix(bundle.prompt.render("")))
    assert prefix + longest + max(map(len, answering.tokens.tree(bundle.prompt.options).options)) == 512
    # And what training said of dev is what the engine says of the weights that came out.
    log_probs = scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)
    gold = [bundle.task.index(row.label) for row in long.dev]
    measured = -log_probs[len(long.train) :][np.arange(len(gold)), gold].mean()
    assert measured == pytest.approx(tuned.history[-1]["dev_after"]["log_loss"], abs=1e-4)


# --- numbers and devices ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("lora_rank", [0, 4])
def test_narrow_numbers_train(bundle, tmp_path, monkeypatch, dtype, lora_rank):
    monkeypatch.setattr(training, "better", lambda one, other: True)
    stage = replace(MODES["exact"], lora_rank=lora_rank)
    tuned, _ = run(stage, bundle, tmp_path / "work", open_engine=opener(dtype=dtype))
    entry = tuned.history[-1]
    assert entry["dev_after"]["log_loss"] != pytest.approx(entry["dev_before"]["log_loss"], abs=1e-3)
    scores = log_scores(tuned, opener(dtype=dtype)(tuned.weights), [row.text for row in FEW.dev])
    log_probs = scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)
    gold = [bundle.task.index(row.label) for row in FEW.dev]
    assert -log_probs[np.arange(len(gold)), gold].mean() == pytest.approx(entry["dev_after"]["log_loss"], abs=0.05)


def test_what_the_objective_says_reaches_trl(tmp_path):
    objective = Objective("sampled", n_rollouts=2, beta=0.1, loss_type="bnpo", scale_rewards="batch")
    context = StageContext(tmp_path, Record(), open_float32, 7)
    args = grpo_config(MODES["sampled"], objective, context, autocast=False, on_cpu=True, n_answer_tokens=3)
    assert (args.num_generations, args.loss_type, args.scale_rewards, args.seed) == (2, "bnpo", "batch", 7)
    assert args.beta == 0, "TRL would load the untuned model as the reference"
    by_mean = replace(objective, scale_rewards="mean")
    args = grpo_config(MODES["sampled"], by_mean, context, autocast=False, on_cpu=True, n_answer_tokens=3)
    assert args.scale_rewards == "none", "what TRL does not know is the trainer's"


def test_two_visible_gpus_are_one_too_many(bundle, engine, tmp_path, monkeypatch):
    """transformers counts them and spreads a model over them, which TRL refuses; a label tree is trained on one."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    objective = Objective("exact")
    context = StageContext(tmp_path, Record(), open_float32, 0)

    def make(n_gpus=None):
        args = grpo_config(MODES["exact"], objective, context, autocast=False, on_cpu=False, n_answer_tokens=2)
        assert args.n_gpu == 1
        args._n_gpu = n_gpus or args.n_gpu
        return LabelTreeTrainer(
            rows=LabelRows.from_examples(FEW.train, bundle.prompt, engine),
            objective=objective,
            model=open_float32(bundle.weights).model,
            args=args,
            processing_class=engine.tokenizer,
        )

    with pytest.raises(ValueError, match="DataParallel"):
        make(n_gpus=2)  # so it would be
    trainer = make()
    assert trainer.args.train_batch_size == SHORT["rows_per_forward"]
    assert not isinstance(trainer._wrap_model(trainer.model), torch.nn.DataParallel)
    trainer.train()
    assert trainer.state.global_step == SHORT["steps"]


@pytest.mark.parametrize("mode", MODES)
def test_weights_that_leave_the_numbers_end_the_training(bundle, tmp_path, mode):
    """A learning rate without bounds: one line, and nothing of it is kept."""
    stage = replace(MODES[mode], learning_rate=1e30, warmup_share=0.0, lora_rank=0, steps=5)
    with pytest.raises(ModelError, match=r"diverged at step \d of 5: .* set a smaller learning_rate \(now 1e\+30\)"):
        run(stage, bundle, tmp_path / "work")
    assert not (tmp_path / "work" / "best").exists()
    assert not list((tmp_path / "work").glob("checkpoints/checkpoint-*"))


@pytest.mark.parametrize("eval_every", [1, 2])
def test_broken_weights_are_not_looked_at_and_not_saved(bundle, tmp_path, monkeypatch, eval_every):
    """The loss is a number before the step that breaks the weights: dev is looked at right behind it."""
    step_of = torch.optim.AdamW.step

    def broken(self, *rest, **more):
        result = step_of(self, *rest, **more)
        with torch.no_grad():
            self.param_groups[0]["params"][0].fill_(float("nan"))
        return result

    monkeypatch.setattr(torch.optim.AdamW, "step", broken)
    stage = replace(MODES["sft"], steps=1, eval_every=eval_every)
    with pytest.raises(ModelError, match="diverged at step 1 of 1: weights are no numbers"):
        run(stage, bundle, tmp_path / "work")
    assert not (tmp_path / "work" / "best").exists()


# --- resuming --------------------------------------------------------------------------------------------------------


def steps_taken(record):
    return [step for step, values in record.curves if "grad_norm" in values]


def test_a_finished_training_is_not_done_twice_and_another_is_not_taken_for_it(bundle, tmp_path):
    folder = tmp_path / "work"
    stage = MODES["sft"]
    first, record = run(stage, bundle, folder)
    assert steps_taken(record) == [1, 2]
    again, record = run(stage, bundle, folder)
    assert steps_taken(record) == []
    assert again.history[-1]["curve"] == first.history[-1]["curve"]
    # Killed by a version that did not write down what it trained on: taken up as it is.
    (folder / "training.json").unlink()
    assert steps_taken(run(stage, bundle, folder)[1]) == []
    # Other settings, of which the checkpoint even has another shape; other rows; another seed of it all.
    for other, splits in ((replace(stage, lora_rank=8), FEW), (stage, replace(FEW, train=FEW.train[1:]))):
        changed, record = run(other, bundle, folder, splits)
        assert steps_taken(record) == [1, 2]
        assert [point["step"] for point in changed.history[-1]["curve"]] == [0, 2]
    assert json.loads((folder / "training.json").read_text())["key"]


def test_an_adapter_over_merged_weights_is_merged_in_the_numbers_it_was_measured_in(bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "better", lambda one, other: True)
    once, _ = run(MODES["sft"], bundle, tmp_path / "one")
    twice, _ = run(MODES["exact"], once, tmp_path / "two")
    assert twice.weights == Full(once.weights.base, tmp_path / "two" / "merged")
    merged = load_file(tmp_path / "two" / "merged" / "model.safetensors")
    assert {tensor.dtype for tensor in merged.values()} == {torch.float32}


# --- which layers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("share", "tuned"), [(1.0, {0, 1}), (0.5, {1}), (0.01, {1})])
def test_only_the_upper_share_of_the_layers_gets_an_adapter(bundle, tmp_path, share, tuned):
    stage = replace(MODES["sft"], lora_layers=share, learning_rate=1e-2)
    run(stage, bundle, tmp_path / "run")
    written = list((tmp_path / "run").rglob("adapter_model.safetensors"))
    assert written
    names = [name for path in written for name in load_file(path)]
    assert {int(name.split(".layers.")[1].split(".")[0]) for name in names} == tuned


def test_a_share_of_layers_that_no_list_holds_is_refused_and_all_of_them_are_not(bundle, monkeypatch, tmp_path):
    monkeypatch.setattr("labelwright.engines.packed.lower.blocks_of", lambda model: None)
    with pytest.raises(
        ModelError, match=r"^lora_layers = 0.5: \w+ keeps its layers in no list .*set lora_layers = 1.0$"
    ):
        run(replace(MODES["sft"], lora_layers=0.5), bundle, tmp_path / "half")
    assert run(MODES["sft"], bundle, tmp_path / "whole")[1].values["n_layers_kept"] == 0


@pytest.mark.parametrize("mode", MODES)
def test_what_frozen_layers_make_of_a_row_is_kept_and_changes_nothing(bundle, tmp_path, monkeypatch, mode):
    """Dev says the same at the end as where all layers run; kept are the prefix, and each row that was met."""
    stage = replace(MODES[mode], lora_layers=0.5)
    stage = replace(stage, beta=0.1) if isinstance(stage, GrpoStage) else stage
    few = replace(FEW, train=FEW.train[:5])
    run_lower, n_rows = LowerLayers._run_lower, []

    def counted(self, packed):
        n_rows.append(len(packed.row_start))
        return run_lower(self, packed)

    monkeypatch.setattr(LowerLayers, "_run_lower", counted)
    kept, record = run(stage, bundle, tmp_path / "kept", few)
    assert record.values["n_layers_kept"] > 0
    # One row twice in the trial whether there is noise below; then the prefix, and five rows.
    assert mode == "sampled" or sum(n_rows) == 2 + 1 + 5
    monkeypatch.setattr("optimizers.training.trainer.open_lower", lambda *_: None)
    n_rows.clear()
    plain, record = run(stage, bundle, tmp_path / "plain", few)
    assert record.values["n_layers_kept"] == 0
    assert not n_rows
    for ours, theirs in zip(kept.history[-1]["curve"], plain.history[-1]["curve"], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)
