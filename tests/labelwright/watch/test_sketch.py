"""From answers to counts, and what of a text is kept: nothing that could be read back."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from labelwright.bundle.reference import EDGES, LABELS, LEAST_GROUPS, N_BUCKETS
from labelwright.watch.answers import Answer
from labelwright.watch.sketch import Sketch, binned, bucket, centres_of, known_words, words

NAMES = ("pool", "fence")
KNOWN = known_words((f"the pool is green number{i}", str(i)) for i in range(LEAST_GROUPS))
SKETCH = Sketch(NAMES, KNOWN)


def test_rows_are_counted_by_label_and_those_without_one_apart():
    rows = [Answer(1, "pool", 0.97), Answer(2, "pool", 0.5), Answer(3, None), Answer(4, "fence", 0.2)]
    counts = Sketch(NAMES, KNOWN).counts(rows)
    assert counts[LABELS].tolist() == [2, 1, 1]
    assert np.flatnonzero(counts["confidence"]).tolist() == [2, 5, 10]
    assert counts["confidence"].sum() == 3
    assert set(counts) == {LABELS, "confidence"}


def test_a_row_counts_by_the_share_of_its_words_that_are_known():
    texts = {"the pool": 1.0, "green pool is blau": 0.75, "zaun": 0.0, "???": 0.0}
    for text, share in texts.items():
        counts = SKETCH.counts([Answer(1, "pool", text=text)])
        assert counts["words"].tolist() == binned("words", np.array([share])).tolist()


def test_without_known_words_of_old_words_are_not_looked_at():
    assert "words" not in Sketch(NAMES, b"").counts([Answer(1, "pool", text="the pool")])


def test_a_word_of_fewer_groups_leaves_no_trace():
    """A name, a number, an address of one customer's: however often he writes it."""
    secret = [("my number is 4711", "one customer")] * 50 + [("hello", str(i)) for i in range(LEAST_GROUPS)]
    bits = np.unpackbits(np.frombuffer(known_words(secret), np.uint8))
    assert len(bits) == N_BUCKETS
    assert np.flatnonzero(bits).tolist() == [bucket("hello")]


def test_a_centre_is_a_mean_of_some_groups_never_one_rows_vector():
    vectors = np.eye(12, dtype=np.float32)
    labels = ["many"] * 6 + ["few"] * 4 + ["one customer's"] * 2
    groups = [*map(str, range(10)), "a", "a"]
    found = centres_of(vectors, labels, groups, most=9)
    assert found.shape == (1, 12)
    np.testing.assert_allclose(found[0, :6], 6**-0.5, rtol=1e-6)
    assert centres_of(vectors[:3], labels[:3], groups[:3], most=9).shape == (0, 12)
    # Where no label has enough, all rows together may.
    assert centres_of(vectors[4:9], labels[4:9], groups[4:9], most=9).shape == (1, 12)


def test_the_likeness_of_some_rows_spread_over_a_window_is_looked_at():
    asked = []

    def embed(texts):
        asked.extend(texts)
        return np.array([[1.0, 0.0]] * len(texts), np.float32)

    sketch = Sketch(NAMES, KNOWN, np.array([[0.6, 0.8], [0.0, 1.0]], np.float32), embed)
    rows = [Answer(i, "pool", text=str(i)) for i in range(100)]
    counts = sketch.counts(rows, n_embedded=10)
    assert asked == [str(i) for i in range(0, 100, 10)]
    assert counts["likeness"].sum() == 10
    assert counts["likeness"].tolist() == binned("likeness", np.full(10, np.float32(0.6))).tolist()
    assert "likeness" not in sketch.counts(rows, n_embedded=0)


@given(st.text(max_size=60))
def test_any_text_has_words_and_a_share_of_known_ones(text):
    counts = SKETCH.counts([Answer(1, None, text=text)])
    assert counts["words"].sum() == 1
    assert len(counts["words"]) == len(EDGES["words"]) + 1
    assert all(0 <= bucket(word) < N_BUCKETS for word in words(text))


@given(st.lists(st.floats(0, 1), max_size=20))
def test_every_value_is_in_one_bin(values):
    assert binned("confidence", np.array(values)).sum() == len(values)


def test_where_rows_bring_their_own_choices_every_answer_is_one_kind():
    rows = [Answer(1, "stone"), Answer(2, "wood"), Answer(3, None)]
    assert Sketch(("any choice",), b"").counts(rows)[LABELS].tolist() == [2, 1]
