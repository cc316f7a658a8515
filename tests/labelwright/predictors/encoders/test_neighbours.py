"""The pool and its look-up, with an encoder that counts words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from fakes import toy_bundle, toy_splits
from hypothesis import given
from hypothesis import strategies as st
from word_encoder import WordEncoder

from labelwright.bundle import files as bundle_files
from labelwright.bundle.store import load, save
from labelwright.errors import BundleError, RecipeError
from labelwright.predictors.encoders.neighbours import nearest
from labelwright.prompt import Neighbours

WORDS = ("pool", "fence", "gate", "water", "green", "cold")
POOL = (
    ("pool water green", "pool"),
    ("the fence", "fence"),
    ("fence gate", "fence"),
    ("Pool, water green!", "pool"),
    ("cold", "hvac"),
)


@pytest.fixture
def encoder(monkeypatch):
    from labelwright.predictors.encoders import neighbours

    opened = WordEncoder()
    monkeypatch.setattr(neighbours, "open_encoder", lambda name: opened)
    neighbours._indexed.cache_clear()
    yield opened
    neighbours._indexed.cache_clear()


def test_the_nearest_come_last_and_rows_keep_their_order(encoder):
    shown = nearest(Neighbours(POOL, 2), ["gate fence gate", "green pool", "cold cold"])
    assert shown[0] == (("the fence", "fence"), ("fence gate", "fence"))
    assert [demos[-1][1] for demos in shown] == ["fence", "pool", "hvac"]
    assert nearest(Neighbours(POOL, 2), []) == []


def test_a_row_never_finds_itself(encoder):
    (shown,) = nearest(Neighbours(POOL, 5), ["POOL water, green"])
    assert {text for text, _ in shown} == {"cold", "fence gate", "the fence"}


def test_nor_its_own_group(encoder):
    grouped = Neighbours(POOL, 5, groups=(0, 1, 1, 2, 3))
    (shown,) = nearest(grouped, ["fence gate"])
    assert {text for text, _ in shown} == {"pool water green", "Pool, water green!", "cold"}
    (other,) = nearest(grouped, ["a fence"])
    assert len(other) == 5, "a text that is not in the pool may see all of it"


def test_the_pool_is_embedded_once(encoder):
    for _ in range(3):
        nearest(Neighbours(POOL, 1), ["green"])
        nearest(Neighbours(tuple(POOL), 2), ["cold"])
    assert sum(asked == [text for text, _ in POOL] for asked in encoder.asked) == 1


@given(st.lists(st.sampled_from([*WORDS, "roof", "green water"]), max_size=6), st.integers(1, 7))
def test_asked_together_or_alone_rows_see_the_same(texts, k):
    from labelwright.predictors.encoders import neighbours

    patched = pytest.MonkeyPatch()
    with patched.context() as patch:
        patch.setattr(neighbours, "open_encoder", lambda name: WordEncoder())
        neighbours._indexed.cache_clear()
        pool = Neighbours(POOL, k)
        together = nearest(pool, texts)
        assert together == [nearest(pool, [text])[0] for text in texts]
        assert all(len(shown) <= k and len(set(shown)) == len(shown) for shown in together)
    neighbours._indexed.cache_clear()


def test_settings_that_do_not_fit_are_refused():
    for pool, k in (((), 1), (POOL, 0)):
        with pytest.raises(RecipeError, match="expected at least 1"):
            Neighbours(pool, k)
    with pytest.raises(RecipeError, match="2 groups for 5 rows"):
        Neighbours(POOL, 1, groups=(1, 2))


def test_a_bundle_keeps_them_and_needs_no_encoder_for_it(tmp_path: Path):
    bundle = toy_bundle()
    pool = tuple((row.text, row.label) for row in toy_splits().train)
    neighbours = Neighbours(pool, 4, encoder="not there", groups=tuple(range(len(pool))))
    bundle = replace(bundle, prompt=replace(bundle.prompt, neighbours=neighbours))
    assert save(bundle, tmp_path / "bundle") == bundle
    assert load(tmp_path / "bundle").prompt.neighbours == neighbours
    written = (tmp_path / "bundle" / "bundle.json").read_text()
    (tmp_path / "bundle" / "bundle.json").write_text(written.replace(pool[0][0], "another text", 1))
    bundle_files.write_hashes(tmp_path / "bundle")
    with pytest.raises(BundleError, match="writes the prompt otherwise"):
        load(tmp_path / "bundle")
