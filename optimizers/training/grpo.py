"""The grpo stage: the weights by GRPO over the label tree, chosen on dev, resumable.

Owns the settings that GRPO has beyond those of every training. One run with its files is ``loop``, the loss ``losses``
("exact") or TRL's own ("sampled").
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any, ClassVar, Literal, cast, get_args

import numpy as np

from labelwright.bundle.types import Bundle
from labelwright.data.task import Splits, Task
from labelwright.errors import ModelError, RecipeError
from labelwright.settings import SHARE, Choice, Range
from optimizers.stage import StageContext
from optimizers.training.judge.rating import Rated, check_judged, rate
from optimizers.training.loop import Training
from optimizers.training.settings import Objective, Scale, TrainingSettings
from rewards import AUTO, ONLY_LIKELIHOODS, ONLY_WEIGHTS, REWARDS, check_reward, make_reward, reward_matrix, weighs_rows
from rewards.judge import Judge

# By the names of TRL's GRPOConfig, "auto" and "mean" aside.
LOSS_TYPES = ("bnpo", "cispo", "dapo", "dr_grpo", "grpo", "luspo", "sapo", "vespo")
SCALES = ("auto", *get_args(Scale))


@dataclass(frozen=True)
class GrpoStage(TrainingSettings):
    """Tune the weights by GRPO on a label reward. Settings of the recipe's ``[grpo]`` table.

    Attributes
    ----------
    mode : {"exact", "sampled"}
        "exact" takes all labels, weighted by P, as the group; "sampled" draws ``n_rollouts`` labels a row.
    n_rollouts : int
        Draws a row ("sampled" only).
    beta : float
        Weight of the KL divergence to the starting weights; 0 is off.
    loss_type : {"dapo", "grpo", "dr_grpo", "bnpo", "cispo", "sapo", "luspo", "vespo"}
        TRL's loss in "sampled" mode.
    scale_rewards : {"auto", "group", "batch", "none", "mean"}
        What a row's advantages r_k - mean r are divided by, as TRL names it: the deviation of the row's own rewards
        ("group"), that of all rewards of the step ("batch"), or nothing ("none"); and their mean ("mean", maximum
        likelihood: with a 0/1 reward it is what SFT learns). "group" makes all rows count alike, whatever is at stake
        in them, and "mean" takes a row's weight out as well (ln wP = ln w + ln P): both are refused with a reward that
        is nothing else. "auto" is "mean" where the reward is a likelihood or a judge's rating, "batch" where it puts
        more at stake for some labels than for others, else "group"; and "group" with the recipe's ``[costs]``, by
        which the answer is chosen whatever was learnt. What each ascends: ``losses.exact_loss``.
    stop_at_zero_std : float
        Training ends where, since the last look at dev and in two steps at least, this share of the rows met had the
        same reward whatever was answered (TRL's ``frac_reward_zero_std``): nothing is left to learn from them. 0 never
        ends it.
    reward : str
        A name from ``rewards``; "auto" is the prices of the recipe's ``[costs]``, and without them "label_match";
        "judge" asks a larger model what each label is worth to each train row (``rewards.judge``).
    reward_settings : mapping
        Settings of that reward.
    """

    name: ClassVar[str] = "grpo"

    mode: Literal["exact", "sampled"] = "exact"
    n_rollouts: Annotated[int, Range(2, 4096, expected="at least 2, at most 4096")] = 8
    beta: Annotated[float, Range(0)] = 0.0
    loss_type: Annotated[str, Choice(LOSS_TYPES)] = "dapo"
    scale_rewards: Annotated[str, Choice(SCALES)] = "auto"
    stop_at_zero_std: Annotated[float, SHARE] = 1.0
    reward: Annotated[str, Choice((*REWARDS, Judge.name))] = AUTO
    reward_settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            check_reward(self.reward, self.reward_settings)
        except RecipeError as error:
            raise RecipeError(f"[grpo] {error}") from error
        if self.scale_rewards in ("group", "mean") and self.reward in ONLY_WEIGHTS:
            raise RecipeError(
                f'[grpo] scale_rewards = "{self.scale_rewards}" takes the weights of reward = "{self.reward}" out: '
                f'set scale_rewards = "batch" or "none", or leave it out'
            )
        if self.scale_rewards not in ("auto", "mean") and self.reward in ONLY_LIKELIHOODS:
            raise RecipeError(
                f'[grpo] scale_rewards = "{self.scale_rewards}" makes "label_match" of reward = "{self.reward}": '
                f'set scale_rewards = "mean", or leave it out'
            )

    def check(self, splits: Splits, task: Task) -> None:
        """A judge is asked about every train row: too many are refused before anything is. Raises DataError."""
        if self.reward == Judge.name:
            check_judged(Judge.of_settings(self.reward_settings, task.restricts_rows), splits.train)

    def run(self, bundle: Bundle, splits: Splits, context: StageContext) -> Bundle:
        """Train, keep the step that is best on dev, and return it if it beats the given bundle there."""
        started = time.perf_counter()
        context.tracker.params(asdict(self))
        told: dict[str, Any] = {}
        if is_judged := self.reward == Judge.name:
            rows, rewards, told = self._rated(bundle.task, splits, context)
            splits = replace(splits, train=rows)
        else:
            reward = make_reward(self.reward, bundle.task, splits.train, dict(self.reward_settings))
            rewards = reward_matrix(reward, list(bundle.task.names))
        scale = self.scale_rewards
        if scale == "auto" and self.reward in (*ONLY_LIKELIHOODS, Judge.name):
            scale = "mean"
        elif scale == "auto":
            # Where the answer is chosen by price, rows that weigh by price in training too would count it twice.
            is_priced = self.reward == AUTO and bundle.task.costs is not None
            scale = "batch" if weighs_rows(rewards) and not is_priced else "group"
        objective = Objective(
            mode=self.mode,
            validity=self.validity,
            rewards=None if is_judged else rewards,
            row_rewards=rewards if is_judged else None,
            n_rollouts=self.n_rollouts,
            beta=self.beta,
            loss_type=self.loss_type,
            scale_rewards=cast("Scale", scale),
            stop_at=self.stop_at_zero_std,
        )
        settings = {**asdict(self), "reward_settings": dict(self.reward_settings), "scale_rewards": scale}
        training = Training.prepare(self, objective, bundle, splits, context)
        training.run()
        said = {"steps_taken": training.steps_taken, **training.lately(("entropy", "kl", "frac_reward_zero_std"))}
        return training.settled(settings, started, {**told, **said})

    def _rated(self, task: Task, splits: Splits, context: StageContext) -> Rated:
        """What a judge said of rows in which it tells labels apart; the others would fill steps and teach nothing."""
        judge = Judge.of_settings(self.reward_settings, task.restricts_rows)
        kept = (context.answers or context.folder) / "judge.jsonl"
        rated = rate(
            judge,
            task,
            splits.train,
            kept,
            lambda done, n: context.tracker.progress(done, n, f"rows put to {judge.model}"),
        )
        differ = np.ptp(rated.rewards, axis=1) > 0
        if not differ.any():
            raise ModelError(
                f"{judge.model} rates all labels of a row alike, in each of {len(differ)} rows, and that teaches "
                "nothing: say in [grpo] reward_settings what makes a label good (rubric), or name another model"
            )
        rows = tuple(row for row, teaches in zip(rated.rows, differ, strict=True) if teaches)
        judged = {**rated.said["judge"], "rated_alike": int((~differ).sum())}
        return Rated(rows, rated.rewards[differ], {**rated.said, "judge": judged})
