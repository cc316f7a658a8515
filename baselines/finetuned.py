"""Transformers trained as classifiers: an encoder's weights, or LoRA on them, and a head on the language model itself.

The head starts as a logistic regression on the untrained model's vectors, and both are then trained together: linear
probing, then fine-tuning (Kumar et al. 2022, arXiv:2202.10054). From a random head, the first steps would spoil an
encoder that is good already.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from baselines.base import Rows, TextClassifier
from labelwright.errors import MissingExtraError, ModelError, RecipeError
from labelwright.models import SMOLLM2, choose_device, choose_dtype
from labelwright.predictors.finetuned import FineTuned, Network, Pooling, Tokens, on_device
from labelwright.predictors.model_files import find_model
from labelwright.predictors.sentence_encoder import DEFAULT, encoder_folder, no_progress_bar
from labelwright.task import Task

logger = logging.getLogger(__name__)

# Of the head's logistic regression on unit vectors, where no rows are there to choose it.
HEAD_STRENGTH = 10.0
HEAD_STRENGTHS = (1.0, 10.0, 100.0)
# Rows of similar length are batched within so many batches drawn at random.
_POOL_BATCHES = 8
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
    device : str
        As in ``labelwright.models.choose_device``.
    dtype : str
        In which the transformer is run in training, as in ``labelwright.models.choose_dtype``; weights are float32.
    """

    heavy: ClassVar[bool] = True

    def __init__(
        self,
        model: str = DEFAULT,
        pooling: Pooling = "mean",
        contrast: float = 0.0,
        temperature: float = 0.1,
        lora_rank: int = 0,
        epochs: int = 6,
        patience: int = 2,
        learning_rate: float = 1e-4,
        head_learning_rate: float = 1e-2,
        batch_rows: int = 32,
        warmup_share: float = 0.1,
        weight_decay: float = 0.01,
        max_tokens: int = 256,
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
        self.device = device
        self.dtype = dtype
        self.labels = labels
        self.random_state = random_state

    def _train(self, rows: Rows) -> FineTuned:
        self._check()
        with own_random_state(self.random_state):
            fitted, stored = self._open(len(rows.classes))
            if self.contrast < 1:
                fit_head(fitted, rows)
            if self.epochs:
                self._tune(fitted, rows)
            if self.lora_rank:
                fitted.network.model = fitted.network.model.merge_and_unload()
            fitted.network.model = on_device(fitted.network.model.to(stored), fitted.device)
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

    def _open(self, n_labels: int) -> tuple[FineTuned, torch.dtype]:
        """The network in float32, LoRA added, and the dtype that its files have."""
        from transformers import AutoModel, AutoTokenizer

        folder = encoder_folder() if self.model == DEFAULT else find_model(self.model)
        safe: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}
        try:
            with no_progress_bar():
                model = AutoModel.from_pretrained(folder, dtype="auto", use_safetensors=True, **safe)
            tokenizer = AutoTokenizer.from_pretrained(folder, **safe)
        except (OSError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise ModelError(f"model {self.model} cannot be loaded: {reason}") from error
        stored = model.dtype
        model.config.use_cache = False
        longest = min(self.max_tokens, getattr(model.config, "max_position_embeddings", None) or self.max_tokens)
        model = model.float().to(choose_device(self.device))
        head = nn.Linear(model.config.hidden_size, n_labels).to(model.device)
        if self.lora_rank:
            model = _with_lora(model, self.lora_rank)
        return FineTuned(Network(model, head, self.pooling), Tokens(tokenizer, longest)), stored

    def _tune(self, fitted: FineTuned, rows: Rows) -> None:
        """Train the network in place; the best epoch's weights stay."""
        network, rng = fitted.network, np.random.default_rng(self.random_state)
        ids, gold = fitted.tokens(rows.texts), torch.from_numpy(rows.gold).to(fitted.device)
        compute = choose_dtype(self.dtype, fitted.device)
        n_steps = self.epochs * -(-len(ids) // self.batch_rows)
        optimizer, schedule = self._optimizer(network, n_steps)
        best: tuple[float, dict[str, Tensor]] | None = None
        since_best = 0
        for epoch in range(self.epochs):
            network.train()
            total = 0.0
            for batch in _batches(list(map(len, ids)), rows.gold, self.batch_rows, self.contrast > 0, rng):
                inputs = fitted.tokens.padded([ids[row] for row in batch], fitted.device)
                loss = self._loss(network, network.vectors(*inputs, compute), gold[batch])
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
                best, since_best = (cost, _copied(network)), 0
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


def supervised_contrastive(vectors: Tensor, gold: Tensor, temperature: float) -> Tensor:
    """Supervised contrastive loss, L_out of Khosla et al. 2020 (arXiv:2004.11362, eq. 2), over rows with a partner.

    Parameters
    ----------
    vectors : (n_rows, width)
        Unit vectors.
    gold : int64 (n_rows,)
    temperature : float, above 0

    Returns
    -------
    Tensor of shape ()
        0 where no two rows have the same label.

    Examples
    --------
    >>> pairs = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    >>> together = supervised_contrastive(pairs, torch.tensor([0, 0, 1, 1]), 0.1)
    >>> apart = supervised_contrastive(pairs, torch.tensor([0, 1, 0, 1]), 0.1)
    >>> round(together.item(), 3), round(apart.item(), 3)
    (0.0, 10.0)
    """
    itself = torch.eye(len(vectors), dtype=torch.bool, device=vectors.device)
    similarity = (vectors @ vectors.T / temperature).masked_fill(itself, float("-inf"))
    log_share = similarity - similarity.logsumexp(dim=1, keepdim=True)
    same = (gold[:, None] == gold) & ~itself
    n_same = same.sum(dim=1)
    if not n_same.any():
        return vectors.sum() * 0
    cost = -log_share.masked_fill(~same, 0).sum(dim=1)[n_same > 0] / n_same[n_same > 0]
    return cost.mean()


def fit_head(fitted: FineTuned, rows: Rows) -> None:
    """Set the head to a logistic regression on the vectors; its strength is chosen by log loss on the eval rows."""
    vectors = fitted.vectors(rows.texts)
    choose = bool(rows.eval_texts)
    heads = []
    for strength in HEAD_STRENGTHS if choose else (HEAD_STRENGTH,):
        regression = LogisticRegression(C=strength, max_iter=1000).fit(vectors, rows.gold)
        weight, bias = regression.coef_, regression.intercept_
        if len(weight) == 1:  # two labels
            weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
        heads.append((torch.from_numpy(weight).float(), torch.from_numpy(bias).float()))
    best = 0
    if choose:
        others, gold = torch.from_numpy(fitted.vectors(rows.eval_texts)), torch.from_numpy(rows.eval_gold)
        losses = [nn.functional.cross_entropy(others @ weight.T + bias, gold).item() for weight, bias in heads]
        best = int(np.argmin(losses))
        logger.info("head: strengths %s have log loss %s", HEAD_STRENGTHS, np.round(losses, 3))
    with torch.no_grad():
        fitted.network.head.weight.copy_(heads[best][0])
        fitted.network.head.bias.copy_(heads[best][1])


@contextmanager
def own_random_state(seed: int) -> Iterator[None]:
    """Seed every generator that training draws from, and put them back as they were afterwards."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


def _batches(
    lengths: Sequence[int], gold: NDArray[np.int64], batch_rows: int, in_pairs: bool, rng: np.random.Generator
) -> Iterator[list[int]]:
    """Every row once, in batches of similar length; in pairs of one label, so that the contrast has something to do."""
    units = _pairs(gold, rng) if in_pairs else [[row] for row in range(len(gold))]
    rng.shuffle(units)
    width = max(1, batch_rows // 2) if in_pairs else batch_rows
    batches = []
    for start in range(0, len(units), width * _POOL_BATCHES):
        pool = sorted(units[start : start + width * _POOL_BATCHES], key=lambda unit: max(lengths[row] for row in unit))
        batches += [pool[at : at + width] for at in range(0, len(pool), width)]
    rng.shuffle(batches)
    for batch in batches:
        yield [row for unit in batch for row in unit]


def _pairs(gold: NDArray[np.int64], rng: np.random.Generator) -> list[list[int]]:
    """Rows two by two with one label; the odd ones alone."""
    units: list[list[int]] = []
    for label in np.unique(gold):
        rows = rng.permutation(np.flatnonzero(gold == label)).tolist()
        units += [rows[at : at + 2] for at in range(0, len(rows), 2)]
    return units


def _copied(network: Network) -> dict[str, Tensor]:
    return {name: one.detach().clone() for name, one in network.named_parameters() if one.requires_grad}


def _with_lora(model: Any, rank: int) -> Any:
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise MissingExtraError('LoRA needs peft: pip install "labelwright[transformers]"') from error
    return get_peft_model(model, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear"))


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
    return FineTunedClassifier(lora_rank=16, learning_rate=1e-3, random_state=seed)


def llm_head(task: Task, seed: int) -> FineTunedClassifier:
    """Unfitted."""
    return FineTunedClassifier(SMOLLM2, "last", lora_rank=16, learning_rate=1e-3, epochs=4, random_state=seed)
