"""Messages made of rows: families stay together, and what is measured is a whole small comparison."""

from __future__ import annotations

import json
from types import SimpleNamespace

from asked_fakes import asked_report
from fakes import toy_examples

import bench.questions.several
from bench.questions.several import joined, measured, written
from labelwright.data.task import Example
from workbench.recipe.read import read_recipe
from workbench.recipe.rows import make_splits, read_rows
from workbench.report.verdict_words import words


def test_every_row_is_in_one_message_and_families_are_in_one_group():
    single = [Example(f"{n}", f"<{n}>", f"label {n % 5}", group=f"g{n // 2}") for n in range(60)]
    messages = joined(single, 3)
    assert messages == joined(single, 3)
    assert messages != joined(single, 4)
    of_message = {row.id: [one for one in messages if row.text in str(one["text"])] for row in single}
    assert max(map(len, of_message.values())) == 1
    for first, second in zip(single[::2], single[1::2], strict=True):
        assert len({one["group"] for one in of_message[first.id] + of_message[second.id]}) <= 1
    for one in messages:
        parts = [row for row in single if row.text in str(one["text"])]
        assert one["labels"] == sorted({row.label for row in parts})
    assert {len(str(one["text"]).split()) for one in messages} == {1, 2}


def test_what_is_written_is_a_recipe_whose_sides_share_no_family(tmp_path):
    path = written(toy_examples(40), tmp_path / "made", 0, ["majority", "sgd-ngrams"], "macro_f1", 0)
    recipe = read_recipe(path)
    assert (recipe.name, recipe.has_points, recipe.stage("calibrate").maximise) == ("made", True, "macro_f1")
    splits = make_splits(read_rows(recipe), recipe.splits, 0)
    taught, tested = ({row.group for row in side} for side in (splits.train, splits.test))
    assert not taught & tested
    kept = (tmp_path / "made" / "rows.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in kept] == joined(toy_examples(40), 0)
    few = written(toy_examples(40), tmp_path / "few", 60, ["majority"], "", 0)
    assert len((few.parent / "rows.jsonl").read_text(encoding="utf-8").splitlines()) < len(kept)


def test_what_is_told_is_of_whole_rows(tmp_path, monkeypatch):
    report = asked_report()
    monkeypatch.setattr(
        bench.questions.several, "Run", lambda recipe: SimpleNamespace(compare=lambda: SimpleNamespace(report=report))
    )
    text = measured(tmp_path / "several.toml")
    assert text.startswith(words(report).winner)
    assert "Whole rows. " in text
    assert "| leant |" in text
    assert "What labels are said from. " in text
