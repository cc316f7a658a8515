"""What a process does that helps another one train: wait, take its share of a training, wait again.

The command line calls ``serve`` in every process but the first. Every process has the whole model and takes its own
rows of each step; gradients are averaged between the backward pass and the step, by accelerate.
"""

from __future__ import annotations

from pathlib import Path

from labelwright.models.loading import load_tokenizer
from optimizers.training.libraries import open_trainer
from optimizers.training.processes.group import END, Group
from optimizers.training.processes.job import read_job


def serve(group: Group) -> int:
    """Help with every training of the first process until that ends; returns the exit status.

    Raises
    ------
    ModelError
        Another process has ended in the middle of a training.
    """
    while True:
        with group.at_work():
            said = group.said_by_first()
            if said == END:
                break
            job, checkpoint = read_job(Path(said))
            trainer = open_trainer(job, load_tokenizer(job.weights), group)
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
            del trainer
    group.leave()
    return 0
