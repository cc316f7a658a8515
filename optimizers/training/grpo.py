"""The grpo stage: the weights by GRPO over the label tree, chosen on dev, resumable.

Owns the settings. One training run with its files is in ``training``, the loss in ``label_tree_trainer``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Annotated, Any, ClassVar, cast

from labelwright.bundle.types import Bundle
from labelwright.data.task import Splits
from labelwright.errors import RecipeError
from labelwright.settings import Choice, Range, check
from optimizers.stage import StageContext
from optimizers.training.loop import Mode, Objective, Scale, Training, check_settings
from rewards import ONLY_WEIGHTS, REWARDS, check_reward, make_reward, reward_matrix, weighs_rows

# TRL's, by the names of its GRPOConfig.
LOSS_TYPES = ("bnpo", "cispo", "dapo", "dr_grpo", "grpo", "luspo", "sapo", "vespo")
SCALES = ("auto", "group", "batch", "none")


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
        Most rows whose activations are in memory at once; divides ``rows_per_step`` where that is larger. Gradients add
        up over the step, and the prefix is read once a pass: fewer passes are faster.
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
    loss_type : {"dapo", "grpo", "dr_grpo", "bnpo", "cispo", "sapo", "luspo", "vespo"}
        TRL's loss in "sampled" mode.
    scale_rewards : {"auto", "group", "batch", "none"}
        What a row's advantages r_k - mean r are divided by, as TRL names it: the deviation of the row's own rewards
        ("group"), that of all rewards of the step ("batch"), or nothing ("none"). "group" makes all rows count alike,
        whatever is at stake in them; "auto" is "batch" where the reward puts more at stake for some labels than for
        others, else "group".
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
    rows_per_forward: int = 16
    n_rollouts: Annotated[int, Range(most=4096)] = 8
    learning_rate: float = 1e-3
    warmup_share: float = 0.1
    lora_rank: Annotated[int, Range(most=4096)] = 16
    lora_alpha: int = 32
    lora_dropout: float = 0.0
    beta: float = 0.0
    validity: float = 0.0
    loss_type: Annotated[str, Choice(LOSS_TYPES)] = "dapo"
    scale_rewards: Annotated[str, Choice(SCALES)] = "auto"
    max_grad_norm: float = 1.0
    eval_every: int = 20
    reward: Annotated[str, Choice(REWARDS)] = "label_match"
    reward_settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check(self, "[grpo] ")
        if self.mode not in ("exact", "sampled"):
            raise RecipeError(f'[grpo] mode = {self.mode!r}: expected "exact" or "sampled"')
        if self.n_rollouts < 2:
            raise RecipeError(f"[grpo] n_rollouts = {self.n_rollouts}: expected at least 2")
        if not 0 <= self.beta < math.inf:
            raise RecipeError(f"[grpo] beta = {self.beta}: expected 0 or more")
        try:
            check_reward(self.reward, self.reward_settings)
        except RecipeError as error:
            raise RecipeError(f"[grpo] {error}") from error
        if self.scale_rewards == "group" and self.reward in ONLY_WEIGHTS:
            raise RecipeError(
                f'[grpo] scale_rewards = "group" takes the weights of reward = "{self.reward}" out again: '
                f'set scale_rewards = "batch" or "none", or leave it out'
            )
        check_settings(self)

    def run(self, bundle: Bundle, splits: Splits, context: StageContext) -> Bundle:
        """Train, keep the step that is best on dev, and return it if it beats the given bundle there."""
        started = time.perf_counter()
        context.tracker.params({f.name: getattr(self, f.name) for f in fields(self)})
        reward = make_reward(self.reward, bundle.task, splits.train, dict(self.reward_settings))
        rewards = reward_matrix(reward, list(bundle.task.names))
        scale = self.scale_rewards
        if scale == "auto":
            scale = "batch" if weighs_rows(rewards) else "group"
        objective = Objective(
            mode=cast("Mode", self.mode),
            validity=self.validity,
            rewards=rewards,
            n_rollouts=self.n_rollouts,
            beta=self.beta,
            loss_type=self.loss_type,
            scale_rewards=cast("Scale", scale),
        )
        settings = {**asdict(self), "reward_settings": dict(self.reward_settings), "scale_rewards": scale}
        return Training.prepare(self, objective, bundle, splits, context).tune(settings, started)
