"""One GRPO step over the label tree against one of TRL's own trainer, on the same rows, model and LoRA."""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from transformers import PrinterCallback, TrainerCallback

from bench.scoring.labels import BANKING77, banking77_names, with_labels
from bench.scoring.packing import NEW_TOKENS
from bench.setting import SEED, Setting
from bench.timing import Measurement, Side, pairwise, ratio, take_turns
from labelwright.models.loading import load_model
from optimizers.training.grpo import GrpoStage
from optimizers.training.libraries import keep_activations_small, lora_config
from optimizers.training.rows import LabelRows
from optimizers.training.settings import Objective

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

STEP_GOAL = 30.0
# The length that the prompt's prefix is brought to, in tokens.
PREFIX_TOKENS = 150
# Sequences in one of TRL's forward passes: more of them do not fit into memory.
TRL_FORWARD = 16
# Rows from which TRL's sampler draws; the same ones come first in every round and on every side.
POOL_ROWS = 64


class StepClock(TrainerCallback):
    """Seconds of a trainer's last step, generation, loss, gradients and update included."""

    def __init__(self) -> None:
        self.seconds = float("nan")
        self._started = 0.0

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        """The rows are chosen; everything else is still to do."""
        _wait_for_gpu()
        self._started = time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """The weights are updated."""
        _wait_for_gpu()
        self.seconds = time.perf_counter() - self._started


def _wait_for_gpu() -> None:
    """A GPU does later what it was told; without one nothing is."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def grpo_step_vs_trl(
    setting: Setting,
    n_rows: int = 16,
    n_rollouts: int = 8,
    rounds: int = 3,
    prefix_tokens: int = PREFIX_TOKENS,
    generator: dict[str, Any] | None = None,
) -> Measurement:
    """Seconds a step of TRL's trainer as it comes over ours in "sampled" mode; "exact" is measured beside them.

    ``generator`` is what TRL is told besides of who generates: vLLM in its process, say.

    TRL generates freely, at most ``NEW_TOKENS`` a rollout: that is generous, its default is 512. Its forward passes
    hold ``TRL_FORWARD`` sequences, gradients accumulated; ours hold all rows.
    """
    from trl import GRPOTrainer

    from optimizers.training.trainer import LabelTreeTrainer

    setting = with_prefix(setting, prefix_tokens)
    examples = setting.examples[:POOL_ROWS]
    rows = LabelRows.from_examples(examples, setting.prompt, setting.engine)
    stock_rewards: list[float] = []

    def label_match(completions: list[str], gold: list[str], **_: Any) -> list[float | None]:
        values = [float(text.strip() == name) for text, name in zip(completions, gold, strict=True)]
        stock_rewards.extend(values)
        return [*values]

    n_answer = max(map(len, rows.tree.options))
    with tempfile.TemporaryDirectory() as folder:
        n_items = n_rows * n_rollouts
        plain = {"attention": "sdpa", "forward": TRL_FORWARD, **(generator or {})}
        stock = GRPOTrainer(
            reward_funcs=label_match,
            train_dataset=rows.dataset().add_column("gold", [example.label for example in examples]),
            **_shared(setting, Path(folder), n_items, n_rollouts, NEW_TOKENS, **plain),
        )
        sampled = LabelTreeTrainer(
            rows=rows,
            objective=Objective("sampled", n_rollouts=n_rollouts),
            **_shared(setting, Path(folder), n_items, n_rollouts, n_answer),
        )
        # In exact mode a row is one item; the group size only has to pass TRL's checks.
        exact = LabelTreeTrainer(
            rows=rows, objective=Objective("exact"), **_shared(setting, Path(folder), n_rows, n_rows, n_answer)
        )
        for ours in (sampled, exact):
            keep_activations_small(ours.model)  # as the stage does; TRL's own generation would not run with it
        calls = {name: step_of(trainer) for name, trainer in (("trl", stock), ("sampled", sampled), ("exact", exact))}
        take_turns({name: call for name, call in calls.items() if name != "trl"}, 1)  # warm-up; TRL's step is long
        taken = take_turns(calls, rounds)
    to_exact = pairwise(taken["trl"], taken["exact"])
    return ratio(
        "grpo_step_vs_trl",
        pairwise(taken["trl"], taken["sampled"]),
        goal=STEP_GOAL,
        sides={name: Side("s/step", tuple(values)) for name, values in taken.items()},
        facts={
            "rows_per_step": n_rows,
            "rollouts_per_row": n_rollouts,
            "prefix_tokens": len(rows.prefix),
            "trl_max_completion_length": NEW_TOKENS,
            "trl_mean_reward": float(np.mean(stock_rewards)),
            "trl_over_exact": {"median": median(to_exact), "min": min(to_exact), "max": max(to_exact)},
            "lora_rank": GrpoStage().lora_rank,
            "dtype": str(setting.engine.model.dtype).removeprefix("torch."),
        },
    )


def grpo_step_growth(setting: Setting, n_rows: int = 16, rounds: int = 3) -> Measurement:
    """Seconds of our own step, in both modes, as rollouts, labels and prefix grow; the value is 16 rollouts over 4.

    One thing changes at a time; the others are 8 rollouts, the recipe's labels and ``PREFIX_TOKENS``.
    """
    labels = with_labels(setting, banking77_names(), "name") if BANKING77.is_file() else None
    calls: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, one, n_rollouts, n_prefix in (
            ("4 rollouts", setting, 4, PREFIX_TOKENS),
            ("8 rollouts", setting, 8, PREFIX_TOKENS),
            ("16 rollouts", setting, 16, PREFIX_TOKENS),
            ("exact", setting, 0, PREFIX_TOKENS),
            ("exact, prefix 100", setting, 0, 100),
            ("exact, prefix 400", setting, 0, 400),
            *([("exact, 77 labels", labels, 0, 0)] if labels else []),
        ):
            calls[name] = _our_step(with_prefix(one, n_prefix), Path(folder), n_rows, n_rollouts)
        take_turns(calls, 1)
        taken = take_turns(calls, rounds)
    return ratio(
        "grpo_step_growth",
        pairwise(taken["16 rollouts"], taken["4 rollouts"]),
        sides={name: Side("s/step", tuple(values)) for name, values in taken.items()},
        facts={"rows_per_step": n_rows, "prefix_tokens": PREFIX_TOKENS},
    )


def with_prefix(setting: Setting, n_tokens: int) -> Setting:
    """The same setting with instructions lengthened until the prompt's prefix has about so many tokens."""
    prompt = setting.prompt

    def length() -> int:
        return len(setting.engine.tokens.prefix(prompt.render("")))

    words = 0
    while length() < n_tokens:
        words += 1
        prompt = setting.prompt.with_instructions(setting.prompt.instructions + " Take care." * words)
    return replace(setting, prompt=prompt)


def _our_step(setting: Setting, folder: Path, n_rows: int, n_rollouts: int) -> Any:
    """A call that takes one step and returns its seconds: sampled, or exact without rollouts."""
    from optimizers.training.trainer import LabelTreeTrainer

    examples = [
        replace(example, label=setting.task.names[i % len(setting.task.names)])
        for i, example in enumerate(setting.examples[:POOL_ROWS])
    ]
    rows = LabelRows.from_examples(examples, setting.prompt, setting.engine)
    n_items = n_rows * n_rollouts or n_rows
    trainer = LabelTreeTrainer(
        rows=rows,
        objective=Objective("sampled", n_rollouts=n_rollouts) if n_rollouts else Objective("exact"),
        **_shared(setting, folder, n_items, n_rollouts or n_rows, max(map(len, rows.tree.options))),
    )
    keep_activations_small(trainer.model)
    return step_of(trainer)


def step_of(trainer: Any) -> Any:
    """A call that takes one step and returns its seconds."""
    trainer.remove_callback(PrinterCallback)
    clock = StepClock()
    trainer.add_callback(clock)

    def step() -> float:
        trainer.train()
        return clock.seconds

    return step


def _shared(
    setting: Setting,
    folder: Path,
    n_items: int,
    group: int,
    n_new_tokens: int,
    attention: str | None = None,
    forward: int | None = None,
    **more: Any,
) -> dict[str, Any]:
    """What all sides have in common: a model of their own, the LoRA, the settings of one step, and ``more`` of them."""
    from trl import GRPOConfig

    engine = setting.engine
    dtype = str(engine.model.dtype).removeprefix("torch.")
    model = load_model(setting.weights, str(engine.device), dtype)
    if attention:
        model.set_attn_implementation(attention)
    stage = GrpoStage()
    args = GRPOConfig(
        output_dir=str(folder),
        max_steps=1,
        per_device_train_batch_size=min(n_items, forward or n_items),
        gradient_accumulation_steps=n_items // min(n_items, forward or n_items),
        num_generations=max(group, 2),
        max_completion_length=n_new_tokens,
        temperature=1.0,
        # TRL's default: so small that every round finds the model as the one before did.
        learning_rate=1e-6,
        loss_type=stage.loss_type,
        max_grad_norm=stage.max_grad_norm,
        use_cpu=engine.device.type == "cpu",
        bf16=dtype == "bfloat16",
        gradient_checkpointing=False,
        logging_strategy="no",
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        dataloader_num_workers=0,
        seed=SEED,
        **more,
    )
    lora = lora_config(stage, model)
    return {"model": model, "args": args, "processing_class": engine.tokenizer, "peft_config": lora}
