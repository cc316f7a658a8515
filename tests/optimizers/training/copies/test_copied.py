"""How many copies of whom, of each kind, by a seed; what is theirs beside the text is the row's."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from fakes import toy_examples

from optimizers.training.copies.copied import copied_rows, with_copies

ROWS = toy_examples()
NAMES = ("pool", "fence", "hvac")


@pytest.mark.parametrize(("steering", "augment"), [(0.0, 0.0), (0.2, 0.0), (0.0, 0.5), (0.25, 0.25), (0.0, 0.8)])
def test_shares_are_of_all_rows_and_copies_keep_label_and_group(steering, augment):
    found = with_copies(ROWS, NAMES, 0, steering_share=steering, augment=augment)
    assert found[: len(ROWS)] == tuple(ROWS)
    assert len({row.id for row in found}) == len(found)
    copies = found[len(ROWS) :]
    kinds = Counter(copy.id.split()[-2] for copy in copies)
    for kind, share in (("steering", steering), ("augmented", augment)):
        assert kinds[kind] == pytest.approx(share * len(found), abs=1)
    of = {row.id: row for row in ROWS}
    for copy in copies:
        row = of[copy.id.partition(",")[0]]
        assert replace(copy, id=row.id, text=row.text) == row
        assert copy.text != row.text
    named = copied_rows(len(ROWS), 0, steering_share=steering, augment=augment)
    assert [ROWS[place].id for place in named] == [copy.id.partition(",")[0] for copy in copies]
    # Nobody is copied again in the same way before all are.
    times = Counter(copy.id.rpartition(" ")[0] for copy in copies)
    of_kind = {kind: [times[f"{row.id}, {kind}"] for row in ROWS] for kind in kinds}
    assert all(max(each) - min(each) <= 1 for each in of_kind.values())


def test_the_smallest_share_of_the_fewest_rows_is_one_copy():
    assert len(with_copies(ROWS[:1], NAMES, 0, steering_share=0.01, augment=0.01)) == 3


def test_the_same_seed_draws_the_same_and_another_one_others():
    def drawn(seed, **shares):
        return with_copies(ROWS, NAMES, seed, **shares)[len(ROWS) :]

    for kind in ("steering_share", "augment"):
        assert drawn(0, **{kind: 0.3}) == drawn(0, **{kind: 0.3})
        assert drawn(0, **{kind: 0.3}) != drawn(1, **{kind: 0.3})
    # One kind does not hang on the other: of as many copies, the same ones.
    assert drawn(0, steering_share=0.25, augment=0.25)[36:] == drawn(0, augment=1 / 3)
