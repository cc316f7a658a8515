"""What each search finds, and that it finds it for the right reason."""

from __future__ import annotations

import numpy as np
import pytest
from word_encoder import WordEncoder

from workbench.retrieval.search.rankers import FUSION_K, Fused, Meaning, Words, fuse

TEXTS = ["the pool pump is loud", "a gate in the fence", "pool pool pool", "?!"]


def test_words_find_documents_that_have_them_and_no_others():
    scores = Words(TEXTS).scores("Pool!")
    assert np.isfinite(scores).tolist() == [True, False, True, False]
    assert scores.argmax() == 2
    rare, common = Words(["a pump", "the pool", "the gate", "the post"]).scores("the pump")[[0, 3]]
    assert rare > common > 0


def test_a_word_of_one_letter_is_a_word():
    assert np.isfinite(Words(["vitamin C", "vitamin K"]).scores("c")).tolist() == [True, False]


@pytest.mark.parametrize("texts", [TEXTS, ["?!", "…"]])
@pytest.mark.parametrize("text", ["unheard of", "?!", ""])
def test_where_no_word_is_shared_nothing_is_found(texts, text):
    assert np.isneginf(Words(texts).scores(text)).all()


def test_meaning_is_the_cosine():
    encoder = WordEncoder()
    search = Meaning(encoder.embed(TEXTS), encoder.embed)
    assert search.scores(TEXTS[1]).argmax() == 1
    assert search.scores(TEXTS[1])[1] == pytest.approx(1, abs=1e-6)


def test_fusion_adds_places_and_a_search_that_finds_nothing_adds_nothing():
    lost = -np.inf
    total = fuse([np.array([3.0, 2.0, lost]), np.array([lost, 9.0, 8.0])])
    first, second = 1 / (FUSION_K + 1), 1 / (FUSION_K + 2)
    assert total.tolist() == pytest.approx([first, second + first, second])
    nothing = np.full(3, lost)
    assert np.isneginf(fuse([nothing, nothing])).all()


def test_both_are_asked_the_same_text():
    encoder = WordEncoder()
    words, meaning = Words(TEXTS), Meaning(encoder.embed(TEXTS), encoder.embed)
    both = Fused((words, meaning)).scores("pool")
    assert both.tolist() == fuse([words.scores("pool"), meaning.scores("pool")]).tolist()
