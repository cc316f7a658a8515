"""The sft stage: supervised fine-tuning of the weights on the closed set, chosen on dev, resumable.

Loss: -ln softmax_k(s_k)[gold], the cross-entropy of the gold label among the labels, by the packed label tree that GRPO
trains on too. Owns the settings. One training run with its files is in ``training``, the loss in
``label_tree_trainer``. ``bench/training/sft.py`` compares it with TRL's SFTTrainer.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, fields, replace
from typing import Annotated, ClassVar

from labelwright.bundle.types import Bundle
from labelwright.data.task import Splits
from labelwright.errors import RecipeError
from labelwright.settings import Range, check
from optimizers.stage import StageContext
from optimizers.training.loop import Objective, Training, check_settings


@dataclass(frozen=True)
class SftStage:
    """Tune the weights on the gold labels of the train rows.

    Works for label names, codes, and rows that bring their own choices.

    Attributes
    ----------
    steps : int
        Optimizer steps.
    epochs : int
        Above 0: passes over the train rows, in place of ``steps``.
    rows_per_step : int
        Training rows a step.
    rows_per_forward : int
        Most rows whose activations are in memory at once; divides ``rows_per_step`` where that is larger. Gradients add
        up over the step, and the prefix is read once a pass: fewer passes are faster.
    learning_rate : float
        Peak of a linear schedule with warm-up.
    warmup_share : float
        Share of the steps spent warming up, in [0, 1).
    lora_rank : int
        Rank of the LoRA update of every linear layer; 0 trains the full weights.
    lora_alpha : int
        LoRA's scale is alpha / rank.
    lora_dropout : float
        Share of the adapter's inputs dropped while training, in [0, 1).
    label_smoothing : float
        Share of the target that is spread over all labels, in [0, 1).
    validity : float
        Weight of the term that keeps probability on the labels under free decoding; 0 is off.
    max_grad_norm : float
        Gradient clipping.
    eval_every : int
        Steps between two looks at dev; also between checkpoints.
    """

    name: ClassVar[str] = "sft"

    steps: int = 80
    epochs: Annotated[int, Range(most=10_000)] = 0
    rows_per_step: int = 16
    rows_per_forward: int = 16
    learning_rate: float = 1e-3
    warmup_share: float = 0.1
    lora_rank: Annotated[int, Range(most=4096)] = 16
    lora_alpha: int = 32
    lora_dropout: float = 0.0
    label_smoothing: float = 0.0
    validity: float = 0.0
    max_grad_norm: float = 1.0
    eval_every: int = 20

    def __post_init__(self) -> None:
        check(self, "[sft] ")
        if self.epochs < 0:
            raise RecipeError(f"[sft] epochs = {self.epochs}: expected 0 (train for steps) or more")
        if not 0 <= self.label_smoothing < 1:
            raise RecipeError(f"[sft] label_smoothing = {self.label_smoothing}: expected a share in [0, 1)")
        check_settings(self)

    def run(self, bundle: Bundle, splits: Splits, context: StageContext) -> Bundle:
        """Train, keep the step that is best on dev, and return it if it beats the given bundle there."""
        started = time.perf_counter()
        stage = self
        if self.epochs:
            n_steps = math.ceil(self.epochs * len(splits.train) / self.rows_per_step)
            stage = replace(self, steps=max(n_steps, 1))
        context.tracker.params({f.name: getattr(stage, f.name) for f in fields(stage)})
        objective = Objective("cross_entropy", self.validity, label_smoothing=self.label_smoothing)
        return Training.prepare(stage, objective, bundle, splits, context).tune(asdict(stage), started)
