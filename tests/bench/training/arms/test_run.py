"""Which rows a training holds out."""

from __future__ import annotations

import pytest

from bench.training.arms.run import FOLDS, held_out_folds
from labelwright.data.task import group_keys


@pytest.mark.parametrize("n_folds", [2, 3, FOLDS])
def test_every_row_is_held_out_once_before_any_is_again_and_families_stay_whole(setting, n_folds):
    sides = [held_out_folds(setting, seed, n_folds) for seed in range(2 * n_folds)]
    for train, held_out in sides:
        assert {*train} | {*held_out} == {*setting.examples}
        assert not {*group_keys(train)} & {*group_keys(held_out)}
    for start in (0, n_folds):
        out = [row for _, held_out in sides[start : start + n_folds] for row in held_out]
        assert sorted(row.id for row in out) == sorted(row.id for row in setting.examples)
    assert sides[0] != sides[n_folds], "dealt anew"
