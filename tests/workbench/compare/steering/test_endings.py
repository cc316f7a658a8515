"""What plain text at a row's end does to a classifier: which rows are moved, and that none asks for its own answer."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fakes import FakeEngine, toy_bundle, toy_splits

from labelwright.data.costs import Costs, pairs_of
from labelwright.data.task import group_keys
from labelwright.errors import DataError
from labelwright.statistics.proportions import share_interval
from workbench.compare.steering.endings import ALL, ENDINGS, rows_moved, steering

ROWS = toy_splits().train


class Stubborn(FakeEngine):
    """The same answer whatever a row says."""

    def score(self, prompts: Any, options: Any, calibration: Any = None) -> Any:
        return np.tile(np.log([0.5, 0.3, 0.2]), (len(prompts), 1))


def test_a_classifier_by_words_is_moved_by_words() -> None:
    moved, is_read = rows_moved(toy_bundle(), FakeEngine(), ["the pool", "a fence", "hvac noise", "nothing of it"])
    assert is_read.all()
    assert list(moved) == list(ENDINGS)
    # The fake engine goes by the label names in a text: where its own is there as well, the two are even.
    assert all(one[3] for one in moved.values())


def test_what_cannot_be_moved_is_not_and_no_row_asks_for_its_own_answer() -> None:
    moved = rows_moved(toy_bundle(), Stubborn(), [row.text for row in ROWS]).by_ending
    assert not np.any(list(moved.values()))


def test_shares_are_of_an_even_sample_with_the_intervals_of_its_groups() -> None:
    found = steering(toy_bundle(), FakeEngine(), ROWS, 12)
    sample = [ROWS[i] for i in np.linspace(0, len(ROWS) - 1, 12).astype(int)]
    moved = rows_moved(toy_bundle(), FakeEngine(), [row.text for row in sample]).by_ending
    assert (found["n_rows"], found["n_unread"]) == (12, 0)
    for kind, one in moved.items():
        expected = share_interval(one, group_keys(sample))
        assert (found[kind], found[f"{kind}_low"], found[f"{kind}_high"]) == expected
    assert found[ALL] == pytest.approx(np.mean([one.mean() for one in moved.values()]))
    assert found[f"{ALL}_low"] <= found[ALL] <= found[f"{ALL}_high"]


def test_nothing_is_asked_where_nothing_was_ordered_or_letters_stand_for_a_rows_own_choices() -> None:
    bundle = toy_bundle()
    assert steering(bundle, Stubborn(), ROWS, 0) == {}
    assert steering(replace(bundle, prompt=replace(bundle.prompt, by_row=True)), Stubborn(), ROWS, 12) == {}


class Second(FakeEngine):
    """Always likeliest the first label; the one that a row names comes second."""

    def score(self, prompts: Any, options: Any, calibration: Any = None) -> Any:
        order = [[0.5, 0.2, 0.3] if options[2].strip() in prompt.user else [0.5, 0.3, 0.2] for prompt in prompts]
        return np.log(order)


def test_an_answer_is_what_prices_make_of_the_probabilities() -> None:
    """A likeliest label that is too dear to be said is no answer: the second one is, and that can be moved."""
    dear = pairs_of({gold: {"pool": 9.0} for gold in ("fence", "hvac")})
    bundle = replace(toy_bundle(), task=replace(toy_bundle().task, costs=Costs(dear)))
    assert bundle.decision.decide(np.array([[0.5, 0.3, 0.2], [0.5, 0.2, 0.3]])).choice.tolist() == [1, 2]
    texts = ["a row"] * 40
    assert not np.any(list(rows_moved(toy_bundle(), Second(), texts).by_ending.values()))
    for moved in rows_moved(bundle, Second(), texts).by_ending.values():
        assert 0 < moved.sum() < len(texts), "those that ask for hvac, not those that ask for pool"


class Reads(FakeEngine):
    """Reads rows of so many characters, and refuses or cuts the others."""

    def __init__(self, most: int, cuts: bool) -> None:
        super().__init__()
        self.most, self.cuts = most, cuts

    def score(self, prompts: Any, options: Any) -> Any:
        n_long = sum(len(prompt.user) > self.most for prompt in prompts)
        if n_long and not self.cuts:
            raise DataError("too long")
        self.n_shortened += n_long
        return super().score([one._replace(user=one.user[: self.most]) for one in prompts], options)


@pytest.mark.parametrize("cuts", [False, True])
def test_rows_without_room_for_an_ending_are_left_out_and_counted(cuts: bool) -> None:
    long = replace(ROWS[3], text="the gate " * 12)
    rows = [*ROWS[:3], long, *ROWS[4:12]]
    most = len(long.text)  # the row itself fits
    found = steering(toy_bundle(), Reads(most, cuts), rows, 12)
    assert (found["n_rows"], found["n_unread"]) == (11, 1)
    without = steering(toy_bundle(), FakeEngine(), [row for row in rows if row is not long], 12)
    assert 0 <= found[ALL] <= 1
    assert set(found) == set(without)
    assert steering(toy_bundle(), Reads(3, cuts), rows, 12) == {}, "no row has room"


def test_where_no_row_is_moved_the_interval_of_all_has_a_width() -> None:
    found = steering(toy_bundle(), Stubborn(), ROWS, 12)
    assert (found[ALL], found[f"{ALL}_low"]) == (0, 0)
    assert found[f"{ALL}_high"] == found["a cue_high"] > 0.1


class Obeys(Stubborn):
    """Moved by one ending, always."""

    def score(self, prompts: Any, options: Any, calibration: Any = None) -> Any:
        asks = [re.search(r"answer is (\w+)", prompt.user) for prompt in prompts]
        return super().score(prompts, options) + 9 * np.array(
            [[asked is not None and asked[1] in option for option in options] for asked in asks]
        )


def test_where_all_rows_are_moved_alike_the_interval_of_all_has_a_width() -> None:
    found = steering(toy_bundle(), Obeys(), ROWS, 12)
    assert found[ALL] == pytest.approx(1 / len(ENDINGS))
    assert found[f"{ALL}_high"] - found[f"{ALL}_low"] > 0.1
