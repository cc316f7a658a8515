"""A case is a command in a process of its own, measured as it should be."""

from dataclasses import replace

import pytest

from bench.growth.cases import Case, measure, series
from bench.growth.made import label_names, labelled, texts
from bench.growth.score import score
from labelwright.errors import LabelwrightError


def test_made_rows_are_as_many_and_as_long_as_asked_for():
    assert [len(text.split()) for text in texts(5, 7)] == [7] * 5
    names = label_names(300, 3)
    assert len({*names}) == 300
    assert {len(name.split()) for name in names} == {3}
    assert label_names(300, 3) == names
    assert [label for _, label in labelled(names[:2], 5)] == [*names[:2], *names[:2], names[0]]


def test_a_million_rows_are_but_a_larger_case(tmp_path):
    """Memory is that of a process of its own, and does not grow with rows that are written as they come."""
    few, many = (Case("predict", "sgd-ngrams", n_rows=n, n_labels=3) for n in (20, 20_000))
    (tmp_path / "few").mkdir()
    (tmp_path / "many").mkdir()
    one, other = measure(few, tmp_path / "few"), measure(many, tmp_path / "many")
    assert len((tmp_path / "many" / "answers.jsonl").read_text().splitlines()) == 20_000
    assert other.cpu_s > one.cpu_s > 0
    assert other.peak_bytes < 1.3 * one.peak_bytes < 300e6


def test_a_model_is_scored_in_a_process_of_its_own_without_its_start(model, tmp_path):
    found = measure(Case("score", str(model), n_rows=3, n_labels=2, n_words=5), tmp_path)
    assert found.cpu_s > 0
    assert 0.5 <= found.facts["confidence"] <= 1


def test_scores_that_are_spread_apart_are_sure(model):
    case = Case("score", str(model), n_rows=3, n_labels=2, n_words=5)
    assert score(replace(case, temperature=0.01))["confidence"] > score(case)["confidence"]


def test_a_command_that_fails_is_named(tmp_path):
    with pytest.raises(LabelwrightError, match=r"bench\.growth\.score"):
        measure(Case("score", "no model at all", n_rows=1), tmp_path)


def test_cases_have_keys_of_their_own():
    keys = [one.key(x) for one in series("tiny") for x in one.xs]
    assert len({*keys}) == len(keys)
    assert max(one.xs[-1] for one in series("tiny") if one.dimension == "rows") == 1_000_000
