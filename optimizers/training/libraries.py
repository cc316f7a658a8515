"""What TRL and PEFT are told: a stage's settings in their words, and where their defaults do not fit label trees."""

from __future__ import annotations

import logging
import os
from typing import Any

from labelwright.errors import ModelError
from optimizers.stage import StageContext
from optimizers.training.settings import Objective, TrainingSettings

# The last two checkpoints: one to resume from, and the one before in case the newest is half written.
CHECKPOINTS_KEPT = 2


def grpo_config(
    stage: TrainingSettings,
    objective: Objective,
    context: StageContext,
    *,
    autocast: bool,
    on_cpu: bool,
    n_answer_tokens: int,
) -> Any:
    """TRL's settings for a stage, on one device."""
    from trl import GRPOConfig

    # TRL prints a notice about rollout functions being experimental on every start.
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    for chatty in ("trl", "transformers.trainer", "accelerate"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    # TRL counts rollouts. Elsewhere a row is one item, and the group size only has to pass TRL's checks: a generation
    # of two steps' rows is a multiple of two.
    sampled = objective.mode == "sampled"
    n_forwards = stage.rows_per_step // stage.rows_at_once
    config = GRPOConfig(
        output_dir=str(context.folder / "checkpoints"),
        max_steps=stage.steps,
        per_device_train_batch_size=stage.rows_at_once * (objective.n_rollouts if sampled else 1),
        gradient_accumulation_steps=n_forwards,
        num_generations=objective.n_rollouts if sampled else 2,
        steps_per_generation=n_forwards * (1 if sampled else 2),
        max_completion_length=n_answer_tokens,
        learning_rate=stage.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=int(stage.warmup_share * stage.steps),
        max_grad_norm=stage.max_grad_norm,
        beta=0.0,  # the trainer's, not TRL's
        loss_type=objective.loss_type,
        # "mean" is not TRL's: the trainer divides what TRL leaves as it is.
        scale_rewards="none" if objective.scale_rewards == "mean" else objective.scale_rewards,
        use_cpu=on_cpu,
        bf16=autocast,
        gradient_checkpointing=False,
        logging_steps=1,
        save_strategy="steps",
        save_steps=stage.eval_every,
        save_total_limit=CHECKPOINTS_KEPT,
        seed=context.seed,
        report_to=[],
        disable_tqdm=True,
        dataloader_num_workers=0,
    )
    if config.n_gpu > 1:
        # transformers spreads a model over all GPUs that it sees (DataParallel), which TRL refuses; this is how it
        # leaves a model alone that it may not spread.
        config._n_gpu = 1
    return config


def lora_config(stage: TrainingSettings, model: Any) -> Any:
    """PEFT's settings for a stage's adapter: every linear layer of the model's upper blocks, and nothing else.

    What looks at images stays as it is.

    Raises
    ------
    ModelError
        A share of its layers is asked for, and it has no list of them.
    """
    from peft import LoraConfig

    return LoraConfig(
        r=stage.lora_rank,
        lora_alpha=stage.lora_alpha,
        target_modules="all-linear",
        exclude_modules=[*_below(model, stage.lora_layers), *_outside_decoder(model)] or None,
        lora_dropout=stage.lora_dropout,
        task_type="CAUSAL_LM",
    )


def _below(model: Any, share: float) -> list[str]:
    """Names of the modules in the blocks below the upper ``share`` of them."""
    from labelwright.engines.packed.lower import blocks_of

    if share >= 1:
        return []
    found = blocks_of(model)
    if found is None:
        raise ModelError(
            f"lora_layers = {share:g}: {type(model).__name__} keeps its layers in no list of which an upper share "
            "could be taken; set lora_layers = 1.0"
        )
    blocks, layers = found
    n_below = len(layers) - max(1, round(share * len(layers)))
    # PEFT's own layers_to_transform cannot stand beside "all-linear".
    below = tuple(f"{blocks}.{number}." for number in range(n_below))
    return [name for name, _ in model.named_modules() if name.startswith(below)]


def _outside_decoder(model: Any) -> list[str]:
    """Names of the modules of a vision-language model that are no part of its decoder; none of a model of text."""
    if not hasattr(model.config, "vision_config"):
        return []
    decoder = model.get_decoder()
    place = next(name for name, module in model.named_modules() if module is decoder)
    return [name for name, _ in model.named_modules() if name and not f"{name}.".startswith(f"{place}.")]


def keep_activations_small(model: Any) -> None:
    """Stop PEFT from copying every layer's input to float32; autocast takes the adapter to bfloat16 instead."""
    for module in model.modules():
        if hasattr(module, "cast_input_dtype_enabled") or hasattr(module, "lora_A"):
            module.cast_input_dtype_enabled = False
