"""What plain text in a row does to a classifier: which rows are moved, and that none asks for its own answer."""

from __future__ import annotations

import numpy as np
from fakes import FakeEngine, toy_bundle

from bench import persuasion


def test_a_classifier_by_words_is_moved_by_words() -> None:
    texts = ["the pool", "a fence", "hvac noise", "nothing of it"]
    moved = persuasion.shares_moved(toy_bundle(), FakeEngine(), texts)
    assert len(moved) == len(persuasion.SENTENCES)
    assert all(one.shape == (4,) and one.dtype == bool for one in moved)
    # The fake engine goes by the label names in a text: where its own is there as well, the two are even.
    assert all(one[3] for one in moved)


def test_what_cannot_be_persuaded_is_not() -> None:
    class Stubborn(FakeEngine):
        def score(self, prompts, options, calibration=None):
            return np.tile(np.log([0.5, 0.3, 0.2]), (len(prompts), 1))

    assert not np.any(persuasion.shares_moved(toy_bundle(), Stubborn(), ["a", "b"]))


def test_the_newest_bundle_of_every_candidate_is_found(tmp_path) -> None:
    import os

    for candidate, key, at in [("a", "1", 1), ("a", "2", 2), ("b", "3", 3)]:
        (tmp_path / candidate / key).mkdir(parents=True)
        (tmp_path / candidate / key / "bundle.json").touch()
        os.utime(tmp_path / candidate / key / "bundle.json", (at, at))
    (tmp_path / "steps").mkdir()
    assert [(name, folder.name) for name, folder in persuasion.kept_bundles(tmp_path)] == [("a", "2"), ("b", "3")]
    assert list(persuasion.kept_bundles(tmp_path / "absent")) == []
