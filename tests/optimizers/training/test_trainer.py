"""The packed, closed-set GRPO is held to slow references: autograd over repeated, padded rows, and TRL's own loss."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from fakes import toy_splits, toy_task
from rows import as_letters
from tiny import tiny_model, tiny_tokenizer
from trl import GRPOConfig, GRPOTrainer

from labelwright.data.asked.questions import Question, put
from labelwright.data.task import Example, Task
from labelwright.engines.settings import EngineSettings
from labelwright.engines.transformers import TransformersEngine
from labelwright.prompt import Prompt
from optimizers.training import trainer as trainers
from optimizers.training.grpo import LOSS_TYPES
from optimizers.training.losses import exact_loss
from optimizers.training.rows import LabelRows
from optimizers.training.settings import Objective
from optimizers.training.trainer import LabelTreeTrainer
from rewards.rare_class import RareClass

# Rows of all three labels. The labels are answered as codes, which have equally many tokens: by name, an untrained
# model always prefers the shortest.
ROWS = toy_splits().train[::9]


# Settings of the objective; the others are TRL's.
ASKED = ("validity", "beta", "label_smoothing", "rewards", "row_rewards", "scale_rewards")


def make_args(folder, **changes):
    settings = {
        "output_dir": str(folder),
        "per_device_train_batch_size": 16,
        "num_generations": 4,
        "max_completion_length": 8,
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "report_to": [],
        "max_steps": 1,
        "learning_rate": 1e-3,
        "disable_tqdm": True,
        "save_strategy": "no",
    }
    return GRPOConfig(**(settings | changes))


def make_trainer(folder, mode="sampled", **changes):
    tokenizer = tiny_tokenizer()
    model = tiny_model(vocab_size=len(tokenizer), spread=0.1)
    engine = TransformersEngine(model, tokenizer, settings=EngineSettings(unexpanded_mass=0))
    prompt = Prompt.for_task(toy_task(), engine.template, style="code")
    rows = LabelRows.from_examples(ROWS, prompt, engine)
    asked = {k: changes.pop(k) for k in ASKED if k in changes}
    told = asked.get("scale_rewards", "").replace("mean", "none")  # as libraries.grpo_config does
    return LabelTreeTrainer(
        rows=rows,
        objective=Objective(mode, n_rollouts=4, **asked),
        model=model,
        args=make_args(folder, **({"scale_rewards": told} if told else {}) | changes),
        processing_class=tokenizer,
    )


def gradients(model):
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def relative_difference(one, other):
    return float((one - other).abs().max() / other.abs().max())


def padded_scores(trainer):
    """Every row repeated for every option, right-padded, in one ordinary forward pass with an attention mask."""
    rows = trainer._rows
    sequences = [(*rows.prefix, *row, *option) for row in rows.rows for option in rows.tree.options]
    starts = [len(rows.prefix) + len(row) for row in rows.rows for _ in rows.tree.options]
    width = max(map(len, sequences))
    ids = torch.tensor([[*s, *[0] * (width - len(s))] for s in sequences])
    mask = torch.tensor([[1] * len(s) + [0] * (width - len(s)) for s in sequences])
    log_probs = torch.log_softmax(trainer.model(input_ids=ids, attention_mask=mask).logits, -1)
    totals = [
        sum(log_probs[i, t - 1, s[t]] for t in range(start, len(s)))
        for i, (s, start) in enumerate(zip(sequences, starts, strict=True))
    ]
    return torch.stack(totals).reshape(len(rows.rows), -1)


def test_packed_gradients_equal_the_padded_repeated_computation(tmp_path):
    trainer = make_trainer(tmp_path, "exact")
    packed = trainer.label_scores(range(len(ROWS)))
    padded = padded_scores(trainer)
    torch.testing.assert_close(packed, padded, atol=1e-4, rtol=1e-4)
    rewards = torch.eye(3)[torch.as_tensor(trainer._rows.gold)]
    grads = []
    for scores in (packed, padded):
        trainer.model.zero_grad()
        exact_loss(scores, rewards)[0].backward()
        grads.append(gradients(trainer.model))
    assert relative_difference(*grads) < 1e-4


@pytest.mark.parametrize("loss_type", ["dapo", "grpo", "dr_grpo", "bnpo"])
def test_sampled_loss_and_gradients_equal_trls_own(tmp_path, loss_type):
    """The same completions through TRL's padded forward and through the packed one, two updates per generation."""
    ours = make_trainer(tmp_path / "ours", loss_type=loss_type)
    # Drawing happens in ours; stock TRL is then fed the same batch.
    torch.manual_seed(3)
    inputs = [{"prompt": ours._rows.texts[r], "row": r} for r in range(len(ROWS)) for _ in range(4)]
    ours.model.train()
    batch = ours._generate_and_score_completions(inputs)
    stock = GRPOTrainer(
        model=tiny_model(vocab_size=len(tiny_tokenizer()), spread=0.1),
        reward_funcs=lambda completions, **_: [0.0] * len(completions),
        args=make_args(tmp_path / "stock", loss_type=loss_type),
        train_dataset=ours._rows.dataset(),
        processing_class=tiny_tokenizer(),
    )
    stock.model.train()
    for trainer in (ours, stock):
        trainer.current_gradient_accumulation_steps = 1
    # A behaviour policy that differs from the current one makes the ratio and the clipping count.
    batch["old_per_token_logps"] = (
        ours._get_per_token_logps_and_entropies(
            ours.model,
            torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1),
            torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1),
            batch["completion_ids"].size(1),
        )[0].detach()
        + 0.1
    )
    losses, grads = [], []
    for trainer in (ours, stock):
        trainer.model.zero_grad()
        loss = trainer._compute_loss(trainer.model, dict(batch))
        loss.backward()
        losses.append(float(loss.detach()))
        grads.append(gradients(trainer.model))
    assert batch["advantages"].abs().max() > 0, "the drawn groups need some spread, or everything is zero"
    assert losses[0] == pytest.approx(losses[1], rel=1e-4, abs=1e-6)
    assert relative_difference(*grads) < 1e-4
    assert ours._metrics["train"]["entropy"][-1] == pytest.approx(stock._metrics["train"]["entropy"][-1], rel=1e-4)


@pytest.mark.parametrize("loss_type", LOSS_TYPES)
def test_a_recipes_loss_types_are_trls(tmp_path, loss_type):
    trainer = make_trainer(tmp_path, loss_type=loss_type)
    torch.manual_seed(3)
    inputs = [{"prompt": trainer._rows.texts[r], "row": r} for r in range(len(ROWS)) for _ in range(4)]
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    trainer._compute_loss(trainer.model, trainer._generate_and_score_completions(inputs)).backward()
    assert gradients(trainer.model).abs().max() > 0


def test_draws_follow_the_label_probabilities(tmp_path):
    trainer = make_trainer(tmp_path)
    torch.manual_seed(0)
    n_draws = 3000
    drawn = trainer.draw([trainer._rows.texts[0]] * n_draws)["completion_ids"]
    counts = np.array([sum(tuple(ids) == option for ids in drawn) for option in trainer._rows.tree.options])
    expected = torch.softmax(trainer.label_scores([0]).detach(), -1)[0].numpy()
    assert counts.sum() == n_draws, "every rollout is a label"
    # Three standard errors of a binomial share.
    assert (np.abs(counts / n_draws - expected) < 3 * np.sqrt(expected * (1 - expected) / n_draws) + 1e-3).all()


@pytest.mark.parametrize(("mode", "beta"), [("sampled", 0.0), ("exact", 0.0), ("exact", 0.05)])
def test_training_raises_the_reward(tmp_path, mode, beta):
    # Only the third label pays, whatever the row: something that even an untrained model can learn in a few steps.
    third = np.tile([0.0, 0.0, 1.0], (3, 1))
    trainer = make_trainer(tmp_path, mode, max_steps=15, learning_rate=3e-3, beta=beta, rewards=third)
    before = third_label_probability(trainer)
    trainer.train()
    assert third_label_probability(trainer) > before + 0.2
    logged = [one for one in trainer.state.log_history if "reward" in one]
    assert all({"entropy", "gold_rank"} <= set(one) for one in logged), "the curves that show a run that learns nothing"
    assert all(1 <= one["gold_rank"] <= 3 for one in logged)


def third_label_probability(trainer):
    with torch.no_grad():
        return float(torch.softmax(trainer.label_scores(range(len(ROWS))), -1)[:, 2].mean())


@pytest.mark.parametrize("n_forwards", [1, 2])
def test_a_step_sees_its_rows_once(tmp_path, monkeypatch, n_forwards):
    """Gradients add up over the forward passes of a step, and the rows of a step are no more for that."""
    seen = []
    loss_of = LabelTreeTrainer._closed_loss
    monkeypatch.setattr(
        LabelTreeTrainer,
        "_closed_loss",
        lambda self, rows: seen.append((self.state.global_step, rows)) or loss_of(self, rows),
    )
    changes = {"per_device_train_batch_size": 4 // n_forwards, "gradient_accumulation_steps": n_forwards}
    make_trainer(tmp_path, "cross_entropy", max_steps=3, num_generations=2, **changes).train()
    assert [step for step, _ in seen] == [step for step in range(3) for _ in range(n_forwards)]
    assert all(len(rows) == 4 // n_forwards for _, rows in seen)
    for step in range(3):
        rows = [row for at, part in seen if at == step for row in part]
        assert len(set(rows)) == 4


# --- cross-entropy ---------------------------------------------------------------------------------------------------


def test_cross_entropy_is_torchs_own_over_the_label_scores(tmp_path):
    trainer = make_trainer(tmp_path, "cross_entropy")
    trainer.current_gradient_accumulation_steps = 2
    gold = torch.as_tensor(trainer._rows.gold)
    loss = trainer._closed_loss(list(range(len(ROWS))))
    expected = torch.nn.functional.cross_entropy(padded_scores(trainer), gold)
    assert float(loss.detach()) == pytest.approx(float(expected.detach()) / 2, rel=1e-4)
    grads = []
    for one in (2 * loss, expected):
        trainer.model.zero_grad()
        one.backward()
        grads.append(gradients(trainer.model))
    assert relative_difference(*grads) < 1e-4
    assert trainer._metrics["train"]["train_log_loss"][0] == pytest.approx(float(expected.detach()), rel=1e-4)


# --- scaling the advantages ------------------------------------------------------------------------------------------

# A right answer to the rare label is worth 1, to the common one a sixth (36 rows against 1, power 0.5).
WEIGHT = RareClass({"common": 36, "rare": 1}).weight("common")


@pytest.mark.parametrize(("scale", "ratio"), [("group", 1.0), ("batch", WEIGHT), ("none", WEIGHT), ("mean", 1.0)])
def test_sampled_gradient_of_a_common_row_is_what_was_asked(tmp_path, monkeypatch, scale, ratio):
    """Both rows draw one right and three wrong labels; the gradient of a rollout's log-probability is its advantage."""
    rewards = np.diag([WEIGHT, 1.0, 1.0])
    trainer = make_trainer(tmp_path, rewards=rewards, scale_rewards=scale)
    golds = trainer._rows.gold
    rows = [list(golds).index(0), list(golds).index(1)]  # a common row, a rare one
    drawn = iter([0, 1, 2, 1, 1, 0, 2, 0])
    monkeypatch.setattr(np, "searchsorted", lambda *_, **__: next(drawn))
    inputs = [{"prompt": trainer._rows.texts[r], "row": r} for r in rows for _ in range(4)]
    trainer.model.train()
    advantages = trainer._generate_and_score_completions(inputs)["advantages"]
    assert float(advantages[0] / advantages[4]) == pytest.approx(ratio, rel=5e-3)
    assert float(advantages[4]) > 0 > float(advantages[5])
    if scale == "mean":
        assert advantages.tolist() == pytest.approx([3, -1, -1, -1, 3, -1, -1, -1]), "(r - mean r) / mean r"


def test_a_step_is_scaled_as_a_whole_however_many_passes_it_takes(tmp_path):
    """In "batch" the deviation is the step's: gradients do not depend on how many rows fit into memory."""
    grads = []
    for n_rows, n_forwards in ((4, 1), (2, 2)):
        changes = {"per_device_train_batch_size": n_rows, "gradient_accumulation_steps": n_forwards}
        trainer = make_trainer(
            tmp_path, "exact", rewards=np.diag([0.2, 1.0, 0.5]), scale_rewards="batch", num_generations=2, **changes
        )
        trainer.current_gradient_accumulation_steps = n_forwards
        for start in range(0, 4, n_rows):
            trainer._closed_loss(trainer._order[start : start + n_rows]).backward()
        grads.append(gradients(trainer.model))
    assert relative_difference(*grads) < 1e-5


@pytest.mark.parametrize("scale", ["group", "batch", "none", "mean"])
def test_rewards_of_rows_that_are_those_of_their_gold_labels_teach_the_same(tmp_path, scale):
    """And others teach something else: of each row its own line is taken, also where memory holds a part of a step."""
    matrix = np.array([[1.0, 0.2, 0.1], [0.0, 0.8, 0.4], [0.3, 0.1, 0.9]])
    gold = np.array([list(toy_task().names).index(row.label) for row in ROWS])
    settings = {"scale_rewards": scale, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}
    grads, values = [], []
    for asked in ({"rewards": matrix}, {"row_rewards": matrix[gold]}, {"row_rewards": matrix[gold][:, ::-1].copy()}):
        trainer = make_trainer(tmp_path, "exact", **asked, **settings, num_generations=2)
        trainer.current_gradient_accumulation_steps = 2
        for start in (0, 2):
            trainer._closed_loss(trainer._order[start : start + 2]).backward()
        grads.append(gradients(trainer.model))
        drawn = [list(trainer._rows.tree.options[row % 3]) for row in range(4)]
        values.append(trainer.label_reward([], [], drawn, list(range(4))))
    assert relative_difference(grads[0], grads[1]) < 1e-6
    assert relative_difference(grads[0], grads[2]) > 0.1
    assert values[0] == values[1] == [matrix[gold[row], row % 3] for row in range(4)]


# --- the starting point, and answers outside the tree ----------------------------------------------------------------


def choice_trainer(folder, mode, **changes):
    """Rows of two and three choices, so that one letter is missing from half of them."""
    tokenizer = tiny_tokenizer()
    engine = TransformersEngine(tiny_model(vocab_size=len(tokenizer), spread=0.1), tokenizer)
    task = Task("choices", "Choose.", max_choices=3)
    texts = [("what floats", ["stone", "wood"]), ("what is green", ["pool", "fence", "gate"])] * 3
    examples = [
        as_letters(Example(str(i), f"{text} {i}", choices[i % 2], tuple(choices)))
        for i, (text, choices) in enumerate(texts)
    ]
    rows = LabelRows.from_examples(examples, Prompt.for_task(task, engine.template), engine)
    asked = {k: changes.pop(k) for k in ASKED if k in changes}
    return LabelTreeTrainer(
        rows=rows,
        objective=Objective(mode, **asked),
        model=engine.model,
        args=make_args(folder, **changes),
        processing_class=tokenizer,
    )


@pytest.mark.parametrize("make", [make_trainer, choice_trainer])
@pytest.mark.parametrize("mode", ["exact", "sampled"])
def test_divergence_starts_at_zero_for_every_row_and_grows(tmp_path, make, mode):
    """Also where rows have letters of their own: 0.23 where the reference gave the missing ones probability."""
    settings = {"max_steps": 3, "logging_steps": 1, "per_device_train_batch_size": 4, "num_generations": 2}
    trainer = make(tmp_path, mode, beta=0.5, **settings)
    for row in (3, 0, 2):
        reference = trainer._sums(trainer._reference.of([row]), [row])
        torch.testing.assert_close(reference, trainer.label_scores([row]).detach(), atol=1e-4, rtol=1e-5)
    kept = trainer._reference.edges.clone()
    trainer.train()
    divergences = [entry["kl"] for entry in trainer.state.log_history if "kl" in entry]
    assert divergences[0] == pytest.approx(0, abs=1e-6)
    assert divergences[-1] > 1e-5
    torch.testing.assert_close(trainer._reference.edges, kept, rtol=0, atol=0)


def test_exact_divergence_is_that_of_each_row_from_its_own_start(tmp_path):
    """Hand-written over the padded computation, after the weights have moved, rows in another order than the table."""
    trainer = make_trainer(tmp_path, "exact", beta=0.5)
    with torch.no_grad():
        start = padded_scores(trainer).log_softmax(-1)
        for weights in trainer.model.parameters():
            weights.add_(0.02 * torch.randn(weights.shape, generator=torch.Generator().manual_seed(1)))
        now = padded_scores(trainer).log_softmax(-1)
    trainer.current_gradient_accumulation_steps = 1
    rows = [3, 0, 2]
    trainer._closed_loss(rows)
    expected = (now.exp() * (now - start)).sum(-1)[rows].mean()
    assert float(expected) > 1e-3
    assert trainer._metrics["train"]["kl"][-1] == pytest.approx(float(expected), rel=1e-3)


@pytest.mark.parametrize("n_forwards", [1, 2])
def test_sampled_validity_is_the_mass_on_the_labels_of_the_rollouts_rows(tmp_path, n_forwards):
    """Loss and gradient differ from those without it by -c times the mean logsumexp of the padded scores."""
    plain, valid = make_trainer(tmp_path), make_trainer(tmp_path, validity=0.3)
    inputs = [{"prompt": plain._rows.texts[r], "row": r} for r in range(len(ROWS)) for _ in range(4)]
    losses, grads = [], []
    for trainer in (plain, valid):
        trainer.current_gradient_accumulation_steps = n_forwards
        trainer.model.train()
        torch.manual_seed(3)
        loss = trainer._compute_loss(trainer.model, trainer._generate_and_score_completions(inputs))
        loss.backward()
        losses.append(loss.detach())
        grads.append(gradients(trainer.model))
    plain.model.zero_grad()
    expected = -0.3 * padded_scores(plain).logsumexp(-1).mean() / n_forwards
    expected.backward()
    assert float(losses[1] - losses[0]) == pytest.approx(float(expected.detach()), rel=1e-4)
    assert relative_difference(grads[1] - grads[0], gradients(plain.model)) < 1e-3


def test_letters_that_a_row_does_not_have_are_never_drawn(tmp_path):
    trainer = choice_trainer(tmp_path, "sampled")
    with torch.no_grad():  # the missing letter would be by far the most probable
        trainer._incidence[2] *= 0.01
    texts = [trainer._rows.texts[0]] * 50
    drawn = {tuple(ids) for ids in trainer.draw(texts)["completion_ids"]}
    assert trainer._rows.tree.options[2] not in drawn
    assert tuple(trainer._rows.tree.options[2]) in {
        tuple(ids) for ids in trainer.draw([trainer._rows.texts[1]] * 5)["completion_ids"]
    }


def test_points_of_a_row_are_read_once_and_learnt_as_if_each_were_alone(tmp_path, monkeypatch):
    """Losses and gradients of rows with several points, against every point with a reading of its own."""
    questions = [Question("topics", "labels", toy_task().labels), Question("urgent", "yes_no")]
    task = Task.asking("mail", "Read the mail.", questions)
    asked = [
        Example(f"{row.id} {point.name}", put(row.text, point), point.class_of(("yes", "no")[place % 2]))
        for row in ROWS[:4]
        for place, point in enumerate(task.points)
    ]
    read = []
    original = trainers.log_probs_in_chunks

    def counting(model, prefix, batch, *more, **others):
        read.append(len(batch))
        return original(model, prefix, batch, *more, **others)

    monkeypatch.setattr(trainers, "log_probs_in_chunks", counting)
    found = {}
    for shares in (True, False):
        tokenizer = tiny_tokenizer()
        model = tiny_model(vocab_size=len(tokenizer), spread=0.1)
        engine = TransformersEngine(model, tokenizer, settings=EngineSettings(unexpanded_mass=0))
        rows = LabelRows.from_examples(asked, Prompt.for_task(task, engine.template), engine)
        assert rows.present.sum(axis=1).tolist() == [2] * len(asked)
        trainer = LabelTreeTrainer(
            rows=replace(rows, shares_readings=shares),
            objective=Objective("cross_entropy"),
            model=model,
            args=make_args(tmp_path / str(shares), per_device_train_batch_size=4 if shares else len(asked)),
            processing_class=tokenizer,
        )
        trainer.current_gradient_accumulation_steps = 1
        read.clear()
        # Of a reading all is asked that is asked of it.
        met = list(trainer._readings)
        assert len(met) == (4 if shares else len(asked))
        assert sorted(trainer._order) == met
        loss = trainer._compute_loss(trainer.model, [{"row": row} for row in met])
        assert read == [len(met)]
        loss.backward()
        found[shares] = float(loss.detach()), gradients(trainer.model)
    assert found[True][0] == pytest.approx(found[False][0], abs=1e-5)
    assert relative_difference(found[True][1], found[False][1]) < 1e-4
