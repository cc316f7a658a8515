"""What a step of GEPA tries: its rows, and which of its proposals goes on."""

from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizers.gepa.sampling import EXPECTED_REWARD, ExpectedRewardSelection, StepSampling, n_first


@settings(max_examples=40, deadline=None)
@given(counts=st.lists(st.integers(1, 20), min_size=2, max_size=5), size=st.integers(1, 12), seed=st.integers(0, 9))
def test_minibatches_are_stratified_and_an_epoch_repeats_no_row(counts, size, seed):
    labels = [str(k) for k, n in enumerate(counts) for _ in range(n)]
    sampling = StepSampling(labels, size, 1, "pareto", seed, lambda rows: None)
    size = min(size, len(labels))
    per_epoch = len(labels) // size
    epoch = [sampling.minibatch(i) for i in range(per_epoch)]
    rows = [row for batch in epoch for row in batch]
    assert len(set(rows)) == len(rows) == per_epoch * size
    for k, n in enumerate(counts):
        for batch in epoch:
            share = sum(labels[row] == str(k) for row in batch)
            assert abs(share - size * n / len(labels)) < 3
    assert epoch == [
        StepSampling(labels, size, 1, "pareto", seed, lambda rows: None).minibatch(i) for i in range(per_epoch)
    ]


FIRST, LATER = SimpleNamespace(i=0), SimpleNamespace(i=1)


def proposal(before, after):
    """Two rows each: what was scored, and the expected reward beside it."""

    def evaluation(scores, expected):
        return SimpleNamespace(scores=scores, objective_scores=expected and [{EXPECTED_REWARD: e} for e in expected])

    return SimpleNamespace(eval_before=evaluation(*before), eval_after=evaluation(*after))


def test_the_highest_expected_reward_goes_on():
    before = [0, 1], [0.2, 0.6]
    luckier, surer = proposal(before, ([1, 1], [0.3, 0.6])), proposal(before, ([0, 1], [0.4, 0.9]))
    assert ExpectedRewardSelection().select([luckier, surer], LATER, None) == [surer]
    worse = proposal(before, ([1, 1], [0.3, 0.4]))
    assert ExpectedRewardSelection().select([worse], LATER, None) == []


def test_without_probabilities_scores_are_compared():
    better, same = proposal(([0, 1], None), ([1, 1], None)), proposal(([0, 1], None), ([1, 0], None))
    assert ExpectedRewardSelection().select([same, better], LATER, None) == [better]
    assert ExpectedRewardSelection().select([same], LATER, None) == []


def test_from_the_first_step_several_go_on_if_better_and_from_later_ones_the_best():
    before = [0, 1], [0.2, 0.6]
    best, good, fair = (proposal(before, ([0, 1], [0.2, value])) for value in (0.9, 0.8, 0.7))
    worse = proposal(before, ([1, 1], [0.2, 0.5]))
    selection = ExpectedRewardSelection(n_first=2)
    assert selection.select([fair, worse, good, best], FIRST, None) == [best, good]
    assert selection.select([worse, fair], FIRST, None) == [fair]
    assert selection.select([fair, worse, good, best], LATER, None) == [best]


def test_of_the_first_step_each_that_would_go_on_is_raced_and_the_rows_are_counted():
    def entrant(name, value):
        return SimpleNamespace(**vars(proposal(([0], [0.2]), ([0], [value]))), candidate=name)

    spent = []
    state = SimpleNamespace(
        i=0, program_candidates=["first"], program_full_scores_val_set=[0.5], increment_evals=spent.append
    )
    best, good = entrant("best", 0.9), entrant("good", 0.8)
    rows_of = {"best": 7, "good": 0}
    selection = ExpectedRewardSelection(lambda one, leader: rows_of[one], n_first=2)
    assert selection.select([good, best], state, None) == [good]
    assert spent == [7]


@pytest.mark.parametrize(("iteration", "n_proposals"), [(0, 6), (1, 2)])
def test_the_first_step_makes_more_proposals_for_one_parent_and_one_minibatch(iteration, n_proposals):
    sampling = StepSampling(["a", "b"] * 6, 4, 2, "current_best", 0, lambda rows: None, n_first=3)
    state = SimpleNamespace(i=iteration, per_program_tracked_scores=[0.5], program_candidates=["first"])
    tasks = sampling.sample_tasks(state, None, None, SimpleNamespace(fetch=list))
    assert len(tasks) == n_proposals
    assert {(task.parent_idx, tuple(task.minibatch_ids)) for task in tasks} == {
        (0, tuple(sampling.minibatch(iteration)))
    }


@given(calls=st.integers(1, 5000), dev=st.integers(1, 800), size=st.integers(1, 50), n=st.integers(1, 8))
def test_the_first_step_ends_the_search_no_later_than_another_may(calls, dev, size, n):
    several = n_first(calls, dev, size, n)
    step = size + n * size + dev
    assert 1 <= several <= n_first(calls + 1, dev, size, n)
    # The first program on all of dev, its minibatch, and the proposals.
    spent = dev + size + several * (n * size + dev)
    assert several == 1 or spent < calls + step
    if dev >= calls:
        assert several == 1
