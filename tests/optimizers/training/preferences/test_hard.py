"""Which rows are hard: by margins, by who has not seen the row, by labels that are mixed up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from fakes import toy_splits, toy_task
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwright.data.task import group_keys
from labelwright.statistics.calibration import group_folds
from optimizers.training.preferences import hard
from optimizers.training.preferences.hard import FOLDS, confusions_opinion, hard_pairs, log_softmax, words_opinion

ROWS = toy_splits().train
NAMES = list(toy_task().names)
GOLD = np.array([NAMES.index(row.label) for row in ROWS])


@settings(max_examples=40)
@given(
    st.integers(0, 2**31), st.integers(1, 12), st.integers(2, 5), st.floats(0, 5), st.integers(1, 4), st.integers(1, 2)
)
def test_pairs_are_gold_over_what_some_opinion_holds_near(seed, n_rows, n_labels, margin, most, n_opinions):
    chance = np.random.default_rng(seed)
    gold = chance.integers(n_labels, size=n_rows)
    opinions = {str(i): log_softmax(chance.normal(size=(n_rows, n_labels), scale=3)) for i in range(n_opinions)}
    found = hard_pairs(gold, opinions, margin, most)
    near = np.min([one[np.arange(n_rows), gold][:, None] - one for one in opinions.values()], axis=0)
    for row in range(n_rows):
        rejected = [r for at, c, r in found.pairs if at == row and c == gold[row]]
        others = sorted((near[row, k], k) for k in range(n_labels) if k != gold[row] and near[row, k] <= margin)
        assert rejected == [k for _, k in others][:most]
    assert len(found.pairs) == len({*found.pairs})
    wider = hard_pairs(gold, opinions, margin + 1, most)
    assert {row for row, _, _ in found.pairs} <= {row for row, _, _ in wider.pairs}


def test_no_opinions_find_nothing():
    assert hard_pairs(GOLD, {}, 1.0, 2) == ([], {})


def test_words_are_asked_of_rows_that_taught_them_nothing(monkeypatch):
    """A row's label changed, its own answer stays: its fold, its whole group in it, was learnt without it."""
    said = words_opinion(ROWS, GOLD, 3, seed=0)
    assert (said.argmax(1) == GOLD).mean() > 0.6, "it has learnt something"
    np.testing.assert_allclose(np.exp(said).sum(1), 1)
    fold = group_folds(GOLD, group_keys(ROWS), FOLDS, 0)
    asked = []
    monkeypatch.setattr(hard, "group_folds", lambda *given: fold)
    # Without the temperature, which all answers share.
    monkeypatch.setattr(hard, "fit_calibration", lambda scores, gold, bias: asked.append(scores) or Untouched())
    changed = GOLD.copy()
    changed[fold == 0] = (changed[fold == 0] + 1) % 3
    for labels in (GOLD, changed):
        words_opinion(ROWS, labels, 3, seed=0)
    same, others = (np.abs(asked[0] - asked[1])[part].max() for part in (fold == 0, fold != 0))
    assert same == 0
    assert others > 0.01


class Untouched:
    def logits(self, scores):
        return scores


def test_a_label_that_the_other_folds_lack_is_never_answered_and_of_its_own_rows_nothing_is_said():
    alone = [replace(row, group="one") if row.label == NAMES[2] else row for row in ROWS]
    said = words_opinion(alone, GOLD, 3, seed=0)
    assert np.isnan(said[GOLD == 2]).all()
    beside = (
        group_folds(GOLD, group_keys(alone), FOLDS, 0) == group_folds(GOLD, group_keys(alone), FOLDS, 0)[GOLD == 2][0]
    )
    assert np.exp(said[beside & (GOLD != 2), 2]).max() < 1e-3
    assert not np.isnan(said[GOLD != 2]).any()
    doubted = hard_pairs(GOLD, {"words": said, "confusions": confusions_opinion(GOLD, [said])}, 100.0, 2).pairs
    assert {GOLD[row] for row, _, _ in doubted} == {0, 1}


def test_one_label_alone_is_no_opinion():
    only = words_opinion(ROWS[:4], np.zeros(4, dtype=np.int64), 3, seed=0)
    assert np.isnan(only).all()


def test_who_can_say_nothing_of_a_row_does_not_doubt_it():
    """The other folds hold one label only, or there are none."""
    pool, fence = (replace(ROWS[n], label=name, group=None) for n, name in enumerate(NAMES[:2]))
    rows = [replace(pool, id=str(n), text=f"green pool {n}") for n in range(12)]
    rows += [replace(fence, id=f"f{n}", text=f"broken fence {n}", group="one") for n in range(2)]
    gold = np.array([0] * 12 + [1] * 2)
    words = words_opinion(rows, gold, 3, seed=0)
    silent = np.isnan(words).all(axis=1)
    assert silent[12:].all(), "of the two fences the other folds teach nothing"
    assert not np.isnan(words[~silent]).any()
    assert (~silent).sum() > 6
    confusions = confusions_opinion(gold, [words])
    assert np.isnan(confusions).all(axis=1).tolist() == [False] * 12 + [True] * 2
    found = hard_pairs(gold, {"words": words, "confusions": confusions}, 1.0, 2)
    assert not {row for row, _, _ in found.pairs} & {12, 13}
    # What another says of them counts as if it were alone.
    model = np.log(np.full((14, 3), [0.5, 0.4, 0.1]))
    np.testing.assert_allclose(confusions_opinion(gold, [words, model])[12:], model[12:])
    assert (12, 1, 0) in hard_pairs(gold, {"words": words, "model": model}, 1.0, 2).pairs
    one_group = words_opinion([replace(row, group="all") for row in rows], gold, 3, seed=0)
    assert hard_pairs(gold, {"words": one_group}, 9.0, 2) == ([], {})


def test_confusions_are_of_the_gold_label_not_of_the_row():
    gold = np.array([0, 0, 1, 1])
    said = np.log([[0.9, 0.1, 1e-9], [0.3, 0.7, 1e-9], [0.1, 0.9, 1e-9], [0.1, 0.9, 1e-9]])
    found = np.exp(confusions_opinion(gold, [log_softmax(said)]))
    np.testing.assert_allclose(found[:2], [[0.6, 0.4, 0]] * 2, atol=1e-6)
    np.testing.assert_allclose(found[2:], [[0.1, 0.9, 0]] * 2, atol=1e-6)
    pairs = hard_pairs(gold, {"confusions": confusions_opinion(gold, [log_softmax(said)])}, 1.0, 2).pairs
    assert pairs == [(0, 0, 1), (1, 0, 1)], "both rows of label 0, the sure one too; none of label 1"
