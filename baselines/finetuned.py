"""Transformers trained as classifiers: an encoder's weights, or LoRA on them, and a head on the language model itself.

The head starts as a logistic regression on the untrained model's vectors, and both are then trained together: linear
probing, then fine-tuning (Kumar et al. 2022, arXiv:2202.10054). From a random head, the first steps would spoil an
encoder that is good already.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from baselines.base import Rows, TextClassifier
from baselines.pairs import PairsClassifier
from baselines.tuning import (
    batches,
    finished,
    fit_head,
    open_network,
    own_random_state,
    supervised_contrastive,
    trained_copy,
    with_lora,
)
from labelwright.data.task import Task
from labelwright.errors import RecipeError
from labelwright.models.folders import SMOLLM2
from labelwright.predictors.encoders.long_texts import LongTexts
from labelwright.predictors.encoders.sentence_encoder import DEFAULT
from labelwright.predictors.finetuned import FineTuned, Network, Pooling

logger = logging.getLogger(__name__)

_MAX_GRAD_NORM = 1.0


class FineTunedClassifier(TextClassifier):
    """A transformer trained by AdamW with warm-up and linear decay; the epoch that is best on ``eval_set`` is kept.

    The loss is (1 - contrast) x cross-entropy + contrast x supervised contrastive loss, as in Gunel et al. 2021
    (arXiv:2011.01403). With ``contrast = 1`` the head is a logistic regression on the trained vectors.

    Parameters
    ----------
    model : str
        "minilm", "smollm2", a folder, or a Hugging Face id such as "answerdotai/ModernBERT-base".
    pooling : {"mean", "first", "last"}
        As in ``labelwright.predictors.finetuned.Network``: "first" for BERT's [CLS], "last" for decoders.
    contrast : float in [0, 1]
        Share of the contrastive loss.
    temperature : float, above 0
        Of the contrastive loss.
    lora_rank : int
        0 trains all weights; otherwise LoRA of this rank on every linear layer, merged when done.
    epochs : int
        At most; all of them without ``eval_set``.
    patience : int
        Epochs without a lower loss on ``eval_set`` before training stops.
    learning_rate, head_learning_rate : float
        Of the transformer and of the head, at their highest.
    batch_rows : int
    warmup_share : float
        Of all steps.
    weight_decay : float
    max_tokens : int
        Longer texts lose their end.
    ending : str
        Stands behind every text; a decoder's last token then has something to say.
    device : str
        As in ``labelwright.models.loading.choose_device``.
    dtype : str
        In which the transformer is run in training, as in ``labelwright.models.loading.choose_dtype``; weights are
        float32.
    """

    def __init__(
        self,
        model: str = DEFAULT,
        pooling: Pooling = "mean",
        contrast: float = 0.0,
        temperature: float = 0.1,
        lora_rank: int = 0,
        epochs: int = 4,
        patience: int = 2,
        learning_rate: float = 1e-4,
        head_learning_rate: float = 1e-2,
        batch_rows: int = 32,
        warmup_share: float = 0.1,
        weight_decay: float = 0.01,
        max_tokens: int = 256,
        ending: str = "",
        device: str = "auto",
        dtype: str = "auto",
        labels: Sequence[Any] | None = None,
        random_state: int = 0,
    ) -> None:
        self.model = model
        self.pooling = pooling
        self.contrast = contrast
        self.temperature = temperature
        self.lora_rank = lora_rank
        self.epochs = epochs
        self.patience = patience
        self.learning_rate = learning_rate
        self.head_learning_rate = head_learning_rate
        self.batch_rows = batch_rows
        self.warmup_share = warmup_share
        self.weight_decay = weight_decay
        self.max_tokens = max_tokens
        self.ending = ending
        self.device = device
        self.dtype = dtype
        self.labels = labels
        self.random_state = random_state

    def _train(self, rows: Rows) -> FineTuned:
        self._check()
        with own_random_state(self.random_state):
            fitted, stored = open_network(
                self.model, self.pooling, len(rows.classes), self.max_tokens, self.ending, self.device, self.dtype
            )
            # Every row is counted once, before any is read many times.
            fitted.long_texts = rows.long_texts
            fitted.tokens(rows.texts)
            fitted.long_texts = LongTexts("head" if rows.long_texts.how == "refuse" else rows.long_texts.how)
            if self.lora_rank:
                fitted.network.model = with_lora(fitted.network.model, self.lora_rank)
            if self.contrast < 1:
                fit_head(fitted, rows)
            if self.epochs:
                self._tune(fitted, rows)
            if self.lora_rank:
                fitted.network.model = fitted.network.model.merge_and_unload()
            finished(fitted, stored)
            if self.contrast == 1:
                fit_head(fitted, rows)
        return fitted

    def _check(self) -> None:
        if not 0 <= self.contrast <= 1:
            raise RecipeError(f"contrast = {self.contrast}: expected a share between 0 and 1")
        if self.pooling not in ("mean", "first", "last"):
            raise RecipeError(f'pooling = {self.pooling!r}: expected "mean", "first" or "last"')
        for name in ("temperature", "learning_rate", "head_learning_rate", "batch_rows", "max_tokens", "patience"):
            if getattr(self, name) <= 0:
                raise RecipeError(f"{name} = {getattr(self, name)}: expected a number above 0")

    def _tune(self, fitted: FineTuned, rows: Rows) -> None:
        """Train the network in place; the best epoch's weights stay."""
        network, rng = fitted.network, np.random.default_rng(self.random_state)
        ids, gold = fitted.tokens(rows.texts), torch.from_numpy(rows.gold).to(fitted.device)
        n_steps = self.epochs * -(-len(ids) // self.batch_rows)
        optimizer, schedule = self._optimizer(network, n_steps)
        best: tuple[float, dict[str, Tensor]] | None = None
        since_best = 0
        for epoch in range(self.epochs):
            network.train()
            total = 0.0
            for batch in batches(list(map(len, ids)), rows.gold, self.batch_rows, self.contrast > 0, rng):
                inputs = fitted.tokens.padded([ids[row] for row in batch], fitted.device)
                loss = self._loss(network, network.vectors(*inputs, fitted.compute), gold[batch])
                loss.backward()
                nn.utils.clip_grad_norm_(network.parameters(), _MAX_GRAD_NORM)
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
                total += loss.item() * len(batch)
            network.eval()
            cost = self._eval_loss(fitted, rows)
            logger.info("epoch %d of %d: loss %.4f, on eval rows %.4f", epoch + 1, self.epochs, total / len(ids), cost)
            if best is None or cost < best[0]:
                best, since_best = (cost, trained_copy(network)), 0
            elif not np.isnan(cost):
                since_best += 1
                if since_best == self.patience:
                    break
        if best is not None and not np.isnan(best[0]):
            network.load_state_dict(best[1], strict=False)

    def _loss(self, network: Network, vectors: Tensor, gold: Tensor) -> Tensor:
        loss = vectors.new_zeros(())
        if self.contrast < 1:
            loss = loss + (1 - self.contrast) * nn.functional.cross_entropy(network.head(vectors), gold)
        if self.contrast > 0:
            loss = loss + self.contrast * supervised_contrastive(vectors, gold, self.temperature)
        return loss

    def _eval_loss(self, fitted: FineTuned, rows: Rows) -> float:
        """The training loss on the rows that choose, all in one batch; NaN without any."""
        if not rows.eval_texts or rows.eval_gold is None:
            return float("nan")
        with torch.no_grad():
            vectors = torch.from_numpy(fitted.vectors(rows.eval_texts)).to(fitted.device)
            gold = torch.from_numpy(rows.eval_gold).to(fitted.device)
            return float(self._loss(fitted.network, vectors, gold))

    def _optimizer(self, network: Network, n_steps: int) -> tuple[torch.optim.AdamW, Any]:
        from transformers import get_linear_schedule_with_warmup

        body = [one for one in network.model.parameters() if one.requires_grad]
        groups: list[dict[str, Any]] = [{"params": body, "lr": self.learning_rate}]
        if self.contrast < 1:
            groups.append({"params": list(network.head.parameters()), "lr": self.head_learning_rate})
        optimizer = torch.optim.AdamW(groups, weight_decay=self.weight_decay, fused=True)
        return optimizer, get_linear_schedule_with_warmup(optimizer, round(self.warmup_share * n_steps), n_steps)


def encoder_ce(task: Task, seed: int) -> FineTunedClassifier:
    """Unfitted."""
    return FineTunedClassifier(random_state=seed)


def encoder_supcon(task: Task, seed: int) -> FineTunedClassifier:
    """Unfitted."""
    return FineTunedClassifier(contrast=1.0, random_state=seed)


def encoder_mixed(task: Task, seed: int) -> FineTunedClassifier:
    """Unfitted."""
    return FineTunedClassifier(contrast=0.5, random_state=seed)


def encoder_lora(task: Task, seed: int) -> FineTunedClassifier:
    """Unfitted."""
    return FineTunedClassifier(lora_rank=16, learning_rate=1e-3, epochs=6, random_state=seed)


def encoder_pairs(task: Task, seed: int) -> PairsClassifier:
    """Unfitted."""
    return PairsClassifier(random_state=seed)


def llm_head(task: Task, seed: int) -> FineTunedClassifier:
    """Unfitted."""
    return FineTunedClassifier(SMOLLM2, "last", lora_rank=16, learning_rate=1e-3, epochs=2, random_state=seed)
