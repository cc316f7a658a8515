"""Pipelines of stages on rows that took no part: what they share is done once, and nothing is done twice."""

from __future__ import annotations

import json

import numpy as np
import pytest
import workbench_fakes
from fakes import toy_examples, toy_task

from bench.held_out import pipelines
from bench.held_out.pipelines import DEV_FOLDS, Bench, main, tables
from bench.training.arms.run import FOLDS, with_dev
from labelwright.data.task import group_keys
from workbench.recipe.read import read_recipe


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A folder with the fakes' rows and recipe, which ran nothing."""
    workbench_fakes.write_workspace(tmp_path)
    monkeypatch.chdir(tmp_path)
    workbench_fakes.install(monkeypatch.setattr)
    return tmp_path


def test_every_row_is_held_out_once_and_families_stay_on_one_side():
    rows, task = toy_examples(), toy_task()
    held_out = []
    for seed in range(FOLDS):
        splits, held = with_dev(rows, task, seed, DEV_FOLDS)
        groups = [{*group_keys(side)} for side in (splits.train, splits.dev, held)]
        assert all(groups)
        assert not groups[0] & groups[1]
        assert not (groups[0] | groups[1]) & groups[2]
        assert len({row.id for row in (*splits.train, *splits.dev, *held)}) == len(rows)
        held_out += [row.id for row in held]
    assert sorted(held_out) == sorted(row.id for row in rows)
    again, first = (with_dev(rows, task, seed, DEV_FOLDS)[1] for seed in (FOLDS, 0))
    assert again != first, "dealt anew"


def test_steps_in_common_are_done_once_and_what_is_kept_is_not_done_again(toy, capsys):
    assert main(["toy.toml", "--seeds", "2", "--pipelines", "gepa", "gepa+grpo"]) == 0
    said = capsys.readouterr()
    steps = [line for line in said.err.splitlines() if line.startswith("seed ") and "," not in line]
    assert steps == [f"seed {seed}: {name}" for seed in (0, 1) for name in ("gepa", "gepa+grpo")]
    lines = said.out.splitlines()
    assert lines[2].startswith("| gepa | ")
    assert lines[3].startswith("| gepa+grpo | ")
    assert any(line.startswith("| gepa+grpo | gepa | ") for line in lines)
    kept = [json.loads(line) for line in (toy / "runs/toy/pipelines.jsonl").read_text().splitlines() if line]
    assert lines[-1] == f"2 seeds, {sum(len(one['right']) for one in kept[::2])} rows held out in all; 95 % intervals."
    # A run of the recipe finds none of these steps, and the table is printed from the file.
    assert not (toy / "runs/toy/steps").exists()
    assert main(["toy.toml", "--seeds", "2", "--pipelines", "gepa", "gepa+grpo"]) == 0
    again = capsys.readouterr()
    assert (again.out, again.err) == (said.out, "")


def test_no_row_of_test_is_among_its_rows(toy):
    recipe = read_recipe("toy.toml")
    bench = Bench(recipe, toy / "out.jsonl")
    test = {row.id for row in pipelines.make_splits(pipelines.read_rows(recipe), recipe.splits, recipe.seed).test}
    assert test
    assert not test & {row.id for row in bench.rows}


def test_other_rows_or_settings_are_asked_anew(toy, capsys):
    assert main(["toy.toml", "--seeds", "1", "--pipelines", "gepa"]) == 0
    capsys.readouterr()
    recipe = toy / "toy.toml"
    recipe.write_text(recipe.read_text().replace("Name the topic", "Say the topic"))
    assert main(["toy.toml", "--seeds", "1", "--pipelines", "gepa"]) == 0
    assert "seed 0: gepa\n" in capsys.readouterr().err


def test_a_pipeline_that_is_none_is_said(toy, capsys):
    assert main(["toy.toml", "--pipelines", "gepa+nothing"]) == 2
    assert "nothing" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["toy.toml", "--seeds", "0"])


def test_tables_are_of_all_rows_and_of_every_two():
    def run(name, right, seed):
        return {"pipeline": name, "seed": seed, "families": [f"{seed}a", f"{seed}b"], "right": right,
                "log_loss": np.where(right, 0.1, 2.1).tolist()}  # fmt: skip

    found = [
        run(name, [is_right, True], seed) for seed in (0, 1) for name, is_right in (("sft", False), ("more", True))
    ]
    lines = tables(found)
    assert lines[2].startswith("| sft | 50.0 [")
    assert lines[3].startswith("| more | 100.0 [")
    assert any(line.startswith("| more | sft | +50.0 [") for line in lines)
    assert lines[-1].startswith("2 seeds, 4 rows")


def test_another_calibration_is_asked_anew_and_no_step_is_done_again(toy, capsys):
    assert main(["toy.toml", "--seeds", "1", "--pipelines", "gepa"]) == 0
    capsys.readouterr()
    recipe = toy / "toy.toml"
    recipe.write_text(recipe.read_text() + "[calibrate]\npenalties = [3.0]\n")
    assert main(["toy.toml", "--seeds", "1", "--pipelines", "gepa"]) == 0
    said = capsys.readouterr().err
    assert "seed 0: gepa, " in said
    assert "seed 0: gepa\n" not in said


def test_what_answers_in_another_style_is_another_pipeline_and_free_text_is_none(toy, capsys):
    assert main(["toy.toml", "--seeds", "1", "--pipelines", "gepa", "gepa@letter"]) == 0
    err = capsys.readouterr().err
    assert err.count("seed 0: gepa\n") == 2
    assert main(["toy.toml", "--pipelines", "free", "gepa"]) == 2
    assert "'free' answers in free text" in capsys.readouterr().err
