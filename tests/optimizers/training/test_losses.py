"""Losses as functions of scores, held to their definitions and to torch's own."""

import numpy as np
import pytest
import torch

from optimizers.training.losses import ABSENT, cross_entropy_loss, exact_loss
from rewards.rare_class import RareClass

# A right answer to the rare label is worth 1, to the common one a sixth (36 rows against 1, power 0.5).
WEIGHT = RareClass({"common": 36, "rare": 1}).weight("common")


def test_sampled_gradient_converges_on_the_exact_one():
    """With unscaled advantages both estimate the gradient of the expected reward."""
    scores = torch.tensor([[1.0, 0.2, -0.5]], requires_grad=True)
    rewards = torch.tensor([[0.0, 1.0, 0.0]])
    probabilities = torch.softmax(scores, -1)
    (probabilities * rewards).sum().backward()
    exact = -scores.grad.clone()
    scores.grad = None
    loss, metrics = exact_loss(scores, rewards)
    loss.backward()
    deviation = (metrics["reward"] * (1 - metrics["reward"])) ** 0.5
    torch.testing.assert_close(scores.grad, exact / (deviation + 1e-4), rtol=1e-3, atol=1e-5)


def test_exact_advantages_leave_nothing_to_learn_from_a_constant_reward():
    scores = torch.tensor([[1.0, 0.2, -0.5]], requires_grad=True)
    loss, metrics = exact_loss(scores, torch.ones(1, 3))
    loss.backward()
    assert scores.grad.abs().max() < 1e-3
    assert metrics["frac_reward_zero_std"] == 1.0


def test_kl_is_zero_at_the_reference_and_pulls_back_elsewhere():
    scores = torch.tensor([[1.0, 0.2, -0.5]], requires_grad=True)
    rewards = torch.tensor([[0.0, 1.0, 0.0]])
    _, at_home = exact_loss(scores, rewards, beta=0.5, reference=scores.detach() - 3.0)
    _, away = exact_loss(scores, rewards, beta=0.5, reference=torch.tensor([[0.0, 2.0, 0.0]]))
    assert at_home["kl"] == pytest.approx(0.0, abs=1e-6), "a shift of all options changes no probability"
    assert away["kl"] > 0.1


def test_validity_term_raises_the_mass_on_the_labels():
    scores = torch.tensor([[-3.0, -4.0, -5.0]], requires_grad=True)
    loss, _ = exact_loss(scores, torch.ones(1, 3), validity=0.1)
    loss.backward()
    assert (scores.grad < 0).all(), "descent raises every option's log-probability"


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_smoothing_is_torchs_and_leaves_out_letters_that_a_row_does_not_have(smoothing):
    scores, gold = torch.tensor([[1.0, 0.2, -0.5], [-1.0, 0.3, 2.0]]), torch.tensor([1, 0])
    expected = torch.nn.functional.cross_entropy(scores, gold, label_smoothing=smoothing)
    wide = torch.cat([scores, torch.full((2, 2), ABSENT)], dim=1)
    for given in (scores, wide):
        torch.testing.assert_close(cross_entropy_loss(given, gold, label_smoothing=smoothing)[0], expected)


def test_cross_entropy_asks_for_valid_answers_where_told():
    scores = torch.tensor([[-3.0, -4.0, -50.0]], requires_grad=True)
    loss, metrics = cross_entropy_loss(scores, torch.tensor([0]), validity=10.0)
    loss.backward()
    assert (scores.grad[0, :2] < 0).all()
    assert metrics["valid_mass"] == pytest.approx(np.exp(-3) + np.exp(-4))


def row_gradients(scale, rows_per_forward=2):
    """Gradient of a common and of a rare row's scores, both under the same P(gold)."""
    scores = torch.tensor([[0.3, -0.2, -0.9], [-0.2, 0.3, -0.9]], requires_grad=True)
    rewards = torch.tensor([[WEIGHT, 0.0, 0.0], [0.0, 1.0, 0.0]])
    exact_loss(scores, rewards, scale_rewards=scale)[0].backward()
    return scores.grad[0, 0] / scores.grad[1, 1], scores.grad


@pytest.mark.parametrize(("scale", "ratio"), [("group", 1.0), ("batch", WEIGHT), ("none", WEIGHT)])
def test_exact_gradient_of_a_common_row_is_what_was_asked(scale, ratio):
    assert pytest.approx(1 / 6) == WEIGHT
    assert float(row_gradients(scale)[0]) == pytest.approx(ratio, rel=5e-3)


def test_exact_scales_are_the_row_the_batch_and_one():
    """A_k = (r_k - sum P r) / scale, by autograd over the definition."""
    scores = torch.tensor([[0.3, -0.2, -0.9], [-0.2, 0.3, -0.9]], dtype=torch.float64)
    rewards = torch.tensor([[WEIGHT, 0.0, 0.0], [0.0, 1.0, 0.0]], dtype=torch.float64)
    probabilities = torch.softmax(scores, -1)
    draws = torch.stack([probabilities.flatten() / 2, rewards.flatten()])
    whole = float((draws[0] * (draws[1] - (draws[0] * draws[1]).sum()) ** 2).sum().sqrt())
    plain = scores.clone().requires_grad_()
    (-(torch.softmax(plain, -1) * rewards).sum(-1).mean()).backward()
    for scale, divisor in (("none", 1.0), ("batch", whole + 1e-4)):
        given = scores.clone().requires_grad_()
        exact_loss(given, rewards, scale_rewards=scale)[0].backward()
        torch.testing.assert_close(given.grad, plain.grad / divisor)
