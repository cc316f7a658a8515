"""Rows that a model wrote: who learns them and who never sees them, in a whole small comparison."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from small_comparison import edit_recipe, know_two_ngrams, new_toy_run, opened

from labelwright.data.task import Example, group_keys
from labelwright.errors import DataError, RecipeError
from workbench.cli import main
from workbench.compare import measure
from workbench.compare.jobs import Job
from workbench.compare.processes import worker
from workbench.recipe.beside.near_copies import NearCopies
from workbench.recipe.beside.synthetic import place_of, read_synthetic
from workbench.recipe.read import read_recipe
from workbench.recipe.recipe import Recipe
from workbench.recipe.rows import make_splits, read_rows
from workbench.run.folder import RunFolder, runs_of

NAME = "synthetic-chars"


@pytest.fixture
def run(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run that has done nothing, of a recipe with synthetic rows: six that may be learnt, and one of each other."""
    know_two_ngrams(monkeypatch)
    edit_recipe("[ensemble]\n", "[splits]\ndev = 0.2\ncalib = 0.2\n[ensemble]\n")
    edit_recipe('names = ["majority", "words", "absent"]', 'names = ["majority", "chars"]')
    edit_recipe('stages = ["gepa", "grpo", "calibrate"]', "stages = []")
    edit_recipe(
        "[compare]\n",
        '[synthetic]\nnear_copy = 0.9\ncandidates = ["chars"]\n[compare]\n'
        "seeds = 2\ncurve_rows = [1]\ncurves = []\nnoise = []\n",
    )
    recipe = read_recipe("toy.toml")
    splits = make_splits(read_rows(recipe), recipe.splits, recipe.seed)
    fresh = [("pool", "what floats in the deep end"), ("pool", "a leaf net for water"), ("fence", "planks and posts")]
    fresh += [("fence", "who owns the boundary"), ("hvac", "vents blow cold"), ("hvac", "a noisy furnace at night")]
    rows = [
        {"text": text, "label": label, "seed": splits.train[i].id, "model": "big", "checked_by": "big" * (i < 4)}
        for i, (label, text) in enumerate(fresh)
    ]
    others = (splits.train[0], splits.dev[0], splits.calib[0], splits.test[0])
    rows += [{"text": f"{row.text}!", "label": row.label} for row in others]
    rows.append({"text": "Planks and POSTS!", "label": "fence"})
    place = place_of(recipe)
    place.parent.mkdir(parents=True)
    place.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return new_toy_run()


def test_what_is_measured_taught_or_repeated_is_not_learnt_and_the_seed_row_is_never_parted_from_its_rows(run):
    found = opened(run)
    assert dict(found.written.left_out) == {"measured": 3, "taught": 1, "repeated": 1}
    assert found.written.rows[0].text == "what floats in the deep end"
    assert (found.written.n_checked, found.written.models) == (4, ("big",))
    plain, with_them = (found.splits_of(Job(name, 3, 3)) for name in ("chars", NAME))
    assert with_them.train[: len(plain.train)] == plain.train  # they have groups of their own
    assert [row.text for row in with_them.train] == [row.text for row in (*plain.train, *found.written.rows)]
    # No other side has changed, and nothing of it is nearly learnt.
    for side in ("dev", "calib", "test"):
        assert getattr(plain, side) == getattr(with_them, side)
        copies = NearCopies((row.text for row in getattr(plain, side)), 0.9)
        assert all(copies.find(row.text) is None for row in found.written.rows)
    groups = dict(zip([row.id for row in with_them.train], group_keys(with_them.train), strict=True))
    for number, row in enumerate(found.written.rows):
        assert groups[row.id] == groups[plain.train[number].id]
    assert found.splits_of(Job("chars", 3, 3)).train == plain.train


def test_rows_without_a_group_get_their_seeds(run):
    edit_recipe('group = "group"\n', "")
    recipe = read_recipe("toy.toml")
    rows = read_rows(recipe)
    train = make_splits(rows, recipe.splits, recipe.seed).train
    written = [
        {"text": f"a text of its own {word}", "label": "pool", "seed": train[5].id} for word in ("zzz", "qqqqqqq")
    ]
    place_of(recipe).write_text("".join(json.dumps(row) + "\n" for row in written))
    found = read_synthetic(recipe, ("pool", "fence", "hvac"), train, [])
    learnt = found.taught_with(train, found.rows)
    of = [row for row in learnt if row.group is not None]
    assert [row.id for row in of[:1]] == [train[5].id]
    assert len({row.group for row in of}) == 1
    assert len(of) == 1 + len(found.rows)


def learnt_from(recipe: Recipe, rows: list[dict[str, str]], train: Sequence[Example], measured: Sequence[Example]):
    """What may be learnt of rows; each has a text of its own."""
    rows = [{"text": f"{word * 3} {word}", "label": "pool"} | row for word, row in zip("qzxjk", rows, strict=False)]
    place_of(recipe).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_synthetic(recipe, ("pool", "fence", "hvac"), train, measured)


def test_what_was_written_after_a_row_that_is_measured_now_is_not_learnt(run):
    recipe = read_recipe("toy.toml")
    train, (test, other) = [Example("1", "green water", "pool")], [
        Example("7", "the fence post by the gate has rotted away", "fence"), Example("8", "green water!", "pool")
    ]  # fmt: skip
    rows = [
        {"seed": "1", "seed_text": test.text},  # rows were numbered anew since
        {"seed_text": "green water", "shown": f"cold air comes out\n{test.text.upper()}!"},
        {"seed": "7"},
        {"seed": "7", "seed_text": "green water", "shown": "cold air comes out"},  # of what is taught now
        {},
    ]
    found = learnt_from(recipe, rows, train, [test, other])
    assert found.left_out["measured"] == 3
    assert [row.id for row in found.rows] == ["synthetic:4", "synthetic:5"]


def test_rows_after_one_text_are_of_one_group_that_of_the_train_row_with_it(run):
    train = [Example("1", "green water", "pool", group="family"), Example("2", "no heat", "hvac")]
    rows = [{"seed_text": "of the pool"}, {"seed_text": "Of the pool"}, {"seed": "2", "seed_text": "Green water"}, {}]
    one, same, taught, alone = [row.group for row in learnt_from(read_recipe("toy.toml"), rows, train, []).rows]
    assert one == same
    assert taught == "family"
    assert len({one, taught, alone}) == 3


def test_rows_of_another_label_or_without_text_are_all_named(run):
    recipe = read_recipe("toy.toml")
    bad = [{"text": "fine", "label": "roof"}, {"text": "", "label": "pool"}, {"label": "pool"}]
    place_of(recipe).write_text("".join(json.dumps(row) + "\n" for row in bad))
    with pytest.raises(DataError, match=r"(?s)row 1.*'roof'.*row"):
        read_synthetic(recipe, ("pool", "fence", "hvac"), [], [])


def test_jobs_are_of_one_split_with_a_curve_of_synthetic_rows(run):
    found = opened(run)
    assert found.names[-1] == NAME
    assert found.kind(NAME) == "synthetic"
    jobs = found.jobs(NAME)
    # Another split's test rows are train rows here, which a model was shown.
    assert {job.split_seed for job in jobs} == {3}
    assert {(job.seed, job.per_label) for job in jobs} == {(3, 0), (4, 0), (3, 1), (4, 1)}
    (fewer,) = [found.splits_of(job) for job in jobs if (job.seed, job.per_label) == (4, 1)]
    assert len(fewer.train) == len(found.splits_of(Job("chars", 3, 3)).train) + 3
    # The file is part of what a result is made of.
    before = found.key(jobs[0])
    place = place_of(found.recipe)
    place.write_text(place.read_text().replace('"checked_by": ""', '"checked_by": "big"'))
    checked = opened(run).key(jobs[0])
    assert checked != before
    place.write_text(place.read_text() + json.dumps({"text": "one more about ducts", "label": "hvac"}) + "\n")
    assert opened(run).key(jobs[0]) not in (before, checked)
    assert opened(run).key(Job("chars", 3, 3)) == found.key(Job("chars", 3, 3))


def test_it_is_compared_reported_and_exported_and_a_demo_needs_no_rows(run, monkeypatch):
    seen, real = [], measure.train_baseline

    def train_baseline(job, splits, scratch, soft=None):
        seen.append((job.name, len(splits.train)))
        return real(job, splits, scratch, soft)

    monkeypatch.setattr(worker.measure, "train_baseline", train_baseline)
    assert main(["compare", "toy.toml"]) == 0
    (path,) = runs_of(Path("runs/toy"))
    report = json.loads((path / "report.json").read_text())
    of = {one["name"]: one for one in report["candidates"]}
    entry = of[NAME]
    assert entry["failed"] is None
    learnt = entry["augmented"]["learnt"]
    assert (learnt["n_rows"], learnt["n_checked"], learnt["models"]) == (6, 4, ["big"])
    accuracy = {name: one["test"]["accuracy"]["value"] for name, one in of.items()}
    assert entry["augmented"]["to_plain"]["value"] == pytest.approx(accuracy[NAME] - accuracy["chars"])
    # Without them: the same baseline with the same seeds on the same split.
    found = opened(RunFolder(path))
    without = [found.result(Job("chars", seed, 3))["scores"]["accuracy_raw"] for seed in (3, 4)]
    np.testing.assert_allclose(sorted(learnt["without"]), sorted(without))
    text = (path / "report.md").read_text()
    assert "## Synthetic rows" in text
    assert "3 nearly a row of dev, calib or test" in text
    n_train = len(found.splits_of(Job("chars", 3, 3)).train)
    assert {n for name, n in seen if name == "chars"} == {n_train, n_train + 3, n_train + 6}
    assert main(["export", "toy.toml", "--candidate", NAME]) == 0
    place_of(read_recipe("toy.toml")).unlink()
    assert main(["export", "toy.toml", "--candidate", "chars"]) == 0
    assert main(["demo", "toy.toml"]) == 0


@pytest.mark.parametrize("path", ["rows.jsonl", "./rows.jsonl", "runs/../rows.jsonl"])
def test_no_file_of_the_data_is_that_of_the_rows(run, path):
    before = Path("toy.toml").read_text()
    edit_recipe("[synthetic]\n", f'[synthetic]\npath = "{path}"\n')
    with pytest.raises(RecipeError, match=r"is \[data\]'s; expected a file of rows that a model wrote"):
        read_recipe("toy.toml")
    Path("toy.toml").write_text(before)
    Path("link").symlink_to("runs")
    place_of(read_recipe("toy.toml")).write_bytes(Path("rows.jsonl").read_bytes())
    edit_recipe('path = "rows.jsonl"', 'path = "./link/toy/synthetic.jsonl"')
    with pytest.raises(RecipeError, match=r"runs/toy/synthetic\.jsonl is where make synthesize writes"):
        read_recipe("toy.toml")


def test_a_file_that_was_named_and_is_not_there_is_not_said_to_be_written(run, capsys):
    edit_recipe("[synthetic]\n", '[synthetic]\npath = "mine.jsonl"\n')
    assert main(["compare", "toy.toml"]) == 2
    assert "path = 'mine.jsonl': no such file" in capsys.readouterr().err


def test_without_rows_the_comparison_says_how_to_have_some(run, capsys):
    place_of(read_recipe("toy.toml")).unlink()
    assert main(["compare", "toy.toml"]) == 2
    assert "make synthesize RECIPE=toy.toml writes them" in capsys.readouterr().err
