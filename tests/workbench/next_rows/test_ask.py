"""The verb from end to end over the fakes: a pool, a sheet, labels, and the run that goes on with them."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from fakes import WORDS

from labelwright.bundle.files import bundle_identity
from labelwright.bundle.making import predictor_bundle
from labelwright.bundle.store import save
from labelwright.data.costs import Costs
from labelwright.decisions.decision import Decision
from labelwright.errors import DataError, RecipeError
from labelwright.predictors.prior import Prior
from labelwright.predictors.store import save_predictor
from labelwright.statistics.calibration import Calibration
from workbench.api import Run
from workbench.cli import main
from workbench.next_rows import answering, ask
from workbench.next_rows.ask import Wanted
from workbench.next_rows.batch import AskedRow, batches_of
from workbench.next_rows.pool import Pool, PoolRow
from workbench.progress import Display
from workbench.recipe.read import read_recipe
from workbench.recipe.recipe import Recipe
from workbench.recipe.rows import make_splits, read_rows, task_of
from workbench.report.report import read_report
from workbench.run.folder import RunFolder

GOLD = {f"{word} number {n}": label for label, words in WORDS.items() for word in words for n in range(12)}


@pytest.fixture
def pool(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(answering, "LIGHT", ("words",))
    monkeypatch.setattr(ask, "text_vectors", lambda texts: np.array([[len(text)] for text in texts]))
    with (workspace / "pool.csv").open("w", newline="") as file:
        csv.writer(file, delimiter=";").writerows([["message"], *([text] for text in GOLD)])
    return workspace / "pool.csv"


def fill(sheet: Path, **wrong: str) -> str:
    with sheet.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["label"] = wrong.get(row["id"], GOLD[row["text"]])
    with sheet.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return str(sheet)


def test_a_pool_becomes_a_sheet_and_its_labels_are_taught_by_the_next_run(pool: Path, capsys) -> None:
    before = make_splits(read_rows(recipe := read_recipe("toy.toml")), recipe.splits, recipe.seed)
    assert main(["next-rows", "toy.toml", "--pool", "pool.csv", "--n", "10", "--share", "0.4"]) == 0
    said = capsys.readouterr().out
    assert "words, trained just now on" in said
    assert "10 rows to label (4 random" in said
    sheet = Path("runs/toy/next-rows/1/toy-1.csv")
    assert f"LABELS={sheet}" in said
    (batch,) = batches_of(Path("runs/toy/next-rows"))
    assert {row.guess for row in batch.rows} <= {*WORDS, None}
    assert main(["next-rows", "toy.toml", "--labels", fill(sheet)]) == 0
    said = capsys.readouterr().out
    n_right = sum(row.guess == GOLD[row.text] for row in batch.rows if row.why == "random")
    assert "10 new labels, 0 changed; 0 rows asked and still open" in said
    assert f"right on {25 * n_right:.1f} [" in said
    # What the command tells to set is what makes the run go on.
    answers = "runs/toy/next-rows/toy-answers.jsonl"
    assert f'[data]: train_path = "{answers}"' in said
    text = Path("toy.toml").read_text().replace("[data]", f'[data]\ntrain_path = "{answers}"')
    Path("toy.toml").write_text(text)
    recipe = read_recipe("toy.toml")
    after = make_splits(read_rows(recipe), recipe.splits, recipe.seed)
    assert (after.dev, after.calib, after.test) == (before.dev, before.calib, before.test)
    assert {row.text for row in after.train} - {row.text for row in before.train} == {row.text for row in batch.rows}
    # The next batch asks nothing twice.
    assert main(["next-rows", "toy.toml", "--pool", "pool.csv", "--n", "10"]) == 0
    assert "10 with the text of a labelled row" in capsys.readouterr().out
    one, two = batches_of(Path("runs/toy/next-rows"))
    assert not {row.text for row in one.rows} & {row.text for row in two.rows}
    assert two.number == 2


def test_what_ships_answers_the_pool_once_there_is_something(pool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was exported, then what is said to ship, then the newest step; a bundle of other labels not at all."""
    recipe = read_recipe("toy.toml")
    rows = read_rows(recipe)
    task = task_of(recipe, rows)
    folder = RunFolder.create(Path("runs/toy"), "", {}, {"compare": {"candidates": {"majority": "abc"}}})
    save_predictor(Prior(np.full(3, 1 / 3)), task.names, Path("prior"))
    bundle = predictor_bundle(task, "majority", Path("prior"), Calibration())
    places = [folder.path / "bundle", Path("runs/toy/candidates/majority/abc"), folder.path / "1-grpo" / "bundle"]
    for place in places:
        save(bundle, place)
    folder.state["export"] = {"bundle": bundle_identity(places[0])}
    folder.steps.append({"folder": "1-grpo", "stage": "grpo", "settings": {}, "key": "abc", "done": True})
    verdict = SimpleNamespace(verdict=SimpleNamespace(ship="majority"))
    monkeypatch.setattr(answering, "read_report", lambda folder: verdict)

    def name(recipe: Recipe = recipe) -> str:
        return answering.best_there_is(recipe, folder, rows).name

    assert name() == f"the exported bundle ({places[0]})"
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "report", lambda self: {"format": "of another time"})
        patch.setattr(answering, "read_report", read_report)
        assert name() == f"the exported bundle ({places[0]})"
    assert answering.best_there_is(recipe, folder, rows).probabilities(["x", "y"]).shape == (2, 3)
    shutil.rmtree(places[0])
    assert name() == f"majority, which the comparison says to ship ({places[1]})"
    shutil.rmtree(places[1])
    assert name() == f"step 1-grpo ({places[2]})"
    turned = replace(recipe, task=replace(recipe.task, labels=recipe.task.labels[::-1]))
    assert name(turned).startswith("words, trained")


def test_the_api_gives_the_sheet_as_a_table_without_guesses(pool: Path) -> None:
    found = Run("toy.toml").next_rows(pool, n=5, out="mine.jsonl")
    assert found.sheet == Path("mine.jsonl")
    assert list(found.table.columns) == ["id", "text", "why"]
    assert len(found.table) == len(Path("mine.jsonl").read_text().splitlines()) == 5
    assert found.batch.rows[0].text in found._repr_html_()


def test_wishes_that_cannot_be_met_are_told_at_once(pool: Path) -> None:
    Path("there.csv").write_text("precious")
    with pytest.raises(RecipeError, match=r"N=0: .*; SHARE=2: .*; OUT=there\.csv: is there already"):
        Wanted(n=0, share=2, out="there.csv")
    assert Path("there.csv").read_text() == "precious"
    assert main(["next-rows", "toy.toml"]) == 2
    with pytest.raises(RecipeError, match="nothing was asked for toy yet"):
        Run("toy.toml").take_labels("there.csv")


def test_a_sheet_with_faults_changes_nothing(pool: Path) -> None:
    run = Run("toy.toml")
    sheet = run.next_rows(pool, n=4).sheet
    with pytest.raises(DataError, match="'nonsense' is no label"):
        run.take_labels(fill(sheet, **{"b1-2": "nonsense"}))
    assert not list(Path("runs/toy/next-rows").glob("*.jsonl"))


def test_no_id_is_given_twice_though_the_batch_that_had_it_is_gone(pool: Path) -> None:
    run = Run("toy.toml")
    run.take_labels(fill(run.next_rows(pool, n=3).sheet))
    shutil.rmtree("runs/toy/next-rows/1")
    found = run.next_rows(pool, n=3)
    assert {row.id for row in found.batch.rows} == {"b2-1", "b2-2", "b2-3"}
    run.take_labels(fill(found.sheet))
    assert len(Path("runs/toy/next-rows/toy-answers.jsonl").read_text().splitlines()) == 6


def test_the_sheet_has_a_header_whatever_it_reads_like(workspace: Path) -> None:
    """Of data without a header the columns are called "1" and "2", which reads like a row of numbers."""
    Path("filled.csv").write_text("id,1,2,why\n" + "".join(f"b1-{n},{n},{n % 3},random\n" for n in range(9)))
    rows = list(ask._scan("filled.csv", Display(), has_header=True))
    assert len(rows) == 9
    assert list(rows[0].record) == ["id", "1", "2", "why"]
    assert len(list(ask._scan("filled.csv", Display()))) == 10, "a pool of these lines is taken for one without"


def test_the_guess_is_what_the_classifier_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of these probabilities the less likely label is the cheaper answer."""
    monkeypatch.setattr(ask, "text_vectors", lambda texts: np.array([[len(text)] for text in texts]))
    decision = Decision.of(Costs((("b", "a", 20.0),)), ("a", "b"))
    answerer = answering.Answerer("fixed", ("a", "b"), lambda texts: np.tile([0.8, 0.2], (len(texts), 1)), decision)
    pool = Pool("pool.csv", tuple(PoolRow(n, f"text {n}") for n in range(4)), {})
    rows = ask._asked(pool, answerer, Wanted(n=4), 1, 0, Display())
    assert {(row.guess, row.confidence) for row in rows} == {("b", 0.2)}


def test_time_bounds_what_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def probabilities(texts: list[str]) -> np.ndarray:
        asked.append(len(texts))
        return np.full((len(texts), 2), 0.5)

    answerer = answering.Answerer("slow", ("a", "b"), probabilities)
    assert len(answerer.in_time(["x"] * 1000, 0.0, 100, lambda done: None)) == sum(asked) == 128
    assert len(answerer.in_time(["x"] * 70, 60.0, 0, lambda done: None)) == 70


def test_the_answers_file_is_read_whatever_the_recipe_says_of_encodings(pool: Path) -> None:
    Path("rows.jsonl").write_bytes(Path("rows.jsonl").read_text().encode("cp1252"))
    Path("later.jsonl").write_text(json.dumps({"id": "b", "text": "Öl läuft", "label": "pool", "group": ""}))
    text = Path("toy.toml").read_text().replace("[data]", '[data]\nencoding = "cp1252"\ntrain_path = "later.jsonl"')
    Path("toy.toml").write_text(text)
    assert read_rows(read_recipe("toy.toml"))[-1].text == "Öl läuft"


def test_several_columns_come_apart_in_the_sheet_and_are_one_text_when_they_come_back(pool: Path) -> None:
    recipe = Path("toy.toml").read_text().replace("[data]", '[data]\ntext = ["title", "text"]')
    Path("toy.toml").write_text(recipe)
    rows = [json.loads(line) for line in Path("rows.jsonl").read_text().splitlines()]
    Path("rows.jsonl").write_text("".join(json.dumps(row | {"title": ""}) + "\n" for row in rows))
    Path("pool.jsonl").write_text(
        "".join(json.dumps({"title": f"=a {n}" if n % 2 else "", "text": text}) + "\n" for n, text in enumerate(GOLD))
    )
    assert main(["next-rows", "toy.toml", "--pool", "pool.jsonl", "--n", "8"]) == 0
    (batch,) = batches_of(Path("runs/toy/next-rows"))
    sheet = Path("runs/toy/next-rows/1/toy-1.csv")
    with sheet.open(encoding="utf-8-sig", newline="") as file:
        assert list(next(csv.reader(file))) == ["id", "title", "text", "label", "why"]
    assert main(["next-rows", "toy.toml", "--labels", fill(sheet)]) == 0
    answers = Path("runs/toy/next-rows/toy-answers.jsonl")
    found = [json.loads(line) for line in answers.read_text().splitlines()]
    texts = {f"{row['title']}\n{row['text']}".strip() for row in found}
    assert texts == {row.text for row in batch.rows}
    # A pool of whole texts: the first column has them.
    assert AskedRow("b1-1", "whole", "random", None, 0.0, 1).parts(2) == ("whole", "")
