"""Losses as functions of scores, held to their definitions and to torch's own."""

from itertools import product

import numpy as np
import pytest
import torch

from optimizers.training.losses import ABSENT, cross_entropy_loss, exact_loss
from optimizers.training.rollouts import over_mean
from rewards import reward_matrix
from rewards.noisy_label import NoisyLabel
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


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_teachers_probabilities_are_learnt_by_torchs_loss_and_pull_by_what_is_missing(smoothing):
    scores = torch.tensor([[1.0, 0.2, -0.5], [-1.0, 0.3, 2.0]], requires_grad=True)
    targets, gold = torch.tensor([[0.7, 0.2, 0.1], [0.0, 0.0, 1.0]]), torch.tensor([0, 2])
    loss, metrics = cross_entropy_loss(scores, gold, targets=targets, label_smoothing=smoothing)
    torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(scores, targets, label_smoothing=smoothing))
    loss.backward()
    wanted = (1 - smoothing) * targets + smoothing / 3
    torch.testing.assert_close(scores.grad, (torch.softmax(scores.detach(), -1) - wanted) / 2)
    assert metrics["train_accuracy"] == 1.0


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


# What each scale ascends with a reward of 1 for gold: the gradient is held to autograd of the objective by its name.
OBJECTIVES = {
    "none": lambda gold: gold,
    "group": lambda gold: 2 * gold.sqrt().arcsin(),
    "mean": lambda gold: gold.log(),
}


@pytest.mark.parametrize("scale", OBJECTIVES)
def test_a_scale_ascends_the_objective_that_it_stands_for(scale):
    scores = torch.tensor([[0.3, -0.2, -0.9], [-2.0, 0.3, 1.9]], dtype=torch.float64)
    rewards = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]], dtype=torch.float64)
    wanted, given = scores.clone().requires_grad_(), scores.clone().requires_grad_()
    (-OBJECTIVES[scale](torch.softmax(wanted, -1)[:, 0]).mean()).backward()
    exact_loss(given, rewards, scale_rewards=scale)[0].backward()
    # "group" adds 1e-4 to the deviation, as TRL does.
    torch.testing.assert_close(given.grad, wanted.grad, rtol=1e-3 if scale == "group" else 1e-9, atol=0)


@pytest.mark.parametrize("far", [0.0, 40.0])
def test_by_the_mean_a_one_hot_reward_is_supervised_fine_tuning(far):
    """Also where the gold label is all but impossible, where every other scale has stopped learning."""
    scores, gold = torch.tensor([[0.3, -0.2, -0.9 - far], [-0.2, 0.3, 0.1]]), torch.tensor([2, 0])
    losses, grads = [], []
    for loss in (
        lambda one: cross_entropy_loss(one, gold)[0],
        lambda one: exact_loss(one, torch.eye(3)[gold], scale_rewards="mean")[0],
    ):
        given = scores.clone().requires_grad_()
        losses.append(loss(given))
        losses[-1].backward()
        grads.append(given.grad)
    torch.testing.assert_close(losses[1], losses[0])
    torch.testing.assert_close(grads[1], grads[0])


def test_by_the_mean_soft_rewards_ascend_the_logarithm_of_the_expected_reward():
    """And a row whose rewards are all 0 teaches nothing, where its logarithm would be no number."""
    scores = torch.tensor([[0.3, -0.2, -0.9], [-0.2, 0.3, ABSENT], [1.0, 2.0, 3.0]], dtype=torch.float64)
    rewards = torch.tensor([[0.25, 1.0, 0.0], [0.5, 0.1, 1.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    wanted, given = scores.clone().requires_grad_(), scores.clone().requires_grad_()
    (-(torch.softmax(wanted, -1) * rewards).sum(-1)[:2].log().sum() / 3).backward()
    exact_loss(given, rewards, scale_rewards="mean")[0].backward()
    torch.testing.assert_close(given.grad, wanted.grad)
    assert not given.grad[2].any()


def test_by_the_mean_a_noisy_label_is_as_likely_as_the_slips_make_it():
    """Forward correction: -ln sum_k P_k T_kg, over the transition matrix T."""
    scores, gold, share = torch.tensor([[0.3, -0.2, -0.9], [-3.0, 0.3, 0.1]], dtype=torch.float64), [2, 0], 0.2
    slips = torch.full((3, 3), share / 2, dtype=torch.float64).fill_diagonal_(1 - share)
    reward = NoisyLabel(3, share)
    rewards = torch.tensor(reward_matrix(reward, ["a", "b", "c"]))
    wanted, given = scores.clone().requires_grad_(), scores.clone().requires_grad_()
    (-(torch.softmax(wanted, -1) @ slips)[range(2), gold].log().mean()).backward()
    exact_loss(given, rewards[gold], scale_rewards="mean")[0].backward()
    torch.testing.assert_close(given.grad, wanted.grad)


@pytest.mark.parametrize("n_rollouts", [2, 4])
def test_sampled_by_the_mean_is_the_likelihoods_gradient_up_to_the_order_of_the_group(n_rollouts):
    """All draws there can be, each with its probability: the expectation itself, not a mean of some draws."""
    scores = torch.tensor([0.4, -0.2, -0.9], dtype=torch.float64, requires_grad=True)
    probs = torch.softmax(scores, -1)
    p = probs[0]
    (gradient_of_p,) = torch.autograd.grad(p, scores, retain_graph=True)
    slopes = torch.eye(3, dtype=torch.float64) - probs.detach()  # of ln P_k, a line a label
    expected = torch.zeros(3, dtype=torch.float64)
    for drawn in map(list, product(range(3), repeat=n_rollouts)):
        rewards = [float(k == 0) for k in drawn]
        centred = torch.tensor(rewards, dtype=torch.float64) - sum(rewards) / n_rollouts
        estimate = over_mean(centred, rewards, n_rollouts) @ slopes[drawn] / n_rollouts
        expected += probs.detach()[drawn].prod() * estimate
    torch.testing.assert_close(expected, (1 - (1 - p.detach()) ** (n_rollouts - 1)) / p.detach() * gradient_of_p)
