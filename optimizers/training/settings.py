"""What a training is told: the settings that every weight stage has, and the objective that tells the stages apart.

Fields, defaults and ranges stand here once; ``sft``, ``grpo`` and ``dpo`` extend them by their own. Plain types:
reading a recipe imports this, and must not wait for torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from labelwright.errors import RecipeError
from labelwright.settings import ABOVE_ZERO, BELOW_ONE, Range, check
from optimizers.stage import SoftLabels

Mode = Literal["sampled", "exact", "cross_entropy", "preference"]
Scale = Literal["group", "batch", "none", "mean"]


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of a stage that trains weights; the stage gives ``name``, which is its table in the recipe.

    Attributes
    ----------
    steps : int
        Optimizer steps.
    rows_per_step : int
        Training rows a step.
    rows_per_forward : int
        Most rows whose activations are in memory at once; divides ``rows_per_step`` where that is larger. Gradients add
        up over the step, and the prefix is read once a pass: fewer passes are faster.
    learning_rate : float
        Peak of a linear schedule with warm-up.
    warmup_share : float
        Share of the steps spent warming up.
    lora_rank : int
        Rank of the LoRA update of every linear layer; 0 trains the full weights.
    lora_alpha : int
        LoRA's scale is alpha / rank.
    lora_layers : float in (0, 1]
        Share of the layers that get one, from the last one down. Below the lowest nothing is kept for the backward
        pass, and what those layers make of a row is computed once (``labelwright.engines.packed.lower``).
    lora_dropout : float
        Share of the adapter's inputs dropped while training.
    validity : float
        Weight of the term that keeps probability on the labels under free decoding; 0 is off.
    steering_share : float
        Share of a step's rows that end in asking for another label than theirs (``copies.steering``); 0 is off. This
        and the next are shares of the train rows and their copies: rows that a teacher answered come on top.
    augment : float
        Share of a step's rows that are copies with typos, in other case, or of a part of the words
        (``copies.augmented``); 0 is off.
    max_grad_norm : float
        Gradient clipping.
    eval_every : int
        Steps between two looks at dev; also between checkpoints.
    """

    name: ClassVar[str]

    steps: Annotated[int, Range(1)] = 50
    rows_per_step: Annotated[int, Range(1)] = 16
    rows_per_forward: Annotated[int, Range(1)] = 16
    learning_rate: Annotated[float, ABOVE_ZERO] = 1e-3
    warmup_share: Annotated[float, BELOW_ONE] = 0.1
    lora_rank: Annotated[int, Range(0, 4096)] = 16
    lora_alpha: Annotated[int, ABOVE_ZERO] = 32
    lora_layers: Annotated[float, Range(0, 1, "(]")] = 1.0
    lora_dropout: Annotated[float, BELOW_ONE] = 0.0
    validity: Annotated[float, Range(0)] = 0.0
    steering_share: Annotated[float, BELOW_ONE] = 0.0
    augment: Annotated[float, BELOW_ONE] = 0.0
    max_grad_norm: Annotated[float, ABOVE_ZERO] = 1.0
    eval_every: Annotated[int, Range(1)] = 20

    def __post_init__(self) -> None:
        check(self, f"[{self.name}] ")
        if self.rows_per_step % self.rows_at_once:
            raise RecipeError(
                f"[{self.name}] rows_per_forward = {self.rows_per_forward}: expected a divisor of "
                f"rows_per_step = {self.rows_per_step}"
            )

        if self.steering_share + self.augment >= 1:
            raise RecipeError(
                f"[{self.name}] steering_share = {self.steering_share} and augment = {self.augment}: expected a sum "
                "below 1, so that there are rows as they are; make one of them smaller"
            )

    @property
    def rows_at_once(self) -> int:
        """Rows of one forward pass."""
        return min(self.rows_per_forward, self.rows_per_step)

    def looks_at_dev(self, step: int) -> bool:
        """Whether dev is looked at after a step, the first of which is 1."""
        return step % self.eval_every == 0 or step == self.steps

    @property
    def trains_all(self) -> bool:
        """Whether the full weights are trained, and not an adapter on top of them."""
        return self.lora_rank == 0


def dealt(stage: TrainingSettings, n_processes: int) -> tuple[int, int]:
    """Rows of a forward pass, and passes a step, in each of so many processes: together the rows of a step.

    Raises
    ------
    RecipeError
        They do not come out even.
    """
    rows, left = divmod(stage.rows_per_step, n_processes)
    if not left:
        at_once = min(stage.rows_per_forward, rows)
        if rows % at_once == 0:
            return at_once, rows // at_once
    raise RecipeError(
        f"[{stage.name}] rows_per_step = {stage.rows_per_step}, dealt to {n_processes} processes in passes of at most "
        f"rows_per_forward = {stage.rows_per_forward} rows: expected whole passes of one size; set rows_per_step to a "
        f"multiple of {n_processes} times rows_per_forward"
    )


def whole_weights(stage: str) -> str:
    """What is said of a stage that trains all weights of a model that is sharded."""
    return (
        f"[{stage}] lora_rank = 0 trains all weights, and FSDP shards the base below an adapter here: set "
        "lora_rank above 0, or run `accelerate config` again, for several GPUs without FSDP"
    )


def n_copies(n_rows: int, *shares: float) -> list[int]:
    """How many copies of so many rows make each kind its share of rows and copies: one at least, of a share above 0."""
    plain = 1 - sum(shares)
    return [max(round(share / plain * n_rows), 1) if share and n_rows else 0 for share in shares]


@dataclass(frozen=True)
class Preferences:
    """Which labels are to be preferred to which; the settings are ``optimizers.training.dpo.DpoStage``'s.

    Attributes
    ----------
    pairs : tuple of (row, chosen, rejected)
        Numbers of a train row and of two labels; every train row has one at least.
    """

    pairs: tuple[tuple[int, int, int], ...]
    beta: float = 1.0
    loss_type: str = "sigmoid"
    label_smoothing: float = 0.0
    sft_weight: float = 0.0


@dataclass(frozen=True)
class Objective:
    """What the weights are trained for.

    Attributes
    ----------
    mode : {"sampled", "exact", "cross_entropy", "preference"}
        GRPO over drawn labels, GRPO over all labels, the log-probability of the gold label among all, or DPO.
    validity : float
        Weight c of the term -c * logsumexp_k(s_k); 0 is off.
    rewards : ndarray of shape (n_labels, n_labels), optional
        Reward of answering column k where row g is gold; GRPO's.
    row_rewards : ndarray of shape (n_rows, n_labels), optional
        Reward of answering column k to a train row, whatever its gold label is; in the place of ``rewards``.
    n_rollouts, beta, loss_type, scale_rewards
        GRPO's; see ``optimizers.training.grpo.GrpoStage``.
    label_smoothing : float in [0, 1)
        Share of the cross-entropy's target that is spread over all labels.
    stop_at : float
        Share of rows without spread in their rewards at which a training ends; 0 is never.
    preferences : Preferences, optional
        DPO's.
    soft : SoftLabels, optional
        Rows that are learnt besides, from a teacher's probabilities; cross-entropy's.
    """

    mode: Mode = "cross_entropy"
    validity: float = 0.0
    rewards: NDArray[np.float64] | None = None
    row_rewards: NDArray[np.float64] | None = None
    n_rollouts: int = 1
    beta: float = 0.0
    loss_type: str = "dapo"
    scale_rewards: Scale = "group"
    label_smoothing: float = 0.0
    stop_at: float = 0.0
    preferences: Preferences | None = None
    soft: SoftLabels | None = None
