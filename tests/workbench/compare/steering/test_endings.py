"""What plain text at a row's end does to a classifier: which rows are moved, and that none asks for its own answer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fakes import FakeEngine, toy_bundle, toy_splits

from labelwright.data.task import group_keys
from labelwright.statistics.proportions import share_interval
from workbench.compare.steering.endings import ALL, ENDINGS, rows_moved, steering

ROWS = toy_splits().train


class Stubborn(FakeEngine):
    """The same answer whatever a row says."""

    def score(self, prompts: Any, options: Any, calibration: Any = None) -> Any:
        return np.tile(np.log([0.5, 0.3, 0.2]), (len(prompts), 1))


def test_a_classifier_by_words_is_moved_by_words() -> None:
    moved = rows_moved(toy_bundle(), FakeEngine(), ["the pool", "a fence", "hvac noise", "nothing of it"])
    assert list(moved) == list(ENDINGS)
    # The fake engine goes by the label names in a text: where its own is there as well, the two are even.
    assert all(one[3] for one in moved.values())


def test_what_cannot_be_moved_is_not_and_no_row_asks_for_its_own_answer() -> None:
    moved = rows_moved(toy_bundle(), Stubborn(), [row.text for row in ROWS])
    assert not np.any(list(moved.values()))


def test_shares_are_of_an_even_sample_with_the_intervals_of_its_groups() -> None:
    found = steering(toy_bundle(), FakeEngine(), ROWS, 12)
    sample = [ROWS[i] for i in np.linspace(0, len(ROWS) - 1, 12).astype(int)]
    moved = rows_moved(toy_bundle(), FakeEngine(), [row.text for row in sample])
    assert found["n_rows"] == 12
    for kind, one in moved.items():
        expected = share_interval(one, group_keys(sample))
        assert (found[kind], found[f"{kind}_low"], found[f"{kind}_high"]) == expected
    assert found[ALL] == pytest.approx(np.mean([one.mean() for one in moved.values()]))
    assert found[f"{ALL}_low"] <= found[ALL] <= found[f"{ALL}_high"]


def test_nothing_is_asked_where_nothing_was_ordered_or_letters_stand_for_a_rows_own_choices() -> None:
    bundle = toy_bundle()
    assert steering(bundle, Stubborn(), ROWS, 0) == {}
    assert steering(replace(bundle, prompt=replace(bundle.prompt, by_row=True)), Stubborn(), ROWS, 12) == {}
