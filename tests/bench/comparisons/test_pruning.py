"""Both searches are of the same recipe but for pruning, and what they took is told side by side."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bench.comparisons import pruning
from bench.comparisons.pruning import SPACES, Arm, recipe_of
from labelwright.statistics.intervals import Interval
from workbench.compare.searched.found import Searched, Trial
from workbench.recipe.read import read_recipe

PLAIN = Trial({}, Interval(0.7, 0.6, 0.8), 1.25, 2.0)
BEST = Trial({"alpha": 0.1}, Interval(0.8, 0.7, 0.9), 1.0, 2.0)
WHOLE = Searched("log_loss", {}, PLAIN, (BEST, PLAIN), 0, 108)


@pytest.mark.parametrize("name", SPACES)
def test_a_recipe_is_a_search_of_the_rows_named(tmp_path: Path, name: str) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"text": "a", "label": "b", "group": "c"}) + "\n")
    found = []
    for kind in ("", "median"):
        (tmp_path / "pruning.toml").write_text(recipe_of(rows, name, 3, 7, kind))
        found.append(read_recipe(tmp_path / "pruning.toml"))
    whole, pruned = found
    assert (whole.seed, whole.data.path, whole.data.group) == (3, str(rows), "group")
    assert (whole.search.trials, list(whole.search.space)) == (7, [name])
    assert pruned.search == replace(whole.search, pruning="median")


def test_rows_without_groups_name_none(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": "a", "label": "b"}\n')
    assert "group =" not in recipe_of(tmp_path / "rows.jsonl", "sgd-ngrams", 0, 2, "")


def test_both_searches_of_a_seed_are_a_line_and_all_of_them_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []
    given_up = replace(PLAIN, share=0.125, way=(1.25,))
    other = replace(WHOLE, trials=(given_up, replace(BEST, log_loss=1.05, way=(1.1, 1.07))), best=1)

    def searched(data: Path, name: str, seed: int, trials: int, kind: str) -> Arm:
        asked.append((seed, kind))
        return Arm(other, 6.0, 61.0) if kind else Arm(WHOLE, 10.0, 50.0)

    monkeypatch.setattr(pruning, "searched", searched)
    assert pruning.main(["--candidates", "sgd-ngrams", "--seeds", "2"]) == 0
    assert asked == [(0, ""), (0, "median"), (1, "median"), (1, "")], "in turns, so that none is always the warm one"
    said = capsys.readouterr().out
    assert "| sgd-ngrams | 1 | 10 | 6 | 1 of 2 | 1.000 | 1.050 | 80.0 | 80.0 | 50 s, 1 min 1 s |" in said
    assert "sgd-ngrams: 0.60 of the processor seconds; what was found has +0.050 log loss on dev" in said
    assert "the same settings in 2 of 2" in said


def test_a_search_in_full_finds_something_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seasons = {"spring": "buds and rain", "winter": "snow and ice", "summer": "sun and sand"}
    rows = [{"text": f"{words} {n}", "label": label} for label, words in seasons.items() for n in range(20)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.chdir(tmp_path)
    arm = pruning.searched(Path("rows.jsonl"), "sgd-ngrams", 0, 2, "median")
    assert [len(trial.way) for trial in arm.found.trials] == [2, 2]
    assert arm.cpu_s > 0
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]
