"""The losses over a closed answer space: pure functions of tensors, each differentiable in the scores.

Written once for all of them: n rows of a forward pass, K labels; ``scores`` (n, K) are s_k, the options'
log-probabilities under the whole vocabulary; P = softmax_k(s_k) is the classifier that answers. Every loss is a mean
over rows. Who scores the rows is ``trainer``; how rewards become a matrix is ``rewards``.

The vocabulary also holds what is no label. softmax_k does not see it, so a loss of P alone leaves unbounded how much
the model would say besides under free decoding. The validity term, -c * logsumexp_k(s_k), pays for that mass.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from optimizers.training.settings import Scale

# Keeps the exact advantage finite where the model is already certain; TRL uses the same value for its groups.
ADVANTAGE_EPSILON = 1e-4
# The score of a letter that a row does not use: probability 0, and still a number. Not -inf, for zero times minus
# infinity is none.
ABSENT = -1e4


def cross_entropy_loss(
    scores: Tensor,
    gold: Tensor,
    *,
    targets: Tensor | None = None,
    label_smoothing: float = 0.0,
    validity: float = 0.0,
) -> tuple[Tensor, dict[str, float]]:
    """-ln softmax_k(s_k)[gold]: the log-probability of the gold label among the labels.

    With ``targets`` q it is -sum_k q_k ln softmax_k(s_k), cross-entropy to a teacher (Hinton, Vinyals and Dean 2015,
    arXiv 1503.02531, at temperature 1): every label is scored anyway, so the sum is whole and nothing is drawn.

    Parameters
    ----------
    scores : tensor (n, K)
        ``ABSENT`` for a letter that a row does not use.
    gold : int64 tensor (n,)
    targets : tensor (n, K), optional
        Probabilities to learn in the place of gold, which is then only counted.
    label_smoothing : float in [0, 1)
        Share of the target that is spread evenly over the labels that a row has (Szegedy et al. 2016, section 7).
    validity : float
        Weight c of the validity term.

    Returns
    -------
    loss : scalar tensor
    metrics : dict
        train_accuracy and train_log_loss (before the update), entropy (nats), valid_mass (exp of logsumexp).

    Examples
    --------
    >>> loss, metrics = cross_entropy_loss(torch.tensor([[0.0, 0.0]]), torch.tensor([1]))
    >>> round(loss.item(), 3), metrics["valid_mass"]
    (0.693, 2.0)
    """
    log_probs = torch.log_softmax(scores, dim=-1)  # (n, K)
    loss = -log_probs.gather(-1, gold[:, None]).mean() if targets is None else -(targets * log_probs).sum(-1).mean()
    with torch.no_grad():
        metrics = {
            "train_accuracy": (scores.argmax(-1) == gold).float().mean().item(),
            "train_log_loss": loss.item(),
            **spread_of(scores, log_probs),
        }
    if label_smoothing:
        has = scores > ABSENT
        even = (log_probs.masked_fill(~has, 0.0).sum(-1) / has.sum(-1)).mean()
        loss = (1 - label_smoothing) * loss - label_smoothing * even
    return with_validity(loss, scores, validity), metrics


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
    """GRPO's loss (Shao et al. 2024, equation 3) with the whole answer space as the group, each label weighted by P.

    A_k = (r_k - E[r]) / scale with E[r] = sum_j P_j r_j, and loss = -sum_k P_k A_k with the advantages held fixed. A
    group of drawn labels estimates these sums; here nothing is drawn, so nothing is left to chance. The scale says what
    a row's gradient is that of, beside "none" with the same direction and another length:

    ======= =========================== ====================== ========================================================
    scale   divides by                  with a 0/1 reward      from
    ======= =========================== ====================== ========================================================
    "none"  1                           P_gold                 Dr. GRPO (Liu et al. 2025, arXiv 2503.20783)
    "group" the row's deviation of r    2 arcsin sqrt(P_gold)  GRPO (Shao et al. 2024, arXiv 2402.03300)
    "batch" the step's deviation of r   P_gold, by the step    Lite PPO (Liu et al. 2025, arXiv 2508.08221)
    "mean"  E[r]                        ln P_gold              MaxRL (Tajwar et al. 2026, arXiv 2602.02710)
    ======= =========================== ====================== ========================================================

    As P_gold falls, "group" learns from a row by sqrt(P_gold), "none" by P_gold; "mean" ascends ln E[r] and loses none:
    with a 0/1 reward it is the cross-entropy of SFT. It is computed as -ln E[r] itself, so no E[r] is too small.

    Parameters
    ----------
    scores : tensor (n, K)
    rewards : tensor (n, K)
        r_k for each row's gold label.
    beta : float
        Weight of KL(P || P_reference), summed over the labels.
    reference : tensor (n, K), optional
        s_k under the starting weights; needed where beta is above 0.
    validity : float
        Weight c of the validity term.
    scale_rewards : {"group", "batch", "none", "mean"}
        The scale, as above; "mean" learns nothing from a row whose rewards are all 0.
    deviation : scalar tensor, optional
        "batch": the deviation to take, where the rows are only a part of the step's.

    Returns
    -------
    loss : scalar tensor
    metrics : dict
        reward (expected), frac_reward_zero_std, entropy (nats), valid_mass (exp of logsumexp), kl.

    Examples
    --------
    >>> scores = torch.zeros(1, 2, requires_grad=True)
    >>> loss, metrics = exact_loss(scores, torch.tensor([[1.0, 0.0]]), scale_rewards="none")
    >>> loss.backward()
    >>> metrics["reward"], scores.grad.tolist()  # dP_1/ds_1 = P_1 (1 - P_1)
    (0.5, [[-0.25, 0.25]])
    """
    log_probs = torch.log_softmax(scores, dim=-1)  # (n, K)
    probs = log_probs.exp()
    with torch.no_grad():
        mean = (probs * rewards).sum(-1, keepdim=True)  # (n, 1)
        spread = (probs * (rewards - mean) ** 2).sum(-1, keepdim=True).sqrt()  # (n, 1)
        advantages = rewards - mean  # (n, K)
        if scale_rewards == "group":
            advantages = advantages / (spread + ADVANTAGE_EPSILON)
        elif scale_rewards == "batch":
            whole = reward_deviation(scores, rewards) if deviation is None else deviation
            advantages = advantages / (whole + ADVANTAGE_EPSILON)
        metrics = {
            "reward": mean.mean().item(),
            "frac_reward_zero_std": (spread < ADVANTAGE_EPSILON).float().mean().item(),
            **spread_of(scores, log_probs),
        }
    loss = (
        -log_mean_reward(log_probs, rewards).mean() if scale_rewards == "mean" else -(probs * advantages).sum(-1).mean()
    )
    if beta:
        if reference is None:
            raise ValueError("beta > 0 needs the reference log-probabilities")
        divergence = kl(log_probs, reference)
        loss = loss + beta * divergence
        metrics["kl"] = divergence.item()
    return with_validity(loss, scores, validity), metrics


def log_mean_reward(log_probs: Tensor, rewards: Tensor) -> Tensor:
    """ln sum_k P_k r_k of every row, (n,); 0 without a gradient where all of a row's rewards are 0.

    Parameters
    ----------
    log_probs : tensor (n, K)
        ln P_k.
    rewards : tensor (n, K)
        0 or more.

    Examples
    --------
    >>> round(log_mean_reward(torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[1.0, 0.0]])).item(), 3)
    -0.693
    """
    none = ~(rewards > 0).any(dim=-1, keepdim=True)
    # ln 0 is what leaves a label out of the sum; a row of nothing else has no logarithm, nor one's gradient.
    weights = rewards.log().masked_fill(none, 0.0)
    return (log_probs + weights).logsumexp(-1).masked_fill(none.squeeze(-1), 0.0)


@torch.no_grad()
def reward_deviation(scores: Tensor, rewards: Tensor, mean: Callable[[Tensor], Tensor] = torch.mean) -> Tensor:
    """Standard deviation of the reward of a label drawn from P for a row taken at random, a scalar.

    Parameters
    ----------
    scores, rewards : tensors (n, K)
    mean : callable
        Values (n,) to their mean; that over more rows than these, where others have them.
    """
    probs = torch.softmax(scores, dim=-1)
    expected = mean((probs * rewards).sum(-1))
    return mean((probs * (rewards - expected) ** 2).sum(-1)).sqrt()


@torch.no_grad()
def gold_rank(scores: Tensor, gold: Tensor) -> float:
    """Mean place of the gold label among a row's labels by score, 1 for the best; of equal scores the worst place.

    Parameters
    ----------
    scores : tensor (n, K)
    gold : int64 tensor (n,)

    Examples
    --------
    >>> gold_rank(torch.tensor([[0.5, 0.1, 0.3], [0.5, 0.1, 0.3]]), torch.tensor([0, 1]))
    2.0
    """
    return (scores >= scores.gather(-1, gold[:, None])).sum(-1).float().mean().item()


def kl(log_probs: Tensor, reference: Tensor) -> Tensor:
    """KL(P || P_reference), a mean over rows, in nats; of ln P_k and of the reference's scores, (n, K) both."""
    return (log_probs.exp() * (log_probs - torch.log_softmax(reference, dim=-1))).sum(-1).mean()


def with_validity(loss: Tensor, scores: Tensor, weight: float) -> Tensor:
    """The loss and the validity term of the scores (n, K)."""
    return loss - weight * scores.logsumexp(-1).mean() if weight else loss


def spread_of(scores: Tensor, log_probs: Tensor) -> dict[str, float]:
    """How sure the classifier is, and how much of the vocabulary's probability is on labels at all."""
    return {
        "entropy": -(log_probs.exp() * log_probs).sum(-1).mean().item(),
        "valid_mass": scores.logsumexp(-1).exp().mean().item(),
    }
