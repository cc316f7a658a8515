"""TRL's GRPOTrainer over a closed answer space.

Two things are replaced, the rest is TRL's. Rollouts are labels drawn from P(k | x) instead of generated text. And
log-probabilities come from one packed forward pass (prefix once, each row once, its options as a tree) instead of the
prompt repeated for every rollout. ``exact`` mode takes the group to be the whole answer space and needs no draws;
``cross_entropy`` mode asks for the gold label outright (supervised fine-tuning) with the same forward pass, and
``preference`` mode for one label rather than another (DPO), with TRL's loss of that name.

Here the model is asked; what is made of the scores is in ``losses``, of the draws in ``rollouts``. Many methods have
TRL's own names, underscores included: they are its hooks, and each says where it leaves TRL's way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Sampler, SequentialSampler
from transformers import Trainer
from trl import GRPOTrainer

from labelwright.engines.images.reader import ImageReader
from labelwright.engines.options.tree import OptionTree
from labelwright.engines.packed.chunks import log_probs_in_chunks
from labelwright.engines.packed.heads import answering
from labelwright.engines.packed.lower import open_lower
from labelwright.engines.packed.packing import Row
from labelwright.errors import ModelError
from optimizers.training.losses import (
    ABSENT,
    cross_entropy_loss,
    exact_loss,
    gold_rank,
    kl,
    reward_deviation,
    spread_of,
    with_validity,
)
from optimizers.training.preferences.pair_loss import PairLoss
from optimizers.training.processes.group import current
from optimizers.training.processes.sharding import averaging
from optimizers.training.rollouts import answers_by_prompt, chances, draw_labels, over_mean, token_edges, unpadded
from optimizers.training.rows import LabelRows, StartingPoint, passes
from optimizers.training.settings import Objective


class LabelTreeTrainer(GRPOTrainer):
    """Training over label trees.

    Parameters
    ----------
    rows : LabelRows
    objective : Objective
        Leave TRL's ``args.beta`` at 0: the reference is ``StartingPoint``, for which TRL would load the untuned model.
    images : ImageReader, optional
        Where rows have images, what looks at them with the model given.
    **settings
        GRPOTrainer's own: model, args, processing_class, peft_config, callbacks. The model given is the starting point.

    Attributes
    ----------
    lower : LowerLayers, optional
        Frozen layers whose answers are kept from step to step; without them every step runs all layers.

    Notes
    -----
    Sampled: draws come from the softmax over labels while TRL's loss differentiates s_k, the full-vocabulary
    log-probability. The gradient is the same in expectation: log P(k) = s_k - logsumexp(s), and the second term is
    multiplied by the group's mean advantage, which is zero.

    Rows are met pass after pass, each in an order of its own; a step that a pass ends within takes the rest from the
    next. So all steps have the same number of rows, also where there are fewer rows than that.
    """

    def __init__(
        self, *, rows: LabelRows, objective: Objective, images: ImageReader | None = None, **settings: Any
    ) -> None:
        self._rows, self.images = rows, images
        self._objective = objective
        self._draws = objective.mode == "sampled"
        self._index = {text: row for row, text in enumerate(rows.texts)}
        self._option = {option: k for k, option in enumerate(rows.tree.options)}
        n_labels = len(rows.tree.options)
        # Of each train row the line of the rewards that says what its labels are worth: the gold label's, or its own.
        self._reward_values = np.eye(n_labels) if objective.rewards is None else objective.rewards
        self._line_of = rows.gold
        if objective.row_rewards is not None:
            self._reward_values, self._line_of = objective.row_rewards, np.arange(len(rows.rows))
        args = settings["args"]
        self._group = current()
        n_items = args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size
        self._rows_per_step = n_items // (args.num_generations if self._draws else 1)
        # A step meets so many readings, and of each all that is asked of it.
        self._readings = rows.readings()
        met = list(self._readings)
        n_visits = max(args.max_steps, 1) * self._rows_per_step
        self._order = [met[place] for place in passes(len(met), n_visits, args.seed)]
        # Of rows with the same tokens, one that is met: the starting point knows no others.
        self._by_tokens = {rows.rows[row]: row for row in self._order}
        super().__init__(
            reward_funcs=cast(Any, self.label_reward),
            train_dataset=rows.dataset().select(self._order),
            rollout_func=cast(Any, _rollout) if self._draws else None,
            **settings,
        )
        self.shuffle_dataset = False  # the order is in the dataset
        device = self.accelerator.device
        # Narrowed before they are tensors: not every accelerator has float64.
        self._rewards = torch.as_tensor(self._reward_values.astype(np.float32), device=device)
        self._incidence = torch.as_tensor(rows.tree.incidence.astype(np.float32), device=device)
        self._deviation: tuple[int, Tensor] | None = None
        self._drawn_rewards: list[float] = []
        with self.accelerator.autocast():
            different = [self._row(tokens, rows.tree) for tokens in list(dict.fromkeys(rows.rows))[:2]]
            # Which rows are met for the first time differs between processes, and with it who would run those layers.
            self.lower = None if self._group.sharded else open_lower(_plain(self.model), rows.prefix, different)
        asked = objective.preferences
        self._pair_loss = None if asked is None else PairLoss(asked, rows.tree, self.accelerator)
        self._reference: StartingPoint | None = None
        if not self._group.sharded:
            self._look_at_start()

    def train(self, *given: Any, **more: Any) -> Any:
        """transformers' training. Sharded layers can run from here on: the others are told by now."""
        if self._group.sharded:
            self._look_at_start()
        return super().train(*given, **more)

    def _look_at_start(self) -> None:
        """Score the starting point, where the objective compares with it."""
        if self._objective.beta or self._pair_loss is not None:
            self._reference = self._starting_point()
        if self._draws:
            # TRL asks "the reference model" for log-probabilities; the hook below answers for it.
            self.beta, self.ref_model = self._objective.beta, cast(Any, self._reference)

    def _wrap_model(self, model: Any, *given: Any, **more: Any) -> Any:
        """transformers' wrapping; of a sharded model the adapters alone are averaged, which accelerate cannot."""
        if self._group.sharded and model is self.model:
            return averaging(model, bool(self.args.ddp_find_unused_parameters))
        return super()._wrap_model(model, *given, **more)

    def label_scores(self, rows: Sequence[int]) -> Tensor:
        """Log-probability of every label for the given training rows, float32 (n_rows, n_labels), differentiable."""
        return self._sums(self._edges(rows), rows)

    def _edges(self, rows: Sequence[int]) -> Tensor:
        """Log-probabilities of the tree's edges, float32 (n_rows, n_edges), differentiable."""
        read = [self._rows.rows[row] for row in rows]
        # All points of a row come out of one reading of it.
        once = list(dict.fromkeys(read)) if self._rows.shares_readings else read
        batch = [self._row(tokens, self._rows.tree) for tokens in once]
        edges, _ = self._pass(batch)
        edges = edges.reshape(len(batch), -1)
        if len(once) == len(read):
            return edges
        return edges[[once.index(tokens) for tokens in read]]

    def _pass(self, batch: Sequence[Row], entropy: bool = False) -> tuple[Tensor, Tensor | None]:
        """One packed forward pass (``log_probs_in_chunks``), which several processes make together.

        Gradients are averaged by what accelerate wraps around the model, and that waits for its forward pass: so the
        packed pass stands in the place of the model's own.
        """

        own = cast(Any, self.model).forward

        def packed(*_: Any, **__: Any) -> tuple[Tensor, Tensor | None]:
            # The model's own forward pass is asked for what it makes of hidden states (``open_head``).
            with self.accelerator.autocast(), answering(self.model, own):
                given = (_plain(self.model), self._rows.prefix, batch, entropy, self.lower)
                # A sharded layer comes together when all processes run it, which they do equally often.
                return log_probs_in_chunks(*given, agreed=self._group.most if self._group.sharded else None)

        if self.model_wrapped is self.model or not torch.is_grad_enabled():
            return packed()
        with answering(self.model, packed):
            found: tuple[Tensor, Tensor | None] = self.model_wrapped(len(batch))
        return found

    def _row(self, tokens: Sequence[int], tree: OptionTree) -> Row:
        return self._rows.row(tokens, tree, self.images)

    def _sums(self, edges: Tensor, rows: Sequence[int]) -> Tensor:
        """From edges (n_rows, n_edges) to labels (n_rows, n_labels); letters that a row does not use get ``ABSENT``."""
        scores = edges @ self._incidence.T  # an option's score is the sum over its path
        if self._rows.present is None:
            return scores
        absent = torch.as_tensor(~self._rows.present[list(rows)], device=scores.device)
        return scores.masked_fill(absent, ABSENT)

    @torch.no_grad()
    def _starting_point(self) -> StartingPoint:
        """Score every row that the training will meet, once, without dropout."""
        model: Any = self.model
        was_training = model.training
        model.eval()
        readings, at_once = sorted(set(self._order)), self.args.per_device_train_batch_size
        parts = [self._edges(self._asked_of(readings[i : i + at_once])) for i in range(0, len(readings), at_once)]
        model.train(was_training)
        return StartingPoint(torch.cat(parts), {row: line for line, row in enumerate(self._asked_of(readings))})

    # --- sampled -----------------------------------------------------------------------------------------------

    @torch.no_grad()
    def draw(self, prompts: Sequence[str]) -> dict[str, Any]:
        """One label a prompt from P(k | x), in TRL's rollout format. Repeated prompts are scored once."""
        rows = [self._index[text] for text in prompts]
        scores = self.label_scores(list(dict.fromkeys(rows)))
        if not scores.isfinite().all():
            raise diverged("scores of train rows are no numbers", self.state.global_step + 1, self.args)
        self._log_gold_rank(list(dict.fromkeys(rows)), scores)
        thrown = chances(len(rows), self.args.seed, self.state.global_step, self._group.rank, self._group.size)
        return draw_labels(self._rows, rows, scores, thrown)

    def label_reward(
        self, prompts: list[str], completions: list[str], completion_ids: list[list[int]], row: list[int], **_: Any
    ) -> list[float]:
        """TRL's reward function: what the drawn label is worth to its row."""
        drawn = [self._option[tuple(ids)] for ids in completion_ids]
        values = [float(self._reward_values[self._line_of[r], k]) for r, k in zip(row, drawn, strict=True)]
        self._drawn_rewards = values
        return values

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: Tensor,
        attention_mask: Tensor,
        logits_to_keep: int,
        compute_entropy: bool = False,
        **_: Any,
    ) -> tuple[Tensor, Tensor | None, None]:
        """TRL's hook, packed: (n_rollouts, logits_to_keep) log-probabilities of the completion tokens.

        Asked for ``ref_model``, it looks them up in the starting point.
        """
        rollouts = unpadded(input_ids, attention_mask, logits_to_keep)
        asked = answers_by_prompt(rollouts)
        own = {prompt: prompt[len(self._rows.prefix) :] for prompt in asked}  # a prompt without what all begin with
        entropies: Tensor | None = None
        if model is self._reference:
            trees = dict.fromkeys(asked, self._rows.tree)
            edges = self._reference.of([self._by_tokens[tokens] for tokens in own.values()]).flatten()
        else:
            # Only what was drawn is scored, not all labels.
            trees = {prompt: OptionTree.build(options) for prompt, options in asked.items()}
            batch = [self._row(own[prompt], tree) for prompt, tree in trees.items()]
            edges, entropies = self._pass(batch, compute_entropy)
        places = token_edges(rollouts, trees, logits_to_keep).to(edges.device)
        padding = ~attention_mask[:, -logits_to_keep:].bool().to(edges.device)
        log_probs = edges[places].masked_fill(padding, 0.0)
        return log_probs, None if entropies is None else entropies[places].masked_fill(padding, 0.0), None

    # --- exact, cross-entropy, preference --------------------------------------------------------------------------

    def get_train_dataloader(self) -> Any:
        """Without draws a batch is the rows of one forward pass; TRL's holds those of a whole step."""
        return super().get_train_dataloader() if self._draws else Trainer.get_train_dataloader(self)

    def _get_train_sampler(self, dataset: Any = None) -> Sampler:
        """Without draws each row comes once; TRL's sampler repeats it for every rollout of its group."""
        if self._draws:
            return super()._get_train_sampler(dataset)
        return SequentialSampler(self._order)

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        """Without draws there is nothing to generate: the batch is the rows."""
        return super()._prepare_inputs(generation_batch) if self._draws else generation_batch

    def _generate_and_score_completions(self, inputs: Any) -> Any:
        """TRL's batch of rollouts, with the training row of each, and with the one scale that TRL does not have."""
        found = super()._generate_and_score_completions(inputs)
        if self._objective.scale_rewards == "mean":
            found["advantages"] = over_mean(found["advantages"], self._drawn_rewards, self._objective.n_rollouts)
        return found | {"row": torch.tensor([one["row"] for one in inputs])}

    def _compute_loss(self, model: Any, inputs: Any) -> Tensor:
        """TRL's loss, or one over all labels."""
        loss = self._sampled_loss(model, inputs) if self._draws else self._closed_loss([one["row"] for one in inputs])
        if not torch.isfinite(loss):
            raise diverged(f"the loss is {loss.item()}", self.state.global_step + 1, self.args)
        return loss

    def _sampled_loss(self, model: Any, inputs: Any) -> Tensor:
        """TRL's loss, and the validity term: its mean over rollouts, of which every row has equally many."""
        loss = super()._compute_loss(model, inputs)
        if self._objective.validity:
            rows, rollouts = inputs["row"].unique(return_inverse=True)
            valid = self.label_scores(rows.tolist()).logsumexp(-1)
            term = self._objective.validity * valid[rollouts.to(valid.device)].mean()
            loss = loss - term / self.current_gradient_accumulation_steps
        return loss

    def _closed_loss(self, rows: list[int]) -> Tensor:
        """The mode's loss over all labels of the given rows; its numbers go to TRL's log."""
        rows = self._asked_of(rows)
        if self._pair_loss is not None:
            return self._preference_loss(self._pair_loss, rows)
        scores = self.label_scores(rows)
        gold = torch.as_tensor(self._rows.gold[rows], device=scores.device)
        objective = self._objective
        if objective.mode == "cross_entropy":
            taught = self._rows.targets
            loss, metrics = cross_entropy_loss(
                scores,
                gold,
                targets=None if taught is None else torch.as_tensor(taught[rows], device=scores.device),
                label_smoothing=objective.label_smoothing,
                validity=objective.validity,
            )
        else:
            loss, metrics = exact_loss(
                scores,
                self._rewards_of(rows),
                beta=objective.beta,
                reference=None if self._reference is None else self._sums(self._reference.of(rows), rows),
                validity=objective.validity,
                scale_rewards=objective.scale_rewards,
                deviation=self._step_deviation() if objective.scale_rewards == "batch" else None,
            )
        self._log(metrics, rows, scores)
        return loss / self.current_gradient_accumulation_steps

    def _rewards_of(self, rows: Sequence[int]) -> Tensor:
        """What each label is worth to the given training rows, float32 (n_rows, n_labels)."""
        return self._rewards[torch.as_tensor(self._line_of[list(rows)], device=self._rewards.device)]

    def _preference_loss(self, pair_loss: PairLoss, rows: list[int]) -> Tensor:
        """TRL's DPO loss, a mean over the pairs of the step, however many of its rows a forward pass sees."""
        edges, first = self._edges(rows), cast(StartingPoint, self._reference).of(rows)
        scores = self._sums(edges, rows)
        loss, metrics = pair_loss(edges, first, rows)
        with torch.no_grad():
            log_probs = torch.log_softmax(scores, dim=-1)
            metrics |= {"kl": kl(log_probs, self._sums(first, rows)).item(), **spread_of(scores, log_probs)}
        self._log(metrics, rows, scores)
        n_forwards = self.current_gradient_accumulation_steps
        n_passes = n_forwards * self._group.size  # of all processes, whose gradients are averaged
        share = n_passes * pair_loss.n_pairs(rows) / pair_loss.n_pairs(self._rows_of_step())
        return with_validity(share * loss, scores, self._objective.validity) / n_forwards

    def _log(self, metrics: Mapping[str, float], rows: Sequence[int], scores: Tensor) -> None:
        for name, value in metrics.items():
            self._metrics["train"][name].append(value)
        self._log_gold_rank(rows, scores)

    def _rows_of_step(self) -> list[int]:
        """All rows of the step that is being taken."""
        step = self.state.global_step
        return self._asked_of(self._order[step * self._rows_per_step : (step + 1) * self._rows_per_step])

    def _asked_of(self, readings: Sequence[int]) -> list[int]:
        """All rows of these readings, each named by its first row."""
        return [row for reading in readings for row in self._readings[reading]]

    def _log_gold_rank(self, rows: Sequence[int], scores: Tensor) -> None:
        gold = torch.as_tensor(self._rows.gold[list(rows)], device=scores.device)
        self._metrics["train"]["gold_rank"].append(gold_rank(scores, gold))

    @torch.no_grad()
    def _step_deviation(self) -> Tensor | None:
        """Deviation of the rewards of the whole step, where a forward pass sees only a part of its rows.

        Costs a second forward pass of the step, without gradients; else what a row teaches would depend on how many
        rows fit into memory, and on how many processes there are.
        """
        if self.args.gradient_accumulation_steps * self._group.size == 1:
            return None
        step = self.state.global_step
        if self._deviation is None or self._deviation[0] != step:
            own, at_once = self._own_of_step(), self.args.per_device_train_batch_size
            # By readings, of which every process has equally many.
            parts = [self._asked_of(own[i : i + at_once]) for i in range(0, len(own), at_once)]
            scores, rewards = map(self.label_scores, parts), map(self._rewards_of, parts)
            self._deviation = step, reward_deviation(torch.cat([*scores]), torch.cat([*rewards]), self._mean)
        return self._deviation[1]

    def _own_of_step(self) -> list[int]:
        """Of the step that is being taken, what this process is dealt: one pass of every so many, as by accelerate."""
        step, at_once = self.state.global_step, self.args.per_device_train_batch_size
        rows = self._order[step * self._rows_per_step : (step + 1) * self._rows_per_step]
        first, every = self._group.rank * at_once, self._group.size * at_once
        return [row for start in range(first, len(rows), every) for row in rows[start : start + at_once]]

    def _mean(self, values: Tensor) -> Tensor:
        """The mean over all processes of values (n,) that each has of its rows; a scalar."""
        total, n = self._group.total(torch.stack([values.sum(), values.new_tensor(len(values))]))
        return (total / n).to(values.device)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """TRL's, of the rows of all processes."""
        if self._group.size > 1:
            found = self._metrics["train"]
            means = torch.tensor([float(np.mean(found[name])) for name in sorted(found)])
            shared = self._group.total(means) / self._group.size
            found.update({name: [mean] for name, mean in zip(sorted(found), shared.tolist(), strict=True)})
        super().log(logs, start_time)

    def _maybe_log_save_evaluate(self, *given: Any, **more: Any) -> Any:
        """transformers' end of a step; first all hear whether the first process, which looks at dev, goes on."""
        stops = self._group.said_by_first("stop" if self.control.should_training_stop else "") == "stop"
        self.control.should_training_stop = stops
        return super()._maybe_log_save_evaluate(*given, **more)


def diverged(what: str, step: int, args: Any) -> ModelError:
    """What is said when the weights have gone where no numbers are."""
    return ModelError(
        f"training diverged at step {step} of {args.max_steps}: {what}; set a smaller learning_rate (now "
        f"{args.learning_rate:g}) or a longer warmup_share"
    )


def _rollout(prompts: list[str], trainer: LabelTreeTrainer) -> dict[str, Any]:
    return trainer.draw(prompts)


def _plain(model: Any) -> Any:
    """The transformers model inside PEFT's wrapper; its adapters are in its layers either way."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model
