"""When labels of several sources are one label, and when texts are one text."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from labelwright.data.spelling import Source, label_key, reconcile, text_key
from labelwright.errors import DataError

SAME_LABEL = [
    ("0", "0.0", "00", "0.", "-0", "0e0", "０"),
    ("1", "1.0", "+1"),
    ("2.5", "2.50"),
    ("True", "true", "TRUE"),
    ("water heater", "Water  Heater", " water\u00a0heater ", "waterheater", "water_heater", "water-heater"),
    ("café", "cafe\u0301", "CAFÉ"),
    ("pool", "pool\u200b", "ｐｏｏｌ", "\ufeffpool"),
    ("ﬁre", "fire"),
]


@pytest.mark.parametrize("spellings", SAME_LABEL)
def test_spellings_of_one_label(spellings: tuple[str, ...]) -> None:
    assert len({label_key(one) for one in spellings}) == 1


def test_different_labels_stay_different() -> None:
    labels = [
        "0",
        "1",
        "-1",
        "0.1",
        "1.10",
        "11",
        "1 1",
        "1-1",
        "1_1",
        "true",
        "yes",
        "c",
        "c++",
        "c#",
        "é",
        "e",
        "👍",
        "👎",
    ]
    assert len({label_key(one) for one in labels}) == len(labels)


@given(st.text())
@example("A\u00b4")
@example("A- A")
def test_keys_are_their_own_keys(text: str) -> None:
    assert label_key(label_key(text)) == label_key(text)
    assert text_key(text_key(text)) == text_key(text)
    for form in ("NFC", "NFD"):
        assert text_key(unicodedata.normalize(form, text)) == text_key(text)
        assert label_key(unicodedata.normalize(form, text)) == label_key(text)


def test_similar_labels_are_refused_with_both_spellings_and_counts() -> None:
    sources = [Source("train", {"0": 4, "1": 3, "x": 9}), Source("test", {"0.0": 2, "1.0": 1, "x": 1})]
    with pytest.raises(DataError) as caught:
        reconcile(sources, remedy="say merge")
    assert str(caught.value) == (
        "labels that differ only in how they are written: '0' (4 rows of train) and '0.0' (2 rows of test); "
        "'1' (3 rows of train) and '1.0' (1 row of test); write them alike, or say merge"
    )


def test_merged_labels_are_written_as_the_first_source_writes_them_most() -> None:
    train, test = Source("train", {"pool ": 2, "Pool": 120, "fence": 9}), Source("test", {"POOL": 500, "fence": 1})
    pool = {"Pool": "Pool", "pool ": "Pool", "POOL": "Pool"}
    assert reconcile([train, test], "merge") == pool | {"fence": "fence"}
    listed = Source("recipe", {"pOOl": 0, "fence": 0}, listed=True)
    assert set(reconcile([listed, train, test], "merge").values()) == {"pOOl", "fence"}
    assert all(label == written for label, written in reconcile([listed, train, test], "keep").items())


def test_labels_that_someone_listed_are_two_labels() -> None:
    listed = Source("recipe", {"us": 0, "US": 0}, listed=True)
    assert reconcile([listed, Source("train", {"us": 3, "US": 4})]) == {"us": "us", "US": "US"}
    for similar in ("refuse", "merge"):
        with pytest.raises(DataError, match=r"'us' \(in recipe\) and 'US' \(in recipe\) and 'Us' \(4 rows of train\)"):
            reconcile([listed, Source("train", {"Us": 4})], similar)


@given(st.dictionaries(st.sampled_from([one for same in SAME_LABEL for one in same]), st.integers(1, 9), min_size=1))
def test_nothing_is_merged_that_was_not_asked_for(counts: dict[str, int]) -> None:
    n_labels = len({label_key(label) for label in counts})
    if n_labels < len(counts):
        with pytest.raises(DataError):
            reconcile([Source("data", counts)])
    else:
        assert reconcile([Source("data", counts)]) == {label: label for label in counts}
    assert len(set(reconcile([Source("data", counts)], "merge").values())) == n_labels


def test_texts_that_differ_in_any_sign_but_case_and_space_are_different() -> None:
    texts = [
        "ok 👍",
        "ok 👎",
        "C++",
        "C#",
        "C",
        "great :)",
        "great :(",
        "ok!",
        "ok?",
        "कि",
        "की",
        "שָׁלוֹם",
        "שלום",
        "กิ",
        "กี",
    ]
    assert len({text_key(one) for one in texts}) == len(texts)
    assert text_key("It’s  GREEN\u200b") == text_key("it's green")
