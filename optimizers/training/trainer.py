"""TRL's GRPOTrainer over a closed answer space.

Two things are replaced, the rest is TRL's. Rollouts are labels drawn from P(k | x) instead of generated text. And
log-probabilities come from one packed forward pass (prefix once, each row once, its options as a tree) instead of the
prompt repeated for every rollout. ``exact`` mode takes the group to be the whole answer space and needs no draws;
``cross_entropy`` mode asks for the gold label outright (supervised fine-tuning) with the same forward pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Sampler, SequentialSampler
from transformers import Trainer
from trl import GRPOTrainer

from labelwright.data.choices import present
from labelwright.data.task import Example
from labelwright.decide import render_rows
from labelwright.engines.options.tree import OptionTree
from labelwright.engines.packed.edges import tree_log_probs
from labelwright.engines.packed.packing import Row
from labelwright.engines.transformers import TransformersEngine
from labelwright.errors import DataError, ModelError
from labelwright.prompt import Prompt
from optimizers.training.loop import Objective, Scale

# Keeps the exact advantage finite where the model is already certain; TRL uses the same value for its groups.
ADVANTAGE_EPSILON = 1e-4
# The score of a letter that a row does not use: probability 0, and still a number.
ABSENT = -1e4


@dataclass(frozen=True)
class LabelRows:
    """The training rows as tokens.

    Attributes
    ----------
    prefix : tuple of int
        Tokens before every row.
    rows : tuple of tuple of int
        Tokens of each row up to the answer, shortened to fit the model's context where the engine's settings say so.
    tree : OptionTree
        Over all labels, in label order.
    gold : int64 array (n_rows,)
    texts : tuple of str
        Rendered prompts, for TRL's logs.
    present : bool array (n_rows, n_labels), optional
        Where rows bring their own choices: the letters that each row uses. None where all do.
    """

    prefix: tuple[int, ...]
    rows: tuple[tuple[int, ...], ...]
    tree: OptionTree
    gold: NDArray[np.int64]
    texts: tuple[str, ...]
    present: NDArray[np.bool_] | None = None

    @classmethod
    def from_examples(
        cls,
        examples: Sequence[Example],
        prompt: Prompt,
        engine: TransformersEngine,
        also: Sequence[Example] = (),
    ) -> LabelRows:
        """Tokenise with the engine's own segments, so that training sees the bytes that serving will.

        Parameters
        ----------
        also : sequence of Example
            Rows that the model will be asked later on: those of them that do not fit are refused now.

        Raises
        ------
        DataError
            No examples; a label that the prompt does not have; rows, named by id, that do not fit the model's context
            where the engine may not shorten them.
        """
        names = [label.name for label in prompt.labels]
        strange = sorted({example.label for example in (*examples, *also)} - set(names))
        if not examples or strange:
            found = f"rows have the labels {', '.join(map(repr, strange))}" if strange else "there are no train rows"
            raise DataError(f"{found}: expected rows of {', '.join(map(repr, names))}; correct the data or the task")
        prompts = render_rows(prompt, [example.text for example in examples])
        later = render_rows(prompt, [example.text for example in also])
        prefix = engine.tokens.prefix(prompts[0])
        tree = engine.tokens.tree(prompt.options)
        # The same room that the engine leaves when it scores.
        reserved = len(prefix) + max(map(len, tree.options))
        rows = engine.tokens.rows([*prompts, *later], reserved, [example.id for example in (*examples, *also)])
        return cls(
            prefix=prefix,
            rows=tuple(rows[: len(prompts)]),
            tree=tree,
            gold=np.array([names.index(example.label) for example in examples]),
            texts=tuple(one.text for one in prompts),
            present=present([example.text for example in examples], len(names)) if prompt.by_row else None,
        )

    def contents(self) -> list[Any]:
        """All that is trained on, in plain types."""
        present = None if self.present is None else self.present.tolist()
        return [self.prefix, self.rows, self.tree.options, self.gold.tolist(), present]

    def dataset(self) -> Any:
        """A datasets.Dataset with one line a row: its prompt as text, and its number."""
        from datasets import Dataset

        return Dataset.from_dict({"prompt": list(self.texts), "row": list(range(len(self.rows)))})


@dataclass(frozen=True)
class StartingPoint:
    """What the weights said before the first step: the reference of the KL divergence.

    A closed answer space can be written down whole, so no second copy of the model has to stay in memory.

    Attributes
    ----------
    edges : float32 tensor (n_rows, n_edges)
        Log-probabilities of the tree's edges, of the rows that the training will meet.
    place : mapping of row number to line of ``edges``
    """

    edges: Tensor
    place: Mapping[int, int]

    def of(self, rows: Sequence[int]) -> Tensor:
        """Edges of training rows, (n_rows, n_edges)."""
        return self.edges[[self.place[row] for row in rows]]


class LabelTreeTrainer(GRPOTrainer):
    """Training over label trees.

    Parameters
    ----------
    rows : LabelRows
    objective : Objective
        Leave TRL's ``args.beta`` at 0: the reference is ``StartingPoint``, for which TRL would load the untuned model.
    **settings
        GRPOTrainer's own: model, args, processing_class, peft_config, callbacks. The model given is the starting point.

    Notes
    -----
    Sampled: draws come from the softmax over labels while TRL's loss differentiates s_k, the full-vocabulary
    log-probability. The gradient is the same in expectation: log P(k) = s_k - logsumexp(s), and the second term is
    multiplied by the group's mean advantage, which is zero.

    Rows are met pass after pass, each in an order of its own; a step that a pass ends within takes the rest from the
    next. So all steps have the same number of rows, also where there are fewer rows than that.
    """

    def __init__(self, *, rows: LabelRows, objective: Objective, **settings: Any) -> None:
        self._rows = rows
        self._objective = objective
        self._draws = objective.mode == "sampled"
        self._index = {text: row for row, text in enumerate(rows.texts)}
        self._option = {option: k for k, option in enumerate(rows.tree.options)}
        n_labels = len(rows.tree.options)
        self._reward_values = np.eye(n_labels) if objective.rewards is None else objective.rewards
        args = settings["args"]
        group = args.num_generations if self._draws else 1
        self._rows_per_step = args.per_device_train_batch_size * args.gradient_accumulation_steps // group
        self._order = passes(len(rows.rows), max(args.max_steps, 1) * self._rows_per_step, args.seed)
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
        self._rewards = torch.as_tensor(self._reward_values, dtype=torch.float32, device=device)
        self._incidence = torch.as_tensor(rows.tree.incidence, dtype=torch.float32, device=device)
        self._deviation: tuple[int, Tensor] | None = None
        self._reference = self._starting_point() if objective.beta else None
        if self._draws:
            # TRL asks "the reference model" for log-probabilities; the hook below answers for it.
            self.beta, self.ref_model = objective.beta, cast(Any, self._reference)

    def label_scores(self, rows: Sequence[int]) -> Tensor:
        """Log-probability of every label for the given training rows, float32 (n_rows, n_labels), differentiable."""
        return self._sums(self._edges(rows), rows)

    def _edges(self, rows: Sequence[int]) -> Tensor:
        """Log-probabilities of the tree's edges, float32 (n_rows, n_edges), differentiable."""
        batch = [Row(self._rows.rows[row], self._rows.tree) for row in rows]
        with self.accelerator.autocast():
            edges, _ = tree_log_probs(_plain(self.model), self._rows.prefix, batch)
        return edges.reshape(len(batch), -1)

    def _sums(self, edges: Tensor, rows: Sequence[int]) -> Tensor:
        """From edges to labels; a letter that a row does not use gets ``ABSENT``."""
        scores = edges @ self._incidence.T
        if self._rows.present is None:
            return scores
        # Not -inf: zero times minus infinity is no number, and a letter that is not there has probability zero.
        absent = torch.as_tensor(~self._rows.present[list(rows)], device=scores.device)
        return scores.masked_fill(absent, ABSENT)

    @torch.no_grad()
    def _starting_point(self) -> StartingPoint:
        model: Any = self.model
        was_training = model.training
        model.eval()
        rows, at_once = sorted(set(self._order)), self.args.per_device_train_batch_size
        parts = [self._edges(rows[i : i + at_once]) for i in range(0, len(rows), at_once)]
        model.train(was_training)
        return StartingPoint(torch.cat(parts), {row: line for line, row in enumerate(rows)})

    # --- sampled -----------------------------------------------------------------------------------------------

    @torch.no_grad()
    def draw(self, prompts: Sequence[str]) -> dict[str, Any]:
        """One label a prompt from P(k | x), in TRL's rollout format. Repeated prompts are scored once."""
        unique = list(dict.fromkeys(prompts))
        scores = self.label_scores([self._index[text] for text in unique])
        if not scores.isfinite().all():
            raise diverged("scores of train rows are no numbers", self.state.global_step + 1, self.args)
        probabilities = torch.softmax(scores, dim=-1)
        output: dict[str, Any] = {"prompt_ids": [], "completion_ids": [], "logprobs": []}
        place = {text: i for i, text in enumerate(unique)}
        for text in prompts:
            k = int(torch.multinomial(probabilities[place[text]], 1))
            option = self._rows.tree.options[k]
            output["prompt_ids"].append([*self._rows.prefix, *self._rows.rows[self._index[text]]])
            output["completion_ids"].append(list(option))
            # The draw's log-probability belongs to the whole label; TRL wants one number a token and only logs it.
            output["logprobs"].append([float(scores[place[text], k]) / len(option)] * len(option))
        return output

    def label_reward(
        self, prompts: list[str], completions: list[str], completion_ids: list[list[int]], row: list[int], **_: Any
    ) -> list[float]:
        """TRL's reward function: the reward matrix at (gold label, drawn label)."""
        drawn = [self._option[tuple(ids)] for ids in completion_ids]
        return [float(self._reward_values[self._rows.gold[r], k]) for r, k in zip(row, drawn, strict=True)]

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
        keep = attention_mask.bool().cpu()
        ids = input_ids.cpu()
        cut = ids.shape[1] - logits_to_keep
        prompts = [tuple(ids[i, :cut][keep[i, :cut]].tolist()) for i in range(len(ids))]
        answers = [tuple(ids[i, cut:][keep[i, cut:]].tolist()) for i in range(len(ids))]
        n_prefix = len(self._rows.prefix)
        by_prompt: dict[tuple[int, ...], dict[tuple[int, ...], None]] = {}
        for prompt, answer in zip(prompts, answers, strict=True):
            by_prompt.setdefault(prompt, {})[answer] = None
        entropies: Tensor | None = None
        if model is self._reference:
            rows = {p: Row(p[n_prefix:], self._rows.tree) for p in by_prompt}
            edges = self._reference.of([self._by_tokens[tuple(row.tokens)] for row in rows.values()]).flatten()
        else:
            rows = {p: Row(p[n_prefix:], OptionTree.build(list(options))) for p, options in by_prompt.items()}
            with self.accelerator.autocast():
                edges, entropies = tree_log_probs(
                    _plain(model), self._rows.prefix, list(rows.values()), compute_entropy
                )
        offsets = dict(zip(rows, np.cumsum([0, *(row.tree.n_edges for row in rows.values())]), strict=False))
        # Rollout i, token t -> edge; padding points at edge 0 and is masked by TRL.
        index = torch.zeros((len(ids), logits_to_keep), dtype=torch.long)
        for i, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
            tree = rows[prompt].tree
            path = np.flatnonzero(tree.incidence[tree.options.index(answer)])
            index[i, : len(answer)] = torch.as_tensor(offsets[prompt] + path)
        index = index.to(edges.device)
        mask = keep[:, cut:].to(edges.device)
        log_probs = edges[index].masked_fill(~mask, 0.0)
        return log_probs, None if entropies is None else entropies[index].masked_fill(~mask, 0.0), None

    # --- exact and cross-entropy -------------------------------------------------------------------------------

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
        """TRL's batch of rollouts, with the training row of each."""
        return super()._generate_and_score_completions(inputs) | {"row": torch.tensor([one["row"] for one in inputs])}

    def _compute_loss(self, model: Any, inputs: Any) -> Tensor:
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
        scores = self.label_scores(rows)
        gold = torch.as_tensor(self._rows.gold[rows], device=scores.device)
        objective = self._objective
        if objective.mode == "cross_entropy":
            loss, metrics = cross_entropy_loss(
                scores, gold, label_smoothing=objective.label_smoothing, validity=objective.validity
            )
        else:
            loss, metrics = exact_loss(
                scores,
                self._rewards[gold],
                beta=objective.beta,
                reference=None if self._reference is None else self._sums(self._reference.of(rows), rows),
                validity=objective.validity,
                scale_rewards=objective.scale_rewards,
                deviation=self._step_deviation() if objective.scale_rewards == "batch" else None,
            )
        for name, value in metrics.items():
            self._metrics["train"][name].append(value)
        return loss / self.current_gradient_accumulation_steps

    @torch.no_grad()
    def _step_deviation(self) -> Tensor | None:
        """Deviation of the rewards of the whole step, where a forward pass sees only a part of its rows."""
        if self.args.gradient_accumulation_steps == 1:
            return None
        step = self.state.global_step
        if self._deviation is None or self._deviation[0] != step:
            rows = self._order[step * self._rows_per_step : (step + 1) * self._rows_per_step]
            at_once = self.args.per_device_train_batch_size
            scores = [self.label_scores(rows[i : i + at_once]) for i in range(0, len(rows), at_once)]
            gold = torch.as_tensor(self._rows.gold[rows], device=self._rewards.device)
            self._deviation = step, reward_deviation(torch.cat(scores), self._rewards[gold])
        return self._deviation[1]


def passes(n_rows: int, n_visits: int, seed: int) -> list[int]:
    """Row numbers in the order in which training meets them: every pass in a new order, cut after ``n_visits``."""
    order: list[int] = []
    for number in range(-(-n_visits // n_rows)):
        order += torch.randperm(n_rows, generator=torch.Generator().manual_seed(seed + number)).tolist()
    return order[:n_visits]


def cross_entropy_loss(
    scores: Tensor, gold: Tensor, *, label_smoothing: float = 0.0, validity: float = 0.0
) -> tuple[Tensor, dict[str, float]]:
    """-ln softmax_k(s_k)[gold]: the log-probability of the gold label among the labels, mean over rows.

    Parameters
    ----------
    scores : tensor (n_rows, n_labels)
        s_k, the options' log-probabilities; ``ABSENT`` for a letter that a row does not use.
    gold : int64 tensor (n_rows,)
    label_smoothing : float in [0, 1)
        Share of the target that is spread evenly over the labels that a row has (Szegedy et al. 2016, section 7).
    validity : float
        Weight c of -c * logsumexp_k(s_k).

    Returns
    -------
    loss : scalar tensor
    metrics : dict
        train_accuracy, train_log_loss (before the update), entropy (nats), valid_mass (exp of logsumexp).
    """
    log_probs = torch.log_softmax(scores, dim=-1)
    likelihood = log_probs.gather(-1, gold[:, None]).squeeze(-1)
    loss = -likelihood.mean()
    with torch.no_grad():
        metrics = {
            "train_accuracy": (scores.argmax(-1) == gold).float().mean().item(),
            "train_log_loss": loss.item(),
            "entropy": -(log_probs.exp() * log_probs).sum(-1).mean().item(),
            "valid_mass": scores.logsumexp(-1).exp().mean().item(),
        }
    if label_smoothing:
        here = scores > ABSENT
        even = (log_probs.masked_fill(~here, 0.0).sum(-1) / here.sum(-1)).mean()
        loss = (1 - label_smoothing) * loss - label_smoothing * even
    if validity:
        loss = loss - validity * scores.logsumexp(-1).mean()
    return loss, metrics


def exact_loss(
    scores: Tensor,
    rewards: Tensor,
    *,
    beta: float = 0.0,
    reference: Tensor | None = None,
    validity: float = 0.0,
    scale_rewards: Scale = "group",
    deviation: Tensor | None = None,
) -> tuple[Tensor, dict[str, float]]:
    """GRPO's loss with the whole answer space as the group, weighted by P.

    A_k = (r_k - sum_j P_j r_j) / scale, loss = -sum_k P_k A_k, the advantages held fixed.

    Parameters
    ----------
    scores : tensor (n_rows, n_labels)
        s_k, the options' log-probabilities.
    rewards : tensor (n_rows, n_labels)
        r_k for each row's gold label.
    beta : float
        Weight of KL(P || P_reference), summed over the labels, no sampling.
    reference : tensor (n_rows, n_labels), optional
        s_k under the starting weights; needed where beta is above 0.
    validity : float
        Weight c of -c * logsumexp_k(s_k).
    scale_rewards : {"group", "batch", "none"}
        The scale: the deviation of each row's rewards under its P, that of all rows' rewards together, or 1.
    deviation : scalar tensor, optional
        "batch": the deviation to take, where the rows are only a part of the step's.

    Returns
    -------
    loss : scalar tensor, mean over rows
    metrics : dict
        reward (expected), frac_reward_zero_std, entropy (nats), valid_mass (exp of logsumexp), kl.
    """
    log_probs = torch.log_softmax(scores, dim=-1)
    probabilities = log_probs.exp()
    with torch.no_grad():
        mean = (probabilities * rewards).sum(-1, keepdim=True)
        spread = (probabilities * (rewards - mean) ** 2).sum(-1, keepdim=True).sqrt()
        advantages = rewards - mean
        if scale_rewards == "group":
            advantages = advantages / (spread + ADVANTAGE_EPSILON)
        elif scale_rewards == "batch":
            whole = reward_deviation(scores, rewards) if deviation is None else deviation
            advantages = advantages / (whole + ADVANTAGE_EPSILON)
    loss = -(probabilities * advantages).sum(-1).mean()
    metrics = {
        "reward": mean.mean().item(),
        "frac_reward_zero_std": (spread < ADVANTAGE_EPSILON).float().mean().item(),
        "entropy": -(probabilities * log_probs).sum(-1).mean().item(),
        "valid_mass": scores.detach().logsumexp(-1).exp().mean().item(),
    }
    if beta:
        if reference is None:
            raise ValueError("beta > 0 needs the reference log-probabilities")
        divergence = (probabilities * (log_probs - torch.log_softmax(reference, dim=-1))).sum(-1).mean()
        loss = loss + beta * divergence
        metrics["kl"] = divergence.item()
    if validity:
        loss = loss - validity * scores.logsumexp(-1).mean()
    return loss, metrics


@torch.no_grad()
def reward_deviation(scores: Tensor, rewards: Tensor) -> Tensor:
    """Standard deviation of the rewards of a draw from P(k | x) for a row taken at random, a scalar."""
    probabilities = torch.softmax(scores, dim=-1)
    mean = (probabilities * rewards).sum(-1).mean()
    return (probabilities * (rewards - mean) ** 2).sum(-1).mean().sqrt()


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
