"""What TRL and PEFT are told: a stage's settings in their words, and where their defaults do not fit label trees.

``open_trainer`` makes the trainer of a training, alike in every process that takes part in it.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

from labelwright.errors import ModelError, RecipeError
from optimizers.stage import StageContext
from optimizers.training.processes.group import LONGEST_WAIT, Group
from optimizers.training.processes.sharding import shard
from optimizers.training.settings import Objective, TrainingSettings, dealt, whole_weights
from optimizers.training.weights import for_training

if TYPE_CHECKING:
    from labelwright.engines.images.reader import ImageReader
    from optimizers.training.processes.job import Job

# The last two checkpoints: one to resume from, and the one before in case the newest is half written.
CHECKPOINTS_KEPT = 2


def open_trainer(job: Job, tokenizer: Any, group: Group, images: ImageReader | None = None) -> Any:
    """The LabelTreeTrainer of a training, with the model loaded on this process's device.

    Parameters
    ----------
    images : ImageReader, optional
        Where rows have images, what looks at them.
    """
    from transformers import PrinterCallback

    from optimizers.training.trainer import LabelTreeTrainer

    stage, rows = job.stage, job.rows
    if group.sharded and stage.trains_all:
        raise RecipeError(whole_weights(stage.name))
    if group.size > 1 and rows.images:
        raise ModelError("rows with images are trained on by one process: leave `accelerate launch` out")
    args = grpo_config(
        stage,
        job.objective,
        job,
        autocast=job.dtype == "bfloat16",
        on_cpu=job.device.split(":")[0] == "cpu",
        n_answer_tokens=max(map(len, rows.tree.options)),
        n_processes=group.size,
    )
    # What is sharded need not fit on a device: it lies in the processor's memory until it is.
    model = for_training(job.weights, "cpu" if group.sharded else str(args.device), job.dtype, stage.trains_all)
    if group.sharded:
        shard(model, args.device)
    # What looks at images has no part in rows of text; else all that is trained takes part in every pass.
    args.ddp_find_unused_parameters = hasattr(model.config, "vision_config")
    trainer = LabelTreeTrainer(
        model=model,
        rows=rows,
        objective=job.objective,
        images=images and images.with_model(model),
        args=args,
        processing_class=tokenizer,
        peft_config=None if stage.trains_all else lora_config(stage, model),
    )
    keep_activations_small(trainer.model)
    trainer.remove_callback(PrinterCallback)
    return trainer


def grpo_config(
    stage: TrainingSettings,
    objective: Objective,
    context: StageContext | Job,
    *,
    autocast: bool,
    on_cpu: bool,
    n_answer_tokens: int,
    n_processes: int = 1,
) -> Any:
    """TRL's settings for a stage, on one device of each process; the context says where, and with which seed.

    Raises
    ------
    RecipeError
        The rows of a step cannot be dealt to the processes evenly.
    """
    from trl import GRPOConfig

    # TRL prints a notice about rollout functions being experimental on every start.
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    for chatty in ("trl", "transformers.trainer", "accelerate"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    # TRL counts rollouts. Elsewhere a row is one item, and the group size only has to pass TRL's checks: a generation
    # of two steps' rows is a multiple of two.
    sampled = objective.mode == "sampled"
    at_once, n_forwards = dealt(stage, n_processes)
    config = GRPOConfig(
        output_dir=str(context.folder / "checkpoints"),
        max_steps=stage.steps,
        per_device_train_batch_size=at_once * (objective.n_rollouts if sampled else 1),
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
        # A model's buffers are constants; to send them before every pass would make passes without gradients wait.
        ddp_broadcast_buffers=False,
        ddp_timeout=int(LONGEST_WAIT.total_seconds()),
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
