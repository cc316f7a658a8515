"""Training rows that ask for another label: how many, of whom, and in words that no comparison measures."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from fakes import toy_examples

from optimizers.training.rows import STEERING, with_steering
from workbench.compare.steering.endings import ENDINGS

ROWS = toy_examples()
NAMES = ("pool", "fence", "hvac")


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5])
def test_so_many_rows_ask_for_a_label_that_is_not_theirs_and_keep_their_own(share):
    found = with_steering(ROWS, NAMES, share, 0)
    assert found[: len(ROWS)] == tuple(ROWS)
    copies = found[len(ROWS) :]
    assert len(copies) == pytest.approx(share * len(found), abs=1)
    assert len({row.id for row in found}) == len(found)
    for copy in copies:
        (row,) = [one for one in ROWS if copy.text.startswith(one.text) and one.id == copy.id.partition(",")[0]]
        assert (copy.label, copy.group) == (row.label, row.group)
        named = [name for name in NAMES if name in copy.text[len(row.text) :]]
        assert len(named) == 1
        assert named != [row.label]
    # Nobody is asked twice before all are once, and all kinds are there.
    assert max(Counter(copy.id.partition(",")[0] for copy in copies).values(), default=0) <= 1


def test_the_same_seed_draws_the_same_and_another_one_others():
    assert with_steering(ROWS, NAMES, 0.2, 0) == with_steering(ROWS, NAMES, 0.2, 0)
    assert with_steering(ROWS, NAMES, 0.2, 0) != with_steering(ROWS, NAMES, 0.2, 1)


def test_what_is_measured_is_not_what_is_taught():
    def words(ending: str) -> str:
        return re.sub(r"\W+", " ", ending.replace("{label}", "")).strip().lower()

    assert not {*map(words, STEERING)} & {*map(words, ENDINGS.values())}
    assert all(one.format(label="pool").count("pool") == 1 for one in STEERING)
