"""What a process does that helps another one train: wait, take its share of a training, wait again.

The command line calls ``serve`` in every process but the first. Every process has the whole model, or its share of each
layer, and takes its own rows of each step; gradients are averaged between the backward pass and the step.
"""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

from labelwright.engines.packed.memory import give_back, is_out_of_memory
from labelwright.models.loading import load_tokenizer
from optimizers.training.libraries import open_trainer
from optimizers.training.processes.group import END, Group
from optimizers.training.processes.job import read_job
from optimizers.training.processes.sharding import follow
from optimizers.training.settings import TrainingSettings


def serve(group: Group) -> int:
    """Help with every training of the first process until that ends; returns the exit status.

    Raises
    ------
    ModelError
        Another process has ended in the middle of a training, or this one has no memory for its share.
    """
    while True:
        with group.as_member():
            said = group.said_by_first()
            if said == END:
                break
            _take_part(Path(said), group)
    group.leave()
    return 0


def _take_part(folder: Path, group: Group) -> None:
    """Its share of the training in a stage's folder. ModelError where this process has no memory for it."""
    job, checkpoint = read_job(folder)
    trainer: Any = None
    try:
        trainer = open_trainer(job, load_tokenizer(job.weights), group)
        if group.sharded:
            trainer.add_callback(_follow(job.stage, trainer, group))
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise job.short_of_memory(group.size) from error
    finally:
        # A trainer holds itself in circles, and would lie beside the next stage's.
        trainer = None
        gc.collect()
        give_back(job.device)


def _follow(stage: TrainingSettings, trainer: Any, group: Group) -> Any:
    """Lend this process's share of the layers, whenever the first process looks at dev."""
    from transformers import TrainerCallback

    class Follow(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if stage.looks_at_dev(state.global_step):
                with trainer.accelerator.autocast():
                    follow(trainer.model.get_base_model(), group)

    return Follow()
