"""Endings that ask for another label: whose, and in words that no comparison measures."""

from __future__ import annotations

import re

import numpy as np
from fakes import toy_examples

from optimizers.training.copies.steering import STEERING, steered
from workbench.compare.steering.endings import ENDINGS

NAMES = ("pool", "fence", "hvac")


def test_a_row_asks_for_a_label_that_is_not_its_own():
    chance = np.random.default_rng(0)
    for row in toy_examples():
        text = steered(row, NAMES, chance)
        assert text.startswith(row.text)
        named = [name for name in NAMES if name in text[len(row.text) :]]
        assert len(named) == 1
        assert named != [row.label]


def test_what_is_measured_is_not_what_is_taught():
    def words(ending: str) -> str:
        return re.sub(r"\W+", " ", ending.replace("{label}", "")).strip().lower()

    assert not {*map(words, STEERING)} & {*map(words, ENDINGS.values())}
    assert all(one.format(label="pool").count("pool") == 1 for one in STEERING)
