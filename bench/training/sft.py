"""Supervised fine-tuning over the label tree against TRL's SFTTrainer: seconds a step, dev accuracy after as many."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import RandomSampler

from bench.setting import SEED, Setting
from bench.timing import Measurement, Side, pairwise, ratio, take_turns
from bench.training.grpo_step import step_of
from labelwright.data.task import Example, group_keys
from labelwright.decide import calibrated
from labelwright.engines.transformers import TransformersEngine
from labelwright.models.loading import load_model
from labelwright.statistics.calibration import UNCALIBRATED
from labelwright.statistics.metrics import accuracy, log_loss
from optimizers.training.libraries import keep_activations_small, lora_config
from optimizers.training.rows import LabelRows
from optimizers.training.settings import Objective
from optimizers.training.sft import SftStage
from optimizers.training.trainer import LabelTreeTrainer

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

# Enough for both to level off on the shipped rows.
STEPS = 60
# The share of the setting's groups that is kept aside to measure accuracy on.
DEV_SHARE = 0.18


def sft_vs_trl(setting: Setting, n_rows: int = 16, rounds: int = 3, steps: int = STEPS) -> Measurement:
    """Seconds a step of TRL's SFTTrainer over those of the sft stage's trainer; accuracies are facts.

    Both get the same model, LoRA, optimiser, schedule, and the same rows in the same order. TRL repeats the whole
    prompt for every row, pads, and takes the cross-entropy of the answer's tokens over the vocabulary; ours shares the
    prefix and takes that of the label among the labels. Both are scored on the same rows, over the closed set.
    """
    train, dev = _apart(setting.examples)
    for chatty in ("trl", "transformers.trainer", "accelerate"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        makers = {"trl": _trl, "ours": _ours}
        timed = {
            name: step_of(make(setting, train, Path(folder), n_rows, steps=1, learning_rate=1e-6))
            for name, make in makers.items()
        }
        take_turns(timed, 1)
        taken = take_turns(timed, rounds)
        del timed
        reached: dict[str, Any] = {}
        for name, make in makers.items():
            trainer = make(setting, train, Path(folder), n_rows, steps, SftStage().learning_rate)
            trainer.train()
            reached[name] = _dev_numbers(trainer, setting, dev)
    return ratio(
        "sft_vs_trl",
        pairwise(taken["trl"], taken["ours"]),
        goal=1.0,
        sides={name: Side("s/step", tuple(values)) for name, values in taken.items()},
        facts={
            "rows_per_step": n_rows,
            "steps": steps,
            "train_rows": len(train),
            "dev_rows": len(dev),
            "dev_untuned": _numbers(setting.engine, setting, dev),
            **{f"dev_{name}": numbers for name, numbers in reached.items()},
            "learning_rate": SftStage().learning_rate,
            "lora_rank": SftStage().lora_rank,
            "dtype": str(setting.engine.model.dtype).removeprefix("torch."),
        },
    )


def _ours(
    setting: Setting, train: tuple[Example, ...], folder: Path, n_rows: int, steps: int, learning_rate: float
) -> Any:
    from trl import GRPOConfig

    rows = LabelRows.from_examples(train, setting.prompt, setting.engine)
    model = _fresh_model(setting)
    trainer = LabelTreeTrainer(
        model=model,
        rows=rows,
        objective=Objective("cross_entropy"),
        # A row is one item; the group size only has to pass TRL's checks.
        args=GRPOConfig(num_generations=n_rows, beta=0.0, **_shared(setting, folder, n_rows, steps, learning_rate)),
        processing_class=setting.engine.tokenizer,
        peft_config=lora_config(SftStage(), model),
    )
    keep_activations_small(trainer.model)
    return trainer


def _trl(
    setting: Setting, train: tuple[Example, ...], folder: Path, n_rows: int, steps: int, learning_rate: float
) -> Any:
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    class InOurOrder(SFTTrainer):
        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            return RandomSampler(range(len(train)), generator=torch.Generator().manual_seed(self.args.seed))

    answers = dict(zip(setting.task.names, setting.prompt.options, strict=True))
    rendered = setting.prompt.render_all([example.text for example in train])
    rows = {
        "prompt": [one.text for one in rendered],
        "completion": [answers[example.label] + setting.prompt.template.end_of_turn for example in train],
    }
    model = _fresh_model(setting)
    model.set_attn_implementation("sdpa")
    return InOurOrder(
        model=model,
        train_dataset=Dataset.from_dict(rows),
        args=SFTConfig(
            max_length=None,
            completion_only_loss=True,
            **_shared(setting, folder, n_rows, steps, learning_rate),
        ),
        processing_class=setting.engine.tokenizer,
        peft_config=lora_config(SftStage(), model),
    )


def _fresh_model(setting: Setting) -> Any:
    dtype = str(setting.engine.model.dtype).removeprefix("torch.")
    return load_model(setting.weights, str(setting.engine.device), dtype)


def _shared(setting: Setting, folder: Path, n_rows: int, steps: int, learning_rate: float) -> dict[str, Any]:
    """Settings of a trainer that both sides have."""
    return {
        "output_dir": str(folder),
        "max_steps": steps,
        "per_device_train_batch_size": n_rows,
        "gradient_accumulation_steps": 1,
        "learning_rate": learning_rate,
        "lr_scheduler_type": "linear",
        "warmup_steps": int(SftStage().warmup_share * steps),
        "max_grad_norm": SftStage().max_grad_norm,
        "use_cpu": setting.engine.device.type == "cpu",
        "bf16": setting.engine.model.dtype == torch.bfloat16,
        "gradient_checkpointing": False,
        "logging_strategy": "no",
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "seed": SEED,
    }


def _apart(examples: Sequence[Example]) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """Rows to train on and rows to measure on; groups stay whole."""
    keys = group_keys(examples)
    groups = list(dict.fromkeys(keys))
    aside = set(groups[: max(1, round(DEV_SHARE * len(groups)))])
    held = [key in aside for key in keys]
    train = tuple(example for example, out in zip(examples, held, strict=True) if not out)
    return train, tuple(example for example, out in zip(examples, held, strict=True) if out)


def _dev_numbers(trainer: Any, setting: Setting, dev: tuple[Example, ...]) -> dict[str, float]:
    """Accuracy and log loss of a trainer's live weights over the closed set."""
    trainer.model.eval()
    engine = TransformersEngine(trainer.model.get_base_model(), setting.engine.tokenizer)
    with trainer.accelerator.autocast():
        return _numbers(engine, setting, dev)


def _numbers(engine: Any, setting: Setting, dev: tuple[Example, ...]) -> dict[str, float]:
    probs = calibrated(setting.prompt, UNCALIBRATED, engine, [example.text for example in dev])
    gold = np.array([setting.task.index(example.label) for example in dev])
    return {"accuracy": float(accuracy(probs, gold)), "log_loss": float(log_loss(probs, gold))}
