"""The bench runs from pages to tables, with an OCR and a browser that are none."""

from __future__ import annotations

import json

import pytest
from pictures import FakeOcr, png

from bench.pictures import __main__ as bench

RECIPE = (
    '[data]\npath = "data/homeowner/homeowner.jsonl"\ngroup = "group"\nid = "id"\n[task]\ninstructions = "Topic?"\n'
)


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    """A recipe whose pages show the questions' words alone."""
    monkeypatch.setattr(bench, "Ocr", FakeOcr)
    monkeypatch.setattr(bench, "find_browser", lambda: "browser")
    monkeypatch.setattr(bench, "screenshot", lambda browser, shown: png("Guests: 99", (80, 80)))
    (tmp_path / "r.toml").write_text(RECIPE)
    return tmp_path / "r.toml"


def test_both_tables_are_printed_and_written(recipe, capsys) -> None:
    out = recipe.parent / "out"
    given = ["--recipe", str(recipe), "--pages", "2", "--questions", "3", "--out", str(out)]
    assert bench.main(given) == 0
    said = capsys.readouterr().out
    assert "| form | guests | 2 | 0.0 [" in said
    assert "sgd-ngrams, 3 questions, right %: on texts " in said
    numbers = json.loads((out / "numbers.json").read_text())
    assert (
        numbers["form"]["guests"]["wrong"] + numbers["form"]["guests"]["null"],
        numbers["form"]["city"]["null"],
    ) == (2, 2)
    assert json.loads((out / "form-0.json").read_text())["right"]["city"]


def test_a_recipe_that_is_not_there_is_refused(tmp_path, capsys) -> None:
    assert bench.main(["--recipe", str(tmp_path / "none.toml")]) == 2
    assert "error: " in capsys.readouterr().err
