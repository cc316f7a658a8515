"""All trainings of a candidate are held against another one's on the same test rows."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import toy_examples

from bench.comparisons.compared import compared, write_rows
from bench.comparisons.repeats import gains, main, table
from labelwright.errors import LabelwrightError
from workbench.compare.jobs import open_comparison

RECIPE = """stages = []
[data]
path = "rows.jsonl"
group = "group"
id = "id"
[task]
instructions = "What is it?"
[baselines]
names = ["majority", "sgd-ngrams"]
[models]
candidates = []
[compare]
seeds = 2
splits = 3
curves = ["sgd-ngrams"]
curve_rows = [2]
noise = []
[ensemble]
most_members = 0
[cascade]
most_levels = 0
"""


def test_every_whole_training_is_paired_with_the_other_one_of_its_split(tmp_path, monkeypatch, capsys):
    rows = toy_examples(30)
    write_rows(
        tmp_path / "rows.jsonl",
        ({"id": row.id, "text": row.text, "label": row.label, "group": row.group} for row in rows),
    )
    (tmp_path / "toy.toml").write_text(RECIPE)
    report, run = compared(tmp_path, "toy")
    monkeypatch.chdir(tmp_path)
    found = list(gains(open_comparison(tmp_path / "toy.toml", run.path), "sgd-ngrams", "majority"))
    assert sorted((one.job.seed, one.job.split_seed) for one in found) == [(0, 0), (0, 1), (0, 2), (1, 0)]
    by_name = {entry.name: entry.test["accuracy"].value for entry in report.scored}
    assert found[0].right.mean() == pytest.approx(by_name["sgd-ngrams"] - by_name["majority"])
    losses = {entry.name: entry.test["log_loss"].value for entry in report.scored}
    assert found[0].log_loss.mean() == pytest.approx(losses["sgd-ngrams"] - losses["majority"])
    lines = table(found, 0)
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| 2 seeds, one split", "| 3 splits, one seed", "| 4 all"]
    every = 100 * np.concatenate([one.right for one in found]).mean()
    assert f"| {every:+.1f} [" in lines[-1]
    assert main(["toy.toml", "sgd-ngrams", "majority"]) == 0
    assert capsys.readouterr().out.splitlines()[-len(lines) :] == lines
    with pytest.raises(LabelwrightError, match="sgd-chars: no candidate of this recipe"):
        next(gains(open_comparison(tmp_path / "toy.toml", run.path), "sgd-chars", "majority"))


def test_what_has_no_results_is_said(tmp_path, monkeypatch, capsys):
    (tmp_path / "toy.toml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    assert main(["toy.toml", "sgd-ngrams", "majority"]) == 2
    assert capsys.readouterr().err == "error: toy.toml has no run; say `make compare` with this recipe first\n"
