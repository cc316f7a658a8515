"""What a step of GEPA tries: its rows, and which of its proposals goes on."""

from types import SimpleNamespace

from hypothesis import given, settings
from hypothesis import strategies as st

from optimizers.gepa.sampling import EXPECTED_REWARD, ExpectedRewardSelection, StepSampling


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


def proposal(before, after):
    """Two rows each: what was scored, and the expected reward beside it."""

    def evaluation(scores, expected):
        return SimpleNamespace(scores=scores, objective_scores=expected and [{EXPECTED_REWARD: e} for e in expected])

    return SimpleNamespace(eval_before=evaluation(*before), eval_after=evaluation(*after))


def test_the_highest_expected_reward_goes_on():
    before = [0, 1], [0.2, 0.6]
    luckier, surer = proposal(before, ([1, 1], [0.3, 0.6])), proposal(before, ([0, 1], [0.4, 0.9]))
    assert ExpectedRewardSelection().select([luckier, surer], None, None) == [surer]
    worse = proposal(before, ([1, 1], [0.3, 0.4]))
    assert ExpectedRewardSelection().select([worse], None, None) == []


def test_without_probabilities_scores_are_compared():
    better, same = proposal(([0, 1], None), ([1, 1], None)), proposal(([0, 1], None), ([1, 0], None))
    assert ExpectedRewardSelection().select([same, better], None, None) == [better]
    assert ExpectedRewardSelection().select([same], None, None) == []
