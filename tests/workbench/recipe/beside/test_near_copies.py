"""Near copies: what the rarest runs find is what looking at every pair finds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from workbench.recipe.beside.near_copies import NearCopies, _runs

WORDS = st.lists(st.sampled_from(["pool", "pump", "gate", "is", "the", "loud", "!", "5"]), max_size=9).map(" ".join)


@given(st.lists(WORDS, max_size=12), WORDS, st.sampled_from([0.2, 0.5, 0.8, 1.0]))
def test_the_most_alike_is_found_as_if_every_pair_were_looked_at(texts, text, share):
    alike = [len(_runs(text) & _runs(one)) / len(_runs(text) | _runs(one)) for one in texts]
    found = NearCopies(texts, share).find(text)
    assert found == (alike.index(max(alike)) if texts and max(alike) >= share else None)
    assert NearCopies(texts, share).likeness(text) == max(alike, default=0.0)


def test_a_copy_that_is_alike_just_as_much_as_asked_is_found_whatever_a_product_is_rounded_to():
    text = "abc efgh qjwzkvxupmdlbrtyn"
    assert len(_runs(text)) == 25
    assert NearCopies(["abc efgh"], 7 / 25).find(text) == 0


def test_case_and_signs_make_no_other_text_and_one_word_more_is_a_copy():
    known = NearCopies(["The gate latch will not close any more.", "no heat upstairs"], 0.5)
    assert known.find("the GATE latch will not close any more") == 0
    assert known.find("The gate latch will still not close any more!") == 0
    assert known.find("The gate is red.") is None
