import pytest
from fakes import WORDS, toy_examples, toy_task

from labelwright.data.task import Example
from optimizers.gepa.evidence import Evidence, term_scores, words_of

NAMES = toy_task().names
ROWS = toy_examples()


def test_words_that_tell_a_label_apart_come_first():
    evidence = Evidence.from_rows(ROWS, NAMES)
    for name in NAMES:
        assert set(evidence.terms[name][:3]) <= {*WORDS[name], name}


def test_words_of_every_label_are_no_evidence():
    scores = term_scores(ROWS, NAMES)
    for name in NAMES:
        assert not {"my", "the", "near", "broke", "who", "thing", "has"} & set(scores[name])


def test_one_family_of_paraphrases_is_no_evidence():
    rows = [Example(f"p{i}", f"pool chlorine {i}", "pool", group=f"p{i}") for i in range(8)]
    rows += [Example(f"q{i}", "pool zebra", "pool", group="zebras") for i in range(8)]
    rows += [Example(f"f{i}", f"fence panel {i}", "fence", group=f"f{i}") for i in range(8)]
    scores = term_scores(rows, ("pool", "fence"))
    assert "chlorine" in scores["pool"]
    assert "zebra" not in scores["pool"]


def test_log_odds_by_hand():
    # One word a row: counts pool {a: 3}, fence {b: 1}; everywhere a 3, b 1, prior of strength 4 / 2 = 2.
    rows = [Example(str(i), "aa", "pool") for i in range(3)] + [Example("3", "bb", "fence")]
    here, there = 3 + 1.5, 0 + 1.5
    expected = (pytest.approx(x) for x in [_z(here, 3 + 2, there, 1 + 2)])
    assert term_scores(rows, ("pool", "fence"))["pool"]["aa"] == next(expected)


def _z(y_i, n_i, y_j, n_j):
    from math import log, sqrt

    return (log(y_i / (n_i - y_i)) - log(y_j / (n_j - y_j))) / sqrt(1 / y_i + 1 / y_j)


def test_examples_are_short_rows_of_their_label_and_of_different_families():
    evidence = Evidence.from_rows(ROWS, NAMES, n_examples=6)
    row_of = {row.text: row for row in ROWS}
    for name in NAMES:
        shown = [row_of[text] for text in evidence.examples[name]]
        assert {row.label for row in shown} == {name}
        assert len({row.group for row in shown}) == len(shown) == 6


def test_contrast_shares_no_word_with_the_other_label():
    rows = [Example(f"{i}a", "water heater rod", "heater") for i in range(6)]
    rows += [Example(f"{i}b", "water chlorine", "pool") for i in range(6)]
    evidence = Evidence.from_rows(rows, ("heater", "pool"))
    assert "rod" in " ".join(evidence.contrast("heater", "pool"))
    assert "water" not in " ".join(evidence.contrast("heater", "pool")).split()


def test_a_label_without_rows_has_no_evidence():
    evidence = Evidence.from_rows(ROWS, (*NAMES, "unseen"))
    assert evidence.terms["unseen"] == evidence.examples["unseen"] == ()


def test_words_in_other_scripts():
    assert words_of("Не работает насос") == ["не", "работает", "насос"]
