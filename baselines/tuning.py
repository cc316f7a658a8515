"""Parts of training a transformer as a classifier: opening it, its head, losses, batches, random state.

``baselines.finetuned`` puts them together.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from baselines.base import Rows
from labelwright.errors import MissingExtraError, ModelError
from labelwright.models.loading import choose_device, choose_dtype
from labelwright.predictors.encoders.model_files import find_model
from labelwright.predictors.encoders.sentence_encoder import DEFAULT, encoder_folder
from labelwright.predictors.finetuned import FineTuned, Network, Pooling, Tokens, on_device, rounded
from labelwright.reading import no_progress_bar, no_prompts

logger = logging.getLogger(__name__)

# Of the head's logistic regression on unit vectors, without rows to choose it, and those to choose from.
HEAD_STRENGTH = 10.0
HEAD_STRENGTHS = (1.0, 10.0, 100.0)
# Rows of similar length are batched within so many batches drawn at random.
_POOL_BATCHES = 8


def model_folder_of(name: str) -> Path:
    """Where the files of "minilm", "smollm2", an id or a folder lie. Raises ModelError as ``find_model``."""
    return encoder_folder() if name == DEFAULT else find_model(name)


def open_network(
    name: str,
    pooling: Pooling,
    n_labels: int,
    max_tokens: int,
    ending: str = "",
    device: str = "auto",
    dtype: str = "auto",
) -> tuple[FineTuned, torch.dtype]:
    """A network to train, in float32 with a random head, computing in ``dtype``; and the dtype that its files have.

    Raises
    ------
    ModelError
        Files that cannot be had or loaded.
    """
    from transformers import AutoModel, AutoTokenizer

    folder = model_folder_of(name)
    try:
        with no_progress_bar(), no_prompts():
            model = AutoModel.from_pretrained(
                folder, dtype="auto", use_safetensors=True, trust_remote_code=False, local_files_only=True
            )
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"model {name} cannot be loaded: {reason}") from error
    stored = model.dtype
    model.config.use_cache = False
    longest = min(max_tokens, getattr(model.config, "max_position_embeddings", None) or max_tokens)
    model = model.float().to(choose_device(device))
    head = nn.Linear(model.config.hidden_size, n_labels).to(model.device)
    fitted = FineTuned(Network(model, head, pooling), Tokens(tokenizer, longest, ending))
    fitted.compute = choose_dtype(dtype, fitted.device)
    return fitted, stored


def finished(fitted: FineTuned, stored: torch.dtype) -> FineTuned:
    """The network as it will be loaded: weights rounded to what they came in, and computing in that."""
    fitted.network.model = on_device(rounded(fitted.network.model, stored), fitted.device)
    fitted.compute = None
    return fitted


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


def batches(
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


def trained_copy(network: Network) -> dict[str, Tensor]:
    """Copies of the parameters that are being trained, by name."""
    return {name: one.detach().clone() for name, one in network.named_parameters() if one.requires_grad}


def with_lora(model: Any, rank: int) -> Any:
    """The model with LoRA on every linear layer, only that being trained. Raises MissingExtraError without peft."""
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise MissingExtraError('LoRA needs peft: pip install "labelwright[transformers]"') from error
    return get_peft_model(model, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear"))
