"""What a step of GEPA tries: from which parent, on which rows, and which of its proposals goes on.

GEPA draws from one random stream that is not part of its saved state. Here every draw starts from (seed, iteration)
instead, so that a search that was killed and started again goes on exactly as it would have.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from math import ceil
from typing import Any

from gepa.gepa_utils import idxmax, select_program_candidate_from_pareto_front
from gepa.strategies.proposal_sampling import ProposalTask

# The metric's second number, beside the score.
EXPECTED_REWARD = "expected_reward"
# A step is done again whole where the search was killed in it, so the first may not grow with every budget.
_MOST_FIRST = 8


def n_first(max_metric_calls: int, n_validation: int, minibatch_size: int, n_proposals: int) -> int:
    """Proposals of the first step that may go on to all validation rows, for each of which ``n_proposals`` are made.

    The search begins with a population, by one round of successive halving (Jamieson and Talwalkar 2016): many are
    ranked by a minibatch, the better part by all validation rows. As many as half of the calls pay for, rounded up, so
    that a search ends no later than an ordinary last step may have it end; where validation rows are too dear for two,
    the first step is as every other.

    >>> n_first(300, 70, 18, 3), n_first(900, 70, 18, 3), n_first(300, 500, 18, 3)
    (2, 4, 1)
    """
    return min(ceil(max_metric_calls / 2 / (n_validation + n_proposals * minibatch_size)), _MOST_FIRST)


class StepSampling:
    """GEPA's ``SamplingStrategy``: one parent and one minibatch a step, several proposals for them.

    All proposals of a step are judged on the same rows as their parent, which is scored once. Minibatches are
    stratified: in an epoch every label's rows are spread evenly.

    Parameters
    ----------
    labels : sequence of str
        Gold labels of the trainset, in its order.
    on_minibatch : callable
        Told each minibatch before it is scored.
    n_first : int
        The first step makes so many times ``n_proposals``.
    """

    def __init__(
        self,
        labels: Sequence[str],
        minibatch_size: int,
        n_proposals: int,
        selection: str,
        seed: int,
        on_minibatch: Callable[[Sequence[Any]], None],
        n_first: int = 1,
    ) -> None:
        self.labels = labels
        self.minibatch_size = min(minibatch_size, len(labels))
        self.n_proposals = n_proposals
        self.selection = selection
        self.seed = seed
        self.on_minibatch = on_minibatch
        self.n_first = n_first

    def sample_tasks(self, state: Any, candidate_selector: Any, batch_sampler: Any, trainset: Any) -> list[Any]:
        """The step's tasks; ``state.i`` is the iteration, counted from 0."""
        parent = self._parent(state)
        ids = self.minibatch(state.i)
        rows = trainset.fetch(ids)
        self.on_minibatch(rows)
        n_proposals = self.n_proposals * (self.n_first if state.i == 0 else 1)
        return [ProposalTask(parent, state.program_candidates[parent], ids, rows) for _ in range(n_proposals)]

    def minibatch(self, iteration: int) -> list[int]:
        """Row positions of an iteration's minibatch; an epoch's remainder shorter than a minibatch is left out."""
        per_epoch = len(self.labels) // self.minibatch_size
        epoch, number = divmod(iteration, per_epoch)
        order = self._epoch_order(epoch)
        return order[number * self.minibatch_size : (number + 1) * self.minibatch_size]

    def _epoch_order(self, epoch: int) -> list[int]:
        rng = random.Random(f"{self.seed} epoch {epoch}")
        place: list[tuple[float, int]] = []
        for label in sorted(set(self.labels)):
            rows = [i for i, gold in enumerate(self.labels) if gold == label]
            rng.shuffle(rows)
            offset = rng.random()
            place += [((number + offset) / len(rows), row) for number, row in enumerate(rows)]
        return [row for _, row in sorted(place)]

    def _parent(self, state: Any) -> int:
        scores = state.per_program_tracked_scores
        if self.selection == "current_best":
            return int(idxmax(scores))
        # Built anew in sorted order: a set that went through a file may iterate in another.
        fronts = {row: set(sorted(front)) for row, front in state.get_pareto_front_mapping().items()}  # noqa: C414
        rng = random.Random(f"{self.seed} parent {state.i}")
        return int(select_program_candidate_from_pareto_front(fronts, scores, rng))


class ExpectedRewardSelection:
    """GEPA's ``SelectionStrategy``: a step's proposal with the highest expected reward, if its parent's is lower.

    Of the first step several go on, each if its parent's is lower.

    The expected reward of a row is the mean reward of a label drawn from P(label | row). On a minibatch it tells good
    instructions from bad ones better than the reward of the likeliest label, which jumps: over 22 instructions, SmolLM2
    and rows of the homeowner set, 24 rows' expected reward correlated 0.53 with accuracy on all other rows, their
    accuracy 0.41. What is best on dev is
    decided by the objective (``choice.objective``), and what is taken by rows held back (``choice.confirmation``).

    GEPA scores what goes on from here on all validation rows at once, and asks its evaluation policy which rows without
    saying of which program. So this is where a race is run: the last place before that, and the first that knows both.

    Parameters
    ----------
    race : callable, optional
        Of a proposal's program and that of the best so far: the rows that were scored when it was given up, or 0.
    n_first : int
        Most that go on from the first step.
    """

    def __init__(
        self, race: Callable[[Mapping[str, str], Mapping[str, str]], int] | None = None, n_first: int = 1
    ) -> None:
        self.race = race
        self.n_first = n_first

    def select(self, proposals: list[Any], state: Any, acceptance_criterion: Any) -> list[Any]:
        """The proposals to go on with, if any. The rows of one that is given up are counted in ``state``."""
        ranked = sorted(proposals, key=lambda proposal: -_expected_reward(proposal.eval_after))
        best = ranked[: self.n_first if state.i == 0 else 1]
        better = [one for one in best if _expected_reward(one.eval_after) > _expected_reward(one.eval_before)]
        return [one for one in better if not self._is_given_up(one, state)]

    def _is_given_up(self, proposal: Any, state: Any) -> bool:
        if self.race is None:
            return False
        leader = state.program_candidates[idxmax(state.program_full_scores_val_set)]
        n_rows = self.race(proposal.candidate, leader)
        if n_rows:
            state.increment_evals(n_rows)
        return n_rows > 0


def _expected_reward(evaluation: Any) -> float:
    """Sum over a minibatch; a row that failed counts its score."""
    objectives = evaluation.objective_scores or [{}] * len(evaluation.scores)
    rows = zip(objectives, evaluation.scores, strict=True)
    return float(sum(objective.get(EXPECTED_REWARD, score) for objective, score in rows))
