"""The sft stage: supervised fine-tuning of the weights on the closed set, chosen on dev, resumable.

The loss is ``losses.cross_entropy_loss``, the log-probability of the gold label among the labels, by the packed label
tree that GRPO trains on too. A student learns a teacher's probabilities of rows without labels by the same loss. Owns
the settings that it has beyond those of every training; one run with its files is ``loop``. ``bench/training/sft.py``
compares it with TRL's SFTTrainer.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, replace
from typing import Annotated, ClassVar

from labelwright.bundle.types import Bundle
from labelwright.data.task import Splits
from labelwright.settings import BELOW_ONE, Range
from optimizers.stage import StageContext
from optimizers.training.loop import Training
from optimizers.training.settings import Objective, TrainingSettings, n_copies


@dataclass(frozen=True)
class SftStage(TrainingSettings):
    """Tune the weights on the gold labels of the train rows. Settings of the recipe's ``[sft]`` table.

    Works for label names, codes, and rows that bring their own choices. Where the context has a teacher's rows they are
    learnt beside the train rows, each as often.

    Attributes
    ----------
    epochs : int
        Above 0: passes over the rows that are learnt, copies among them, in place of ``steps``.
    label_smoothing : float
        Share of the target that is spread over all labels.
    """

    name: ClassVar[str] = "sft"
    learns_soft: ClassVar[bool] = True

    epochs: Annotated[int, Range(0, 10_000)] = 0
    label_smoothing: Annotated[float, BELOW_ONE] = 0.0

    def run(self, bundle: Bundle, splits: Splits, context: StageContext) -> Bundle:
        """Train, keep the step that is best on dev, and return it if it beats the given bundle there."""
        started = time.perf_counter()
        stage, soft = self, context.soft
        n_soft = 0 if soft is None else len(soft.texts)
        if self.epochs:
            # All points of a row are met together.
            n_read = len({bundle.prompt.read_of(row.text) for row in splits.train}) if bundle.prompt.points else 0
            n_rows = (
                (n_read or len(splits.train))
                + sum(n_copies(len(splits.train), self.steering_share, self.augment))
                + n_soft
            )
            stage = replace(self, steps=max(math.ceil(self.epochs * n_rows / self.rows_per_step), 1))
        context.tracker.params(asdict(stage))
        objective = Objective("cross_entropy", self.validity, label_smoothing=self.label_smoothing, soft=soft)
        training = Training.prepare(stage, objective, bundle, splits, context)
        training.run()
        return training.settled(asdict(stage), started, {"n_taught": n_soft} if n_soft else {})
