"""The weights stage: GRPO over the label tree, chosen on dev, resumable.

Owns the settings and the decision to keep the result. One training run with its files is in ``training``, the loss
in ``label_tree_trainer``.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar

from labelwright.bundle import Bundle
from labelwright.calibration import Calibration
from labelwright.errors import RecipeError
from labelwright.task import Splits
from optimizers.stage import StageContext
from optimizers.training import Training, better


@dataclass(frozen=True)
class GrpoStage:
    """Tune the weights by GRPO on a label reward.

    Attributes
    ----------
    mode : {"exact", "sampled"}
        "exact" takes all labels, weighted by P, as the group; "sampled" draws ``n_rollouts`` labels a row.
    steps : int
        Optimizer steps.
    rows_per_step : int
        Training rows a step.
    rows_per_forward : int
        Rows whose activations are in memory at once; divides ``rows_per_step``. Gradients add up over the step.
    n_rollouts : int
        Draws a row ("sampled" only); at least 2.
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
    beta : float
        Weight of the KL divergence to the starting weights; 0 is off.
    validity : float
        Weight of the term that keeps probability on the labels under free decoding; 0 is off.
    loss_type : str
        TRL's loss in "sampled" mode.
    max_grad_norm : float
        Gradient clipping.
    eval_every : int
        Steps between two looks at dev; also between checkpoints.
    reward : str
        A name from ``rewards``.
    reward_settings : mapping
        Settings of that reward.
    """

    name: ClassVar[str] = "grpo"

    mode: str = "exact"
    steps: int = 80
    rows_per_step: int = 16
    rows_per_forward: int = 8
    n_rollouts: int = 8
    learning_rate: float = 1e-3
    warmup_share: float = 0.1
    lora_rank: int = 16
    lora_alpha: int = 32
    lora_dropout: float = 0.0
    beta: float = 0.0
    validity: float = 0.0
    loss_type: str = "dapo"
    max_grad_norm: float = 1.0
    eval_every: int = 20
    reward: str = "label_match"
    reward_settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.mode not in ("exact", "sampled"):
            raise RecipeError(f'[grpo] mode = {self.mode!r}: expected "exact" or "sampled"')
        at_least_one = ("steps", "rows_per_step", "rows_per_forward", "eval_every")
        for key, least in {**dict.fromkeys(at_least_one, 1), "n_rollouts": 2, "lora_rank": 0}.items():
            if getattr(self, key) < least:
                raise RecipeError(f"[grpo] {key} = {getattr(self, key)}: expected at least {least}")
        if self.rows_per_step % self.rows_per_forward:
            raise RecipeError(
                f"[grpo] rows_per_forward = {self.rows_per_forward}: expected a divisor of "
                f"rows_per_step = {self.rows_per_step}"
            )
        for key in ("beta", "validity"):
            if getattr(self, key) < 0:
                raise RecipeError(f"[grpo] {key} = {getattr(self, key)}: expected 0 or more")
        for key in ("learning_rate", "lora_alpha", "max_grad_norm"):
            if getattr(self, key) <= 0:
                raise RecipeError(f"[grpo] {key} = {getattr(self, key)}: expected more than 0")
        for key in ("warmup_share", "lora_dropout"):
            if not 0 <= getattr(self, key) < 1:
                raise RecipeError(f"[grpo] {key} = {getattr(self, key)}: expected 0 or more, and less than 1")

    def run(self, bundle: Bundle, splits: Splits, context: StageContext) -> Bundle:
        """Train, keep the step that is best on dev, and return it if it beats the given bundle there."""
        started = time.perf_counter()
        context.tracker.params({f.name: getattr(self, f.name) for f in fields(self)})
        training = Training.prepare(self, bundle, splits, context)
        before = training.before
        training.run()
        best = training.best()
        improved = best is not None and better(best, before)
        entry = {
            "stage": self.name,
            "improved": improved,
            "settings": {**asdict(self), "reward_settings": dict(self.reward_settings)},
            "dev_before": before,
            "dev_after": best,
            "curve": training.curve(),
            "seconds": round(time.perf_counter() - started, 1),
        }
        if not improved:
            return bundle.with_stage(entry)
        # The scores have changed, so whatever was fitted on them no longer holds.
        return bundle.with_stage(entry, weights=training.result(), calibration=Calibration())
