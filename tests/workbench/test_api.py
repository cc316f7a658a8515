"""The workbench from Python: the same runs as the command line's, and values that show themselves."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from fakes import toy_examples

import workbench
from labelwright.bundle.store import load
from labelwright.errors import RecipeError
from workbench.cli import main
from workbench.run.folder import runs_of


def frame() -> pd.DataFrame:
    rows = toy_examples()
    return pd.DataFrame(
        {
            "message": [row.text for row in rows],
            "topic": [row.label for row in rows],
            "family": [row.group for row in rows],
        }
    )


def test_a_run_goes_from_a_recipe_to_a_bundle_and_the_command_line_finds_it(
    workspace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = workbench.Run("toy.toml")
    assert run.folder is None
    assert "no step yet" in run._repr_html_()
    with pytest.raises(RecipeError, match=r"nothing is compared yet; call compare\(\) or demo\(\)"):
        run.result()
    stages = run.optimize()
    assert list(stages.table.index) == ["0-untuned", "1-gepa"]
    assert stages.table.loc["1-gepa", "accuracy"] >= 0
    assert stages.bundle.history[-1]["stage"] == "gepa"
    assert "1-gepa" in run._repr_html_()
    result = run.compare()
    assert set(result.leaderboard.index) == {"majority", "words", "absent", "untuned", "gepa"}
    assert result.verdict.startswith("gepa wins")
    assert "<table" in result._repr_html_()
    assert result.report == run.result().report
    assert "Cost" in {title.split(":")[0] for title in result.tables}
    monkeypatch.setattr("workbench.report.plots.figures.figures", lambda report: {"of": report})
    assert result.plots == {"of": result.report}
    bundle = run.export("words")
    answered = bundle.predict(["the pool is green", "a loose board"])
    assert list(answered.columns) == ["text", "label", "confidence"]
    assert answered.confidence.between(0, 1).all()
    assert "words" in bundle._repr_html_()
    (path,) = runs_of(workspace / "runs" / "toy")
    assert run.folder is not None
    assert run.folder.path.resolve() == path
    capsys.readouterr()
    assert main(["optimize", "toy.toml", f"--run={path.name}"]) == 0
    assert "gepa is done" in capsys.readouterr().out


def test_what_is_shown_in_a_notebook_is_no_markup_of_a_users(workspace: Path) -> None:
    recipe = workspace / "toy.toml"
    recipe.write_text(recipe.read_text().replace('"pool", "fence", "hvac"', '"pool", "fence", "<b>hvac"'))
    rows = workspace / "rows.jsonl"
    rows.write_text(rows.read_text().replace('"hvac"', '"<b>hvac"'))
    run = workbench.Run(recipe)
    run.compare()
    assert "<b>hvac" not in run.result()._repr_html_()
    assert "<b>hvac" in str(run.result().report.to_json())


def test_rows_of_a_frame_become_a_recipe_and_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = frame()
    run = workbench.new(rows, text="message", label="topic", group="family", name="mine")
    assert run.recipe.data.text == "message"
    assert run.recipe.data.label == "topic"
    assert run.recipe.data.group == "family"
    assert sorted(pd.read_json(run.recipe.data.path, lines=True).message) == sorted(rows.message)
    # Run again, the cell finds what it made; other rows are not written over it.
    before = Path("runs/mine.toml").read_bytes()
    assert workbench.new(rows, text="message", label="topic", name="mine").recipe.data == run.recipe.data
    assert Path("runs/mine.toml").read_bytes() == before
    with pytest.raises(RecipeError, match="for other rows: give another name, or force=True"):
        workbench.new(rows[1:], text="message", label="topic", name="mine")
    again = workbench.new(rows[1:], text="message", label="topic", name="mine", force=True)
    assert len(pd.read_json(again.recipe.data.path, lines=True)) == len(rows) - 1
    with pytest.raises(RecipeError, match=r"name = '\.\./up'"):
        workbench.new(rows, name="../up")


def test_a_file_becomes_a_recipe_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    frame().to_csv("tickets.csv", index=False)
    run = workbench.new("tickets.csv", group="family")
    assert (run.recipe.name, run.recipe.data.text, run.recipe.data.label) == ("tickets", "message", "topic")


def test_nothing_of_it_is_imported_before_it_is_asked_for() -> None:
    assert not hasattr(workbench, "nothing")
    assert {"Run", "new"} <= set(workbench.__all__)


def test_several_columns_are_one_text_from_the_recipe_to_the_bundle(workspace: Path) -> None:
    rows = frame()
    rows["subject"] = [None if i % 3 else f"ticket {i}" for i in range(len(rows))]
    rows.rename(columns={"topic": "label", "family": "group"}).assign(id=range(len(rows))).to_json(
        "rows.jsonl", orient="records", lines=True
    )
    recipe = Path("toy.toml")
    recipe.write_text(recipe.read_text().replace("[data]", '[data]\ntext = ["subject", "message"]'))
    run = workbench.Run(recipe)
    run.optimize()
    exported = run.export().path
    assert load(exported).task.text_columns == ("subject", "message")
    heads = [f"{one}\n" if isinstance(one, str) else "" for one in rows.subject]
    whole = {f"{head}{message}" for head, message in zip(heads, rows.message, strict=True)}
    golden = {json.loads(line)["text"] for line in (exported / "golden.jsonl").read_text().splitlines()}
    assert golden <= whole
    assert any("\n" in text for text in golden)


def test_several_columns_of_a_frame_may_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = workbench.new(frame(), text=["family", "message"], label="topic", name="mine")
    assert run.recipe.data.text == ("family", "message")
    assert run.recipe.task_for(("pool", "hvac")).text_columns == ("family", "message")
