"""Rows that teach and rows that are asked share no family, and the comparison over them is a real one."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from tiny import tiny_model_folder

from bench.comparisons import sizes
from bench.comparisons.compared import right_on_test
from labelwright.data.task import by_label
from workbench.recipe.read import read_recipe
from workbench.recipe.rows import make_splits, read_rows

FEW = sizes.QUESTIONS["few"]


def test_no_row_of_the_shipped_test_split_teaches_or_is_asked():
    labelled, asked = sizes.drawn(FEW, 100, 0)
    recipe = read_recipe(sizes.SHIPPED)
    kept_apart = {row.id for row in make_splits(read_rows(recipe), recipe.splits, recipe.seed).test}
    assert not kept_apart & {row.id for row in (*labelled, *asked)}
    assert not {row.group for row in labelled} & {row.group for row in asked}
    assert {len(same) for same in by_label(labelled).values()} == {FEW.labelled}
    assert len(asked) == 100
    assert sizes.drawn(FEW, 100, 1)[0] != labelled


def test_rows_with_choices_are_dealt_whole(tmp_path, monkeypatch):
    path = tmp_path / "choices.jsonl"
    rows = []
    for n in range(60):
        choices = ["none", "all"]
        choices.insert(n % 3, str(n))
        rows.append({"text": f"which is {n}?", "choices": choices, "label": str(n)})
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    question = replace(sizes.QUESTIONS["choice"], path=path, labelled=40, names=("chance",), candidates=())
    monkeypatch.setitem(sizes.QUESTIONS, "choice", question)
    labelled, asked = sizes.drawn(question, 400, 0)
    assert (len(labelled), len(asked)) == (40, 20)
    recipe = sizes.write(tmp_path, "choice", question, labelled, asked, "smollm2:5e-4:0.5:200", 0)
    told = read_recipe(tmp_path / f"{recipe}.toml").stage("sft")
    assert (told.learning_rate, told.lora_layers, told.steps) == (5e-4, 0.5, 200)
    report, run = sizes.compared(tmp_path, recipe)
    assert right_on_test(run, asked, report)["chance"].mean() == pytest.approx(report.scored[0].test["accuracy"].value)


def test_a_comparison_is_told_in_a_table(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sizes.QUESTIONS, "few", replace(FEW, names=("majority",)))
    model = str(tiny_model_folder(tmp_path / "tiny"))
    told = []
    monkeypatch.setattr(sizes, "table", lambda *given, real=sizes.table: told.append(given) or real(*given))
    typed = [str(tmp_path / "out"), f"{model}:5e-4:0.5", "--questions", "few", "--candidates", "untuned"]
    assert sizes.main([*typed, "--asked", "40"]) == 0
    assert "## few: 72 train, 36 dev, 36 calib rows, 40 asked" in capsys.readouterr().out
    assert read_recipe(tmp_path / "out" / "few-tiny.toml").stage("sft").lora_layers == 0.5
    ((found, groups),) = told
    # A second model is held against the first, and both against the best of the others.
    report, right = found[model]
    lines = sizes.table({**found, "other/larger": (report, {**right})}, groups)
    cells = {line.split(" | ")[0].strip("| "): line.split(" | ") for line in lines}
    assert [*cells][2:] == ["majority", "tiny, untuned", "larger, untuned"]
    assert (cells["majority"][4], cells["tiny, untuned"][3]) == ("– |", "–")
    assert cells["larger, untuned"][3].startswith("+0.0 [")
    assert "[" in cells["larger, untuned"][4]


def test_differences_are_paired():
    right = np.array([True, True, False, True])
    assert sizes._told(right, np.array([True, False, False, True]), ["a", "b", "c", "d"]).startswith("+25.0 [")
