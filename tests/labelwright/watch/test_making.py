"""The reference that an export makes: one row a group, words and centres of train alone."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import FakeEngine, toy_bundle, toy_splits

from labelwright.bundle.reference import LABELS, LEAST_GROUPS
from labelwright.data.task import Example
from labelwright.decide import probabilities
from labelwright.watch.making import make_reference
from labelwright.watch.sketch import bucket

SPLITS = toy_splits()


def test_one_dev_row_of_each_group_is_counted_with_its_answer():
    reference = make_reference(toy_bundle(), FakeEngine(), SPLITS.train, SPLITS.dev, 1000)
    firsts = {row.group: row for row in SPLITS.dev}
    assert len(firsts) < len(SPLITS.dev)
    probs = probabilities(toy_bundle(), FakeEngine(), [row.text for row in firsts.values()])
    names = toy_bundle().task.names
    right = sum(names[k] == row.label for k, row in zip(probs.argmax(axis=1), firsts.values(), strict=True))
    assert reference.counts[LABELS].tolist() == [*np.bincount(probs.argmax(axis=1), minlength=3), 0]
    assert (reference.n_rows, reference.n_right) == (len(firsts), right)


def test_no_more_rows_are_asked_than_are_wanted():
    engine = FakeEngine()
    assert make_reference(toy_bundle(), engine, SPLITS.train, SPLITS.dev, 3).n_rows == 3
    assert sum(n for n, _ in engine.calls) == 3


def test_the_rows_asked_are_spread_over_a_sorted_file():
    dev = [Example(str(i), f"row {i}", ("pool", "fence", "hvac")[i // 4]) for i in range(12)]
    asked: list[str] = []

    class Engine(FakeEngine):
        def score(self, prompts, options):
            asked.extend(prompt.user for prompt in prompts)
            return super().score(prompts, options)

    make_reference(toy_bundle(), Engine(), SPLITS.train, dev, 5)
    assert asked == [f"row {i}" for i in (0, 2, 4, 7, 9)]


def test_dev_rows_add_no_words():
    train = [Example(str(i), "pump", "pool") for i in range(LEAST_GROUPS)]
    dev = [Example(str(i), "pump motor", "pool") for i in range(LEAST_GROUPS + 1)]
    known = make_reference(toy_bundle(), FakeEngine(), train, dev, 100).known
    bits = np.unpackbits(np.frombuffer(known, np.uint8))
    assert (bits[bucket("pump")], bits[bucket("motor")]) == (1, 0)


def test_centres_are_of_train_rows_and_dev_rows_are_held_to_them():
    asked: list[list[str]] = []

    def embed(texts):
        asked.append(list(texts))
        # Along one axis train, along another dev.
        place = 0 if len(asked) == 1 else 1
        return np.tile(np.eye(2, dtype=np.float32)[place], (len(texts), 1))

    reference = make_reference(toy_bundle(), FakeEngine(), SPLITS.train, SPLITS.dev, 1000, lambda bundle: embed)
    assert asked[0] == [row.text for row in SPLITS.train]
    assert set(asked[1]) <= {row.text for row in SPLITS.dev}
    assert reference.centres == pytest.approx(np.tile([1.0, 0.0], (3, 1)))
    assert reference.counts["likeness"][0] == reference.n_rows
