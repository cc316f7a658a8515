"""DPO over the label tree is held to TRL's DPOTrainer: repeated, padded prompts and a second model as the reference."""

from __future__ import annotations

import pytest
import torch
from datasets import Dataset
from fakes import toy_splits, toy_task
from tiny import tiny_model, tiny_tokenizer
from trl import DPOConfig, DPOTrainer, GRPOConfig

from labelwright.engines.settings import EngineSettings
from labelwright.engines.transformers import TransformersEngine
from labelwright.prompt import Prompt
from optimizers.training.dpo import LOSS_TYPES
from optimizers.training.preferences.pair_loss import LOGGED
from optimizers.training.rows import LabelRows
from optimizers.training.settings import Objective, Preferences
from optimizers.training.trainer import LabelTreeTrainer

ROWS = toy_splits().train[::9]
# Two pairs of a row, one of the next; names have one to three tokens, so that lengths count.
PAIRS = ((0, 0, 1), (0, 0, 2), (1, 1, 2), (2, 2, 0), (3, 1, 0))
SHARED = {"use_cpu": True, "bf16": False, "gradient_checkpointing": False, "report_to": [], "disable_tqdm": True}
TOKENIZER = tiny_tokenizer()


def model(moved=0.0):
    """The tiny model, or the same after a step that an update might have taken."""
    made = tiny_model(vocab_size=len(TOKENIZER), spread=0.1)
    if moved:
        torch.manual_seed(7)
        with torch.no_grad():
            for weights in made.parameters():
                weights += moved * torch.randn_like(weights)
    return made


def move(trainer):
    with torch.no_grad():
        for weights, others in zip(trainer.model.parameters(), model(0.02).parameters(), strict=True):
            weights.copy_(others)


def ours(folder, per_forward=4, n_forwards=1, **settings):
    engine = TransformersEngine(model(), TOKENIZER, settings=EngineSettings(unexpanded_mass=0))
    rows = LabelRows.from_examples(ROWS[:4], Prompt.for_task(toy_task(), engine.template, style="name"), engine)
    validity = settings.pop("validity", 0.0)
    settings.setdefault("beta", 0.1)  # TRL's default
    trainer = LabelTreeTrainer(
        rows=rows,
        objective=Objective("preference", validity, preferences=Preferences(PAIRS, **settings)),
        model=engine.model,
        args=GRPOConfig(
            str(folder),
            max_steps=1,
            per_device_train_batch_size=per_forward,
            gradient_accumulation_steps=n_forwards,
            num_generations=2,
            **SHARED,
        ),
        processing_class=TOKENIZER,
    )
    trainer.current_gradient_accumulation_steps = n_forwards
    trainer.model.train()
    move(trainer)
    return trainer


class Tokens(DPOTrainer):
    """TRL's trainer on pairs that are tokens already; all else is its own."""

    def _prepare_dataset(self, dataset, *_):
        return dataset


def trls(folder, rows, **settings):
    """TRL's trainer and its one batch of all pairs."""
    weight = settings.pop("sft_weight", 0.0)
    kind = settings.pop("loss_type", "sigmoid")
    kinds = {"loss_type": [kind, "sft"], "loss_weights": [1.0, weight]} if weight else {"loss_type": [kind]}
    pairs = {
        "prompt_ids": [[*rows.prefix, *rows.rows[row]] for row, _, _ in PAIRS],
        "chosen_ids": [list(rows.tree.options[chosen]) for _, chosen, _ in PAIRS],
        "rejected_ids": [list(rows.tree.options[rejected]) for _, _, rejected in PAIRS],
    }
    trainer = Tokens(
        model=model(),
        ref_model=model(),
        args=DPOConfig(str(folder), max_length=None, max_steps=1, **kinds, **settings, **SHARED),
        train_dataset=Dataset.from_dict(pairs),
        processing_class=TOKENIZER,
    )
    trainer.model.train()
    move(trainer)
    lines = [{key: values[i] for key, values in pairs.items()} for i in range(len(PAIRS))]
    return trainer, trainer.data_collator(lines)


def gradients(made):
    return torch.cat([p.grad.flatten() for p in made.parameters() if p.grad is not None])


def loss_and_gradients(trainer, losses):
    trainer.model.zero_grad()
    loss = sum(one() for one in losses) if callable(losses[0]) else losses[0]
    loss.backward()
    return float(loss.detach()), gradients(trainer.model)


SETTINGS = [{"loss_type": one} for one in LOSS_TYPES if one != "robust"]
SETTINGS += [{"loss_type": "robust", "label_smoothing": 0.1}, {"beta": 0.5, "sft_weight": 0.3}]


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda one: ", ".join(map(str, one.values())))
def test_loss_gradients_and_numbers_are_those_of_trls_trainer(tmp_path, settings):
    packed = ours(tmp_path, **settings)
    stock, batch = trls(tmp_path, packed._rows, **settings)
    mine = loss_and_gradients(packed, [lambda: packed._compute_loss(packed.model, [{"row": r} for r in range(4)])])
    theirs = loss_and_gradients(stock, [lambda: stock._compute_loss(stock.model, batch, False)])
    assert mine[0] == pytest.approx(theirs[0], rel=1e-4)
    assert float((mine[1] - theirs[1]).abs().max() / theirs[1].abs().max()) < 1e-4
    assert theirs[1].abs().max() > 0
    for name in LOGGED:
        found, expected = packed._metrics["train"][name][-1], stock._metrics["train"][name][-1]
        assert found == pytest.approx(expected, rel=1e-3, abs=1e-5), name
    assert packed._metrics["train"]["kl"][-1] > 0


def test_a_step_means_over_its_pairs_however_many_rows_fit_into_memory(tmp_path):
    """Row 0 has two pairs: a mean of the passes' means would count its pairs less."""
    at_once = ours(tmp_path, validity=0.3)
    order = at_once._order
    whole = loss_and_gradients(at_once, [lambda: at_once._compute_loss(None, [{"row": r} for r in order])])
    parts = ours(tmp_path, per_forward=1, n_forwards=4, validity=0.3)
    assert parts._order == order
    one_by_one = loss_and_gradients(parts, [lambda r=r: parts._compute_loss(None, [{"row": r}]) for r in order])
    assert one_by_one[0] == pytest.approx(whole[0], rel=1e-4)
    assert float((one_by_one[1] - whole[1]).abs().max() / whole[1].abs().max()) < 1e-3


def test_the_reference_is_where_the_training_began(tmp_path):
    trainer = ours(tmp_path)
    with torch.no_grad():
        for weights, first in zip(trainer.model.parameters(), model().parameters(), strict=True):
            weights.copy_(first)
    trainer._compute_loss(trainer.model, [{"row": r} for r in range(4)])
    told = trainer._metrics["train"]
    assert [told[name][-1] for name in ("rewards/chosen", "rewards/margins", "kl")] == pytest.approx([0] * 3, abs=1e-4)
