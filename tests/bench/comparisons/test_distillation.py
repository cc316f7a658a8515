"""The rows that keep their labels and those of the pool are parted; students' lines say how they stand."""

import json
from dataclasses import replace

import pytest
from comparison_fakes import draw_candidates, homeowner_rows

from bench.comparisons.distillation import _line, _parser, recipe_of, write
from labelwright.data.task import Example
from labelwright.statistics.intervals import Interval
from workbench.compare.candidate import Distilled
from workbench.compare.kept.learnt import Lesson
from workbench.compare.leaderboard import build
from workbench.recipe.read import read_recipe
from workbench.recipe.recipe import distilled_candidates


def test_so_many_rows_a_label_keep_theirs_and_the_others_lose_it(tmp_path):
    rows = [Example(str(n), f"text {n}", "ab"[n % 2]) for n in range(20)]
    (tmp_path / "source.jsonl").write_text("a test file\n")
    write(tmp_path / "out", rows, tmp_path / "source.jsonl", 3, 0)
    labelled, pool = (
        [json.loads(line) for line in (tmp_path / "out" / f"{name}.jsonl").read_text().splitlines()]
        for name in ("labelled", "pool")
    )
    assert sorted(one["label"] for one in labelled) == ["a"] * 3 + ["b"] * 3
    assert all(set(one) == {"text"} for one in pool)
    assert {one["text"] for one in (*labelled, *pool)} == {row.text for row in rows}
    assert (tmp_path / "out" / "test.jsonl").read_text() == "a test file\n"


def test_a_line_of_a_student_says_how_it_stands_to_both():
    rows = homeowner_rows(60)
    labels = sorted({row.label for row in rows})
    board = build(draw_candidates(rows, labels)[:2], rows, labels, resamples=100, seed=0)
    learnt = Distilled("minilm-svm", 900, {}, Interval(0.9, 0.8, 0.95))
    entry = replace(board.candidates[1], lesson=Lesson(learnt, 41.6, Interval(-0.012, -0.02, -0.004), None))
    assert _line(entry).endswith("| 42 times | -1.2 [-2.0, -0.4] | – |")
    assert _line(board.candidates[0]).startswith("| majority | ")


@pytest.mark.parametrize(
    ("given", "students"),
    [
        ([], {"distilled-sgd-ngrams", "distilled-sgd-chars", "distilled-minilm-logreg"}),
        (["--own-texts"], {"distilled-sgd-ngrams", "distilled-sgd-chars", "distilled-minilm-logreg"}),
        (["--hosted", "far", "http://127.0.0.1:1/v1", "--students", "sgd-chars"], {"distilled-sgd-chars"}),
        (["--tunings", "sft", "--students", "sft", "--style", "name"], {"distilled-sft"}),
    ],
)
def test_what_is_asked_for_is_a_recipe_with_these_students(tmp_path, given, students):
    path = tmp_path / "distillation.toml"
    path.write_text(recipe_of(_parser().parse_args(given)))
    recipe = read_recipe(path)
    assert set(distilled_candidates(recipe)) == students
    assert bool(recipe.data.unlabelled) == ("--own-texts" not in given)
    assert recipe.distil.hosted_model == ("far" if "--hosted" in given else "")
