"""The shipped dataset is honest: what is measured here is printed (one line always, the table with ``-s``)."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from labelwright.data.task import Example, by_label, check_examples, normalise, read_examples

FOLDER = Path(__file__).resolve().parents[2] / "data" / "homeowner"
LABELS = [
    "appliances",
    "brick work",
    "car",
    "cooking",
    "doorbell",
    "electric",
    "fence",
    "fountain",
    "garden lights",
    "gutters",
    "hvac",
    "irrigation",
    "mosquito",
    "painting",
    "pool",
    "tree service",
    "water heater",
    "window service",
]
NEAR_DUPLICATE = 0.85  # cosine of character-4-gram TF-IDF vectors; paraphrases by hand stay far below it


@pytest.fixture(scope="module")
def rows() -> list[Example]:
    return read_examples(FOLDER / "homeowner.jsonl", group="group", id="id")


@pytest.fixture(scope="module")
def keywords() -> dict[str, re.Pattern[str]]:
    """One pattern a label: stems match at the beginning of a word, entries ending in ``$`` whole words."""
    table = json.loads((FOLDER / "keywords.json").read_text(encoding="utf-8"))
    return {
        label: re.compile("|".join(rf"\b{re.escape(s.rstrip('$'))}" + r"\b" * s.endswith("$") for s in stems), re.I)
        for label, stems in table.items()
    }


def exact_duplicates(rows: list[Example]) -> list[tuple[str, str]]:
    """Ids of rows whose texts are the same once case, punctuation and spacing are taken out."""
    seen: dict[str, str] = {}
    return [(seen[key], row.id) for row in rows if seen.setdefault(key := normalise(row.text), row.id) != row.id]


def nearest_across_groups(rows: list[Example]) -> tuple[float, str, str]:
    """The largest similarity between two rows of different groups, and their ids."""
    vectors = TfidfVectorizer(analyzer="char_wb", ngram_range=(4, 4)).fit_transform([row.text for row in rows])
    similarity = (vectors @ vectors.T).toarray()
    groups = np.array([row.group for row in rows])
    similarity[groups[:, None] == groups[None, :]] = 0.0
    i, j = np.unravel_index(similarity.argmax(), similarity.shape)
    return float(similarity[i, j]), rows[i].id, rows[j].id


def test_measures_and_prints(rows, keywords, capsys):
    """Prints the table; every number it prints has its limit in a test below."""
    lines = [f"{'label':15} rows families own-keyword other-keyword words(min/median/max)"]
    other = own = 0
    for label, members in by_label(rows).items():
        n_own = sum(bool(keywords[label].search(row.text)) for row in members)
        n_other = sum(mentions_another(row, keywords) for row in members)
        words = sorted(len(row.text.split()) for row in members)
        own, other = own + n_own, other + n_other
        families = len({row.group for row in members})
        lines.append(
            f"{label:15} {len(members):4} {families:8} {n_own / len(members):11.0%} {n_other:13} "
            f"{words[0]}/{words[len(words) // 2]}/{words[-1]}"
        )
    similarity, one, two = nearest_across_groups(rows)
    print("\n" + "\n".join(lines))
    with capsys.disabled():
        print(
            f"\nhomeowner: {len(rows)} rows, {len(by_label(rows))} labels, {len({r.group for r in rows})} families; "
            f"{len(exact_duplicates(rows))} duplicates, nearest pair across families {similarity:.2f} ({one}, {two}); "
            f"{1 - own / len(rows):.0%} without their label's keyword, {other} with another label's"
        )
    assert len(lines) == 1 + len(LABELS)


def mentions_another(row: Example, keywords: dict[str, re.Pattern[str]]) -> bool:
    """Whether the text holds a keyword of a label that is not its own."""
    return any(pattern.search(row.text) for label, pattern in keywords.items() if label != row.label)


def test_rows_are_usable_and_about_850(rows):
    check_examples(rows, LABELS, source="homeowner.jsonl")
    assert 800 <= len(rows) <= 900, "the set is meant to stay a small one"
    assert sorted(by_label(rows)) == sorted(LABELS)


def test_file_is_sorted_plain_and_named_by_family(rows):
    raw = (FOLDER / "homeowner.jsonl").read_text(encoding="utf-8")
    assert raw.isascii()
    assert [(row.label, row.id) for row in rows] == sorted((row.label, row.id) for row in rows)
    for row in rows:
        assert row.id[:-1] == row.group
        assert row.group.startswith(row.label.replace(" ", "-") + "-")


def test_classes_are_balanced(rows):
    sizes = [len(members) for members in by_label(rows).values()]
    assert max(sizes) <= 1.1 * min(sizes)


def test_every_label_has_twelve_families_of_two_or_more(rows):
    for label, members in by_label(rows).items():
        families = Counter(row.group for row in members)
        assert len(families) >= 12, label
        assert min(families.values()) >= 2, label


def test_no_text_occurs_twice(rows):
    assert exact_duplicates(rows) == []


def test_no_near_duplicates_across_families(rows):
    similarity, one, two = nearest_across_groups(rows)
    assert similarity < NEAR_DUPLICATE, f"{one} and {two}"


def test_near_duplicates_would_be_found(rows):
    copy = Example("copy", rows[40].text + " please", rows[40].label, group="copy")
    similarity, *pair = nearest_across_groups([*rows, copy])
    assert similarity >= NEAR_DUPLICATE
    assert set(pair) == {rows[40].id, "copy"}


def test_half_of_every_label_says_no_keyword(rows, keywords):
    assert sorted(keywords) == sorted(LABELS)
    for label, members in by_label(rows).items():
        without = [row for row in members if not keywords[label].search(row.text)]
        assert len(without) >= 0.5 * len(members), label
        assert len(without) < len(members), f"{label}: no row has a keyword, so the stems are wrong"


def test_neighbours_are_hard(rows, keywords):
    """Many rows hold another label's keyword, and in every named group of neighbours some do."""
    hard = [row for row in rows if mentions_another(row, keywords)]
    assert len(hard) >= 0.1 * len(rows)
    clusters = (
        ("pool", "fountain", "water heater", "irrigation"),
        ("gutters", "mosquito"),
        ("electric", "doorbell", "garden lights"),
        ("brick work", "painting", "window service"),
        ("fence", "tree service"),
    )
    for cluster in clusters:
        crossing = [
            row
            for row in rows
            if row.label in cluster and any(keywords[other].search(row.text) for other in cluster if other != row.label)
        ]
        assert len(crossing) >= 5, cluster


def test_lengths_vary_like_messages(rows):
    words = sorted(len(row.text.split()) for row in rows)
    assert words[0] >= 2
    assert words[-1] <= 60
    assert words[len(words) // 10] <= 8, "the shortest tenth should be fragments"
    assert words[-len(words) // 10] >= 20, "the longest tenth should be stories"
