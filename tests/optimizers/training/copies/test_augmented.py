"""Texts as they might have been typed as well: what each change may do to any text, and what it never does."""

from __future__ import annotations

import unicodedata
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizers.training.copies.augmented import (
    CHANGES,
    FEWEST_WORDS,
    NEIGHBOURS,
    augmented,
    in_other_case,
    in_part,
    with_typos,
)

SEEDS = st.integers(0, 2**32)
LATIN = st.text(st.sampled_from("abz QE.7\N{COMBINING ACUTE ACCENT}"), min_size=1)
TEXTS = st.one_of(st.text(min_size=1), LATIN)


def chance(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def is_cased(sign: str) -> bool:
    return sign.lower() != sign.upper()


@given(TEXTS, SEEDS)
def test_no_text_becomes_empty_and_the_same_seed_changes_it_alike(text, seed):
    for change in (augmented, *CHANGES):
        changed = change(text, chance(seed))
        assert changed == change(text, chance(seed))
        assert changed
        assert bool(changed.strip()) == bool(text.strip())


@given(TEXTS, SEEDS)
def test_typos_touch_letters_behind_letters_and_nothing_else(text, seed):
    typed = with_typos(text, chance(seed))

    def rest(one: str) -> list[str]:
        return [sign for sign in one if not is_cased(sign)]

    assert rest(typed) == rest(text)
    assert len(text) - len(typed) <= 1 + len(text) // 40
    # Accents stay behind the letter that they are on.
    marks = [(a, b) for a, b in pairwise(text) if unicodedata.category(b).startswith("M")]
    assert marks == [(a, b) for a, b in pairwise(typed) if unicodedata.category(b).startswith("M")]


@given(st.lists(st.from_regex(r"[a-z]{2,8}", fullmatch=True), min_size=1, max_size=5), SEEDS)
def test_every_word_keeps_its_first_letter_and_stays_a_word(words, seed):
    typed = with_typos(" ".join(words), chance(seed)).split(" ")
    assert [one[0] for one in typed] == [one[0] for one in words]
    assert typed != words


@given(st.text(), SEEDS)
def test_case_is_all_that_changes_in_case(text, seed):
    changed = in_other_case(text, chance(seed))
    assert changed in (text.lower(), text.upper())
    assert (changed == text) == (text.lower() == text.upper() == text)


@given(TEXTS, SEEDS)
def test_a_part_is_of_the_text_and_half_of_its_words_at_least(text, seed):
    part, words = in_part(text, chance(seed)), text.split()
    assert part in text
    if part != text:
        assert len(part.split()) < len(words)
        assert 2 * len(part.split()) >= len(words)
        assert len(part.split()) >= FEWEST_WORDS
        # Whole words, in their order, one behind the other.
        assert f" {' '.join(part.split())} " in f" {' '.join(words)} "


@pytest.mark.parametrize("text", ["池が緑色です", "พูลเป็นสีเขียว", "12.5 + 3", "🏊‍♀️", "?!", "कुत्ता", "a", "é"])
def test_scripts_without_words_or_case_stay_as_they_are(text):
    changed = {augmented(text, chance(seed)) for seed in range(20)}
    assert changed <= {text, text.upper()}


def test_parts_need_words_and_not_case():
    text = "البركة خضراء منذ أمس فلماذا"
    assert {augmented(text, chance(seed)) for seed in range(20)} - {text}
    assert all(augmented(text, chance(seed)) in text for seed in range(20))


def test_all_kinds_are_drawn_about_as_often():
    text = "Why is the pool green after the storm"
    drawn = Counter(
        "case" if changed.lower() == text.lower() else "part" if changed in text else "typos"
        for changed in (augmented(text, chance(seed)) for seed in range(600))
    )
    assert {kind: pytest.approx(200, abs=60) for kind in ("case", "part", "typos")} == drawn


def test_neighbours_lie_beside_each_other_both_ways():
    assert set(NEIGHBOURS) == {chr(one) for one in range(ord("a"), ord("z") + 1)}
    assert all(key in NEIGHBOURS[near] for key, beside in NEIGHBOURS.items() for near in beside)
